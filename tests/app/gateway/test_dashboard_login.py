"""Who may look at the dashboard: codes, sessions, and what the port makes of other pages."""

from __future__ import annotations

import http.client
import json
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from harness import Node, until

from actors.kernel import Address
from opengateway.app.gateway.dashboard.audit import OwnAudit
from opengateway.app.gateway.dashboard.live import MOST_WATCHERS
from opengateway.app.gateway.dashboard.login import CODE_S, IDLE_S, MOST_CODES, MOST_SESSIONS, Logins
from opengateway.errors import Unauthorized


class Watch:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_a_code_becomes_a_session_once() -> None:
    logins = Logins(Watch())
    code = logins.new_code()
    cookie, key = logins.enter(code)
    logins.check(cookie, key)
    with pytest.raises(Unauthorized, match="used already"):
        logins.enter(code)
    logins.check(cookie, key)


def test_neither_half_of_a_session_is_enough() -> None:
    logins = Logins(Watch())
    cookie, key = logins.enter(logins.new_code())
    other_cookie, other_key = logins.enter(logins.new_code())
    for wrong in ((cookie, ""), ("", key), (cookie, other_key), (other_cookie, key), (key, cookie), ("", "")):
        with pytest.raises(Unauthorized, match="not signed in"):
            logins.check(*wrong)


def test_a_code_is_void_after_its_time_and_a_session_when_nobody_uses_it() -> None:
    watch = Watch()
    logins = Logins(watch)
    late, code = logins.new_code(), logins.new_code()
    watch.now += CODE_S - 1
    cookie, key = logins.enter(code)
    watch.now += 2
    with pytest.raises(Unauthorized):
        logins.enter(late)
    for _ in range(5):
        watch.now += IDLE_S - 3
        logins.check(cookie, key)
    watch.now += IDLE_S + 1
    with pytest.raises(Unauthorized):
        logins.check(cookie, key)


def test_what_is_kept_is_bounded_and_the_least_used_goes() -> None:
    watch = Watch()
    logins = Logins(watch)
    codes = [logins.new_code() for _ in range(MOST_CODES + 1)]
    with pytest.raises(Unauthorized):
        logins.enter(codes[0])
    first = logins.enter(codes[1])
    second = logins.enter(codes[2])
    watch.now += 1
    logins.check(*first)
    for _ in range(MOST_SESSIONS - 1):
        watch.now += 1
        logins.enter(logins.new_code())
    logins.check(*first)
    with pytest.raises(Unauthorized):
        logins.check(*second)


def test_leaving_ends_the_session_and_no_other() -> None:
    logins = Logins(Watch())
    mine, other = logins.enter(logins.new_code()), logins.enter(logins.new_code())
    logins.leave(mine[0])
    logins.leave("nobody's")
    with pytest.raises(Unauthorized):
        logins.check(*mine)
    logins.check(*other)


# -- over HTTP -------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    with Node(tmp_path_factory.mktemp("login"), "a") as made:
        yield made


def ask(
    node: Node, method: str, path: str, body: Any = None, headers: Mapping[str, str] | None = None
) -> tuple[int, Mapping[str, str], bytes]:
    """As a browser would: no bearer token."""
    connection = http.client.HTTPConnection("127.0.0.1", urlsplit(node.http).port, timeout=20)
    try:
        content = None if body is None else json.dumps(body)
        connection.request(method, path, content, {"Content-Type": "application/json", **(headers or {})})
        answer = connection.getresponse()
        return answer.status, answer.headers, answer.read()
    finally:
        connection.close()


def own(node: Node) -> dict[str, str]:
    return {"Origin": node.http, "Sec-Fetch-Site": "same-origin"}


def new_code(node: Node) -> str:
    url = node.post("/node/dashboard")["url"]
    assert url.startswith(f"{node.http}/#code=")
    return str(url.partition("#code=")[2])


def enter(node: Node) -> dict[str, str]:
    """The headers of a signed-in page."""
    status, headers, body = ask(node, "POST", "/dashboard/session", {"code": new_code(node)}, own(node))
    assert status == 200, body
    cookie = headers["Set-Cookie"].partition(";")[0]
    return {**own(node), "Cookie": cookie, "x-opengateway-key": json.loads(body)["key"]}


OWNERS = [
    ("GET", "/dashboard/live"),
    ("GET", "/dashboard/credit"),
    ("GET", "/dashboard/trace/last"),
    ("POST", "/dashboard/audit"),
    ("POST", "/dashboard/chat"),
    ("DELETE", "/dashboard/session"),
]


def test_the_cookie_is_for_no_script_no_other_site_and_no_other_path(node: Node) -> None:
    _, headers, _ = ask(node, "POST", "/dashboard/session", {"code": new_code(node)}, own(node))
    name, *attributes = headers["Set-Cookie"].split("; ")
    assert name.startswith(f"opengateway-{urlsplit(node.http).port}=")
    assert {"HttpOnly", "SameSite=Strict", "Path=/dashboard"} <= set(attributes)
    assert headers["Cache-Control"] == "no-store"


@pytest.mark.parametrize(("method", "path"), OWNERS)
def test_what_the_dashboard_shows_and_does_wants_both_halves_of_a_session(
    node: Node, method: str, path: str
) -> None:
    signed_in = enter(node)
    for missing in ("Cookie", "x-opengateway-key"):
        half = {name: value for name, value in signed_in.items() if name != missing}
        status, _, body = ask(node, method, path, {} if method == "POST" else None, half)
        assert status == 401
        assert "opengateway dashboard" in json.loads(body)["error"]["hint"]
    assert ask(node, method, path, headers={"Authorization": f"Bearer {node.token}", **own(node)})[0] == 401


@pytest.mark.parametrize(("method", "path"), OWNERS)
@pytest.mark.parametrize(
    "foreign",
    [
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://127.0.0.1:1"},
        {"Origin": "http://localhost:3000", "Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
    ],
)
def test_a_page_of_another_origin_may_do_nothing_even_with_a_session(
    node: Node, method: str, path: str, foreign: dict[str, str]
) -> None:
    signed_in = enter(node)
    stolen = {name: signed_in[name] for name in ("Cookie", "x-opengateway-key")}
    status, _, body = ask(node, method, path, {} if method == "POST" else None, stolen | foreign)
    assert status == 403
    assert json.loads(body)["error"]["code"] == "forbidden_origin"


def test_a_rebound_name_gets_neither_the_page_nor_a_session(node: Node) -> None:
    code = new_code(node)
    for method, path in (("GET", "/"), ("POST", "/dashboard/session")):
        headers = {"Host": "evil.example", "Origin": "http://evil.example"}
        assert ask(node, method, path, {"code": code}, headers)[0] == 403
    assert ask(node, "POST", "/dashboard/session", {"code": code}, own(node))[0] == 200


def test_a_code_without_an_origin_is_refused_and_stays_good(node: Node) -> None:
    code = new_code(node)
    assert ask(node, "POST", "/dashboard/session", {"code": code})[0] == 403
    assert ask(node, "POST", "/dashboard/session", {"code": code}, own(node))[0] == 200


@pytest.mark.parametrize("body", [None, [], {}, {"code": 7}, {"code": ""}, {"code": "x" * 101}])
def test_what_is_no_code_is_a_bad_request(node: Node, body: Any) -> None:
    assert ask(node, "POST", "/dashboard/session", body, own(node))[0] == 400


def test_only_who_has_the_control_token_gets_a_code(node: Node) -> None:
    assert ask(node, "POST", "/node/dashboard", {}, own(node))[0] == 401
    assert ask(node, "POST", "/node/dashboard", {}, enter(node))[0] == 401


def test_a_session_opens_nothing_else_of_the_node(node: Node) -> None:
    signed_in = enter(node)
    for method, path in (("POST", "/node/stop"), ("GET", "/node/status"), ("POST", "/node/ledger/transfer")):
        assert ask(node, method, path, {} if method == "POST" else None, signed_in)[0] == 401


def test_signing_out_ends_the_session(node: Node) -> None:
    signed_in = enter(node)
    assert ask(node, "GET", "/dashboard/credit", headers=signed_in)[0] == 200
    assert ask(node, "DELETE", "/dashboard/session", headers=signed_in)[0] == 200
    assert ask(node, "GET", "/dashboard/credit", headers=signed_in)[0] == 401


@pytest.mark.parametrize(
    "name", ["nothing.js", "page.html", "..%2froutes.py", "%2e%2e/login.py", "../routes.py", "main.js%00.css"]
)
def test_no_other_file_is_served(node: Node, name: str) -> None:
    assert ask(node, "GET", f"/dashboard/static/{name}")[0] in (400, 404)


def test_the_page_says_what_it_may_load_and_who_may_frame_it(node: Node) -> None:
    for path in ("/", "/dashboard/static/main.js", "/dashboard/static/theme.css"):
        status, headers, _ = ask(node, "GET", path)
        assert status == 200
        policy = headers["Content-Security-Policy"]
        assert "default-src 'none'" in policy
        assert "frame-ancestors 'none'" in policy
        assert "unsafe" not in policy
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["Referrer-Policy"] == "no-referrer"


def test_the_credit_curve_has_its_span_and_ends_now(node: Node) -> None:
    signed_in = enter(node)
    answer = json.loads(ask(node, "GET", "/dashboard/credit?hours=2", headers=signed_in)[2])
    times = [point["t_ms"] for point in answer["points"]]
    assert times == sorted(times)
    assert times[-1] - times[0] == 2 * 3_600_000
    assert ask(node, "GET", "/dashboard/credit?hours=x", headers=signed_in)[0] == 400


def test_the_command_prints_an_address_that_works(node: Node) -> None:
    done = node.cli("dashboard", "--print")
    assert done.returncode == 0, done.stderr
    code = done.stdout.strip().partition("#code=")[2]
    assert ask(node, "POST", "/dashboard/session", {"code": code}, own(node))[0] == 200
    assert json.loads(node.cli("dashboard", "--json").stdout)["expires_s"] == CODE_S


# -- the live picture ------------------------------------------------------------------------------


def watch(node: Node, headers: Mapping[str, str], pictures: int) -> Iterator[tuple[str, str]]:
    """(section, data) of a live stream, until the actors were shown that often."""
    connection = http.client.HTTPConnection("127.0.0.1", urlsplit(node.http).port, timeout=20)
    try:
        connection.request("GET", "/dashboard/live", headers=dict(headers))
        answer = connection.getresponse()
        assert answer.headers["Content-Type"] == "text/event-stream"
        while pictures:
            name, data, end = (answer.readline().decode().rstrip("\n") for _ in range(3))
            assert (name[:7], data[:6], end) == ("event: ", "data: ", "")
            yield name[7:], data[6:]
            pictures -= name == "event: actors"
    finally:
        connection.close()


def test_the_first_picture_is_whole_and_later_ones_are_what_changed(node: Node) -> None:
    seen = [name for name, _ in watch(node, enter(node), 3)]
    sections = {"node", "peers", "models", "machine", "jobs", "ledger", "actors"}
    assert set(seen[: len(sections)]) == sections
    assert seen.count("peers") == 1
    assert seen.count("ledger") == 1


def test_five_who_watch_share_one_look(node: Node) -> None:
    signed_in = enter(node)
    with ThreadPoolExecutor(5) as pool:
        watched = list(pool.map(lambda _: actors_seen(node, signed_in), range(5)))
    assert len(set().union(*watched)) <= 5, "each took looks of its own"


def actors_seen(node: Node, headers: Mapping[str, str]) -> set[str]:
    return {data for name, data in watch(node, headers, 3) if name == "actors"}


def test_a_stop_does_not_wait_for_who_watches(tmp_path: Path) -> None:
    with Node(tmp_path, "b") as node:
        stream = watch(node, enter(node), 1000)
        next(stream)
        started = time.monotonic()
        node.process.terminate()
        node.process.wait(20)
        assert time.monotonic() - started < 1.9, "it waited for the stream to end by itself (2 s)"
        stream.close()


def test_who_watches_is_bounded_and_who_leaves_makes_room(node: Node) -> None:
    signed_in = enter(node)
    streams = [watch(node, signed_in, 1000) for _ in range(MOST_WATCHERS)]
    for stream in streams:
        next(stream)
    status, headers, _ = ask(node, "GET", "/dashboard/live", headers=signed_in)
    assert (status, headers["Retry-After"]) == (503, "5")
    for stream in streams:
        stream.close()
    until(lambda: next(watch_if_let(node, signed_in), None), "there is room again")


def watch_if_let(node: Node, headers: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    try:
        yield from watch(node, headers, 1)
    except AssertionError:  # still refused
        return


def test_what_a_killed_node_left_of_an_audit_goes_at_the_next_start(tmp_path: Path) -> None:
    (tmp_path / "audit-abc").mkdir()
    (tmp_path / "audit-abc" / "own.ledger").write_bytes(b"x")
    (tmp_path / "lock").touch()
    OwnAudit(Address("ledger", lambda: None), tmp_path)
    assert [file.name for file in tmp_path.iterdir()] == ["lock"]
