"""The dashboard in a real browser, on a real node with a real peer."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from browser_lab import CHROMIUM, Browser, Page
from pairs import Pair, joined

pytestmark = pytest.mark.skipif(not CHROMIUM, reason="no Chromium here (Debian: apt install chromium)")


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    with joined(tmp_path_factory.mktemp("dashboard"), kind="pocket") as made:
        yield made


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with Browser(tmp_path_factory.mktemp("chromium")) as made:
        yield made


def signed_in(browser: Browser, node: Any, **looks: Any) -> Page:
    page = browser.open(node.post("/node/dashboard")["url"], **looks)
    page.until("document.getElementById('pulse').dataset.state === 'live'", "the page is live")
    return page


@pytest.fixture
def page(browser: Browser, pair: Pair) -> Iterator[Page]:
    """The asking node's page. Whatever a test does, it must not have complained or looked elsewhere."""
    made = signed_in(browser, pair.asking)
    yield made
    made.run("1")
    complaints, requests = list(made.complaints), list(made.requests)
    made.close()
    assert complaints == []
    assert [url for url in requests if not url.startswith((pair.asking.http, "data:"))] == []


def test_it_shows_this_node_its_peer_and_its_actors(page: Page, pair: Pair) -> None:
    page.until("document.querySelectorAll('.peer').length === 1", "the peer is drawn")
    assert page.text("#node-name") == "asking"
    label = page.run("document.querySelector('.peer').getAttribute('aria-label')")
    assert label.startswith("serving, this link")
    assert "pocket" in label
    page.until("document.querySelectorAll('#tree tbody tr').length > 10", "the tree is drawn")
    assert "swarm_peer" in page.text("#tree")
    assert "asks others" in page.text("#node-line")
    page.click("#as-table")
    page.until("document.querySelector('#peer-table td')", "the table is there")
    assert "serving" in page.text("#peer-table")


def test_the_code_leaves_the_address_and_works_once(browser: Browser, pair: Pair) -> None:
    url = pair.asking.post("/node/dashboard")["url"]
    first = browser.open(url)
    first.until("document.getElementById('pulse').dataset.state === 'live'", "the page is live")
    assert first.run("location.href") == pair.asking.http + "/"
    assert first.run("document.cookie") == ""
    first.go(pair.asking.http + "/?again")
    first.until("document.getElementById('pulse').dataset.state === 'live'", "it is still signed in")
    second = browser.open(url)
    second.until("!document.getElementById('signed-out').hidden", "another browser stays outside")
    assert "used already" in second.text("#door-note")
    assert "opengateway dashboard" in second.text("#signed-out")
    first.close()
    second.close()


def test_a_question_streams_and_says_where_the_answer_came_from(page: Page) -> None:
    page.run("document.getElementById('question').focus()")
    page.type("What is 2+2?")
    page.press("Enter")
    route = page.until("document.querySelector('.said.node .route')?.textContent", "the answer is there")
    assert "serving (this link)" in route
    assert "pocket" in route
    assert page.text(".said.node").startswith("4")
    assert page.text(".said.you") == "What is 2+2?"
    page.click(".said.node summary")
    page.until("document.querySelectorAll('.said.node details tbody tr').length > 1", "its way is shown")
    assert "serving" in page.text(".said.node details")
    # What it cost is in the ledger, and the ledger is on the page without a reload.
    page.until("document.querySelector('#entries .kind.settle')", "the payment is shown")
    assert "serving" in page.text("#accounts")
    page.until("document.getElementById('balance').textContent.startsWith('−')", "the balance is shown")


def test_a_request_that_was_not_answered_is_shown_with_its_reason_and_its_way(page: Page, pair: Pair) -> None:
    asked = {"model": "nobody-has-it", "messages": [{"role": "user", "content": "x"}]}
    assert pair.asking.request("POST", "/v1/chat/completions", asked)[0] == 404
    page.until("document.querySelector('#failure-rows li')", "the failure is there")
    assert "nobody-has-it" in page.text("#failure-rows li")
    assert "nobody in reach serves" in page.text("#failure-rows li")
    page.click("#failure-rows summary")
    page.until("document.querySelector('#failure-rows td')", "its way is shown")
    assert "refused" in page.text("#failure-rows table")


def test_amounts_of_one_column_have_as_many_decimals(page: Page) -> None:
    page.until("document.querySelectorAll('#credit-facts dd').length === 5", "the facts are there")
    texts = page.run("[...document.querySelectorAll('#credit-facts dd')].map((one) => one.innerText)")
    assert len({len(text.partition(".")[2]) for text in texts}) == 1, texts


def test_audit_now_checks_what_the_audit_tool_checks(page: Page, pair: Pair) -> None:
    pair.asking.request(
        "POST", "/v1/chat/completions", {"messages": [{"role": "user", "content": "What is 1+1?"}]}
    )
    page.click("#audit")
    verdict = page.until("document.querySelector('#verdict strong')?.textContent", "the verdict", 40)
    assert verdict.startswith("Valid")
    entries = pair.asking.get("/node/ledger/balance")["entries"]
    assert f"{entries} entries" in page.text("#verdict")
    page.click("#verdict summary")
    assert "signatures:" in page.text("#verdict")
    assert not list((pair.asking.home / "run").glob("audit-*"))


def test_what_a_model_writes_is_text_and_never_markup(page: Page) -> None:
    hostile = """# <img src=x onerror="document.title='owned'">
**bold** [click](javascript:document.title='owned') ![pic](http://127.0.0.1:9/x.png)
<script>document.title='owned'</script>

1. one
2. two

```html
<b onclick="x">code</b>
```
| a | b |
|---|---|
| 1 | <i>2</i> |

> quoted https://example.org/path and [data](data:text/html,<b>x</b>)"""
    html = page.run(
        "(async () => { const { markdown } = await import('/dashboard/static/markdown.js');"
        " const box = document.createElement('div'); box.append(...markdown("
        f"{json.dumps(hostile)})); document.body.append(box); const html = box.innerHTML; box.remove();"
        " return html })()"
    )
    for never in ("<img", "<script", "<i>", 'href="javascript', 'href="data', "<b "):
        assert never not in html
    for wanted in ("<strong>bold</strong>", "<ol><li>one</li>", "<td", "<blockquote>", "noopener noreferrer"):
        assert wanted in html
    assert "&lt;b onclick" in html
    assert "owned" not in page.run("document.title")


def test_the_policy_stops_a_script_that_got_in(browser: Browser, pair: Pair) -> None:
    page = signed_in(browser, pair.asking)
    blocked = page.run("fetch('http://127.0.0.1:9/').then(() => 'sent', () => 'blocked')")
    refused = page.run(
        "(() => { try { document.body.innerHTML = '<b>x</b>'; return 'set' } catch { return 'refused' } })()"
    )
    page.run("1")
    assert (blocked, refused) == ("blocked", "refused")
    assert any("Content Security Policy" in one for one in page.complaints)
    page.close()


def test_it_can_be_used_by_keyboard_alone(page: Page) -> None:
    page.until("document.querySelectorAll('.peer').length === 1", "the peer is drawn")
    seen = []
    for _ in range(30):
        page.press("Tab")
        seen.append(page.run("(({ id, className: c }) => id || c.baseVal || c)(document.activeElement)"))
    for stop in ("skip", "theme", "peer", "as-table", "model", "question", "send", "audit"):
        assert stop in seen, f"Tab never stops at {stop}: {seen}"


@pytest.mark.parametrize(("dark", "phone"), [(False, False), (True, True)])
def test_axe_finds_nothing_in_either_colour_on_either_screen(
    browser: Browser, pair: Pair, dark: bool, phone: bool
) -> None:
    axe = pytest.importorskip("axe_core_python")
    page = signed_in(browser, pair.asking, width=390 if phone else 1440, phone=phone, dark=dark)
    page.until(
        "document.querySelector('#entries table') && document.querySelector('#curve svg')", "it is drawn"
    )
    page.run((Path(axe.__file__).parent / "axe.min.js").read_text() + ";1")
    found = page.run(
        "axe.run().then(r => r.violations.map(v => [v.id, v.help, v.nodes.map(n => n.html.slice(0, 200))]))"
    )
    sideways = page.run("document.documentElement.scrollWidth > document.documentElement.clientWidth")
    page.close()
    assert found == []
    assert not sideways, "the page scrolls sideways"


def test_who_wants_no_motion_gets_none(browser: Browser, pair: Pair) -> None:
    page = signed_in(browser, pair.asking)
    moving = "document.getAnimations().filter(a => a.playState === 'running').length"
    page.until(moving, "something moves")
    page.colours(dark=False, still=True)
    page.until(f"{moving} === 0", "nothing moves")
    page.close()


def test_a_hidden_page_asks_for_nothing_and_comes_back(page: Page) -> None:
    hide = "Object.defineProperty(document, 'hidden', {value: %s, configurable: true});"
    hide += "document.dispatchEvent(new Event('visibilitychange'))"
    page.run(hide % "true")
    before = page.text("#tree")
    page.run(hide % "false")
    page.until(f"document.getElementById('tree').innerText !== {json.dumps(before)}", "it is live again")


def test_the_page_says_so_when_the_node_is_gone_and_when_it_is_back(browser: Browser, pair: Pair) -> None:
    page = signed_in(browser, pair.asking)
    line = {"latency": 0, "downloadThroughput": -1, "uploadThroughput": -1}
    page.call("Network.emulateNetworkConditions", offline=True, **line)
    page.run("document.dispatchEvent(new Event('visibilitychange'))")
    page.until("document.getElementById('pulse').dataset.state === 'lost'", "it says that it lost the node")
    page.call("Network.emulateNetworkConditions", offline=False, **line)
    page.until("document.getElementById('pulse').dataset.state === 'live'", "it is back")
    page.close()
