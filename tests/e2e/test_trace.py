"""What became of a request: kept by the node, shown by the command line."""

from __future__ import annotations

import json

from pairs import Pair
from sse import Streamed, chat

CHAT = "/v1/chat/completions"


def asked(pair: Pair, **more: object) -> str:
    """Its id."""
    with Streamed(pair.asking, chat(**more)) as answer:
        answer.text()
        return str(answer.headers["x-opengateway-request-id"])


def test_an_answer_by_another_node_has_its_way_and_price_in_the_trace(pocket_pair: Pair) -> None:
    request = asked(pocket_pair)
    found = pocket_pair.asking.get(f"/node/trace/{request}")
    sent, answered = found["events"]
    assert (sent["what"], sent["ring"], sent["name"]) == ("sent", "lan", "serving")
    assert answered["what"] == "answered"
    assert answered["tokens"] > 0
    assert answered["cost"] > 0
    assert 0 <= sent["ms"] <= answered["ms"]
    assert pocket_pair.asking.get(f"/node/trace/{request[-6:]}") == found
    assert pocket_pair.asking.get("/node/trace/last")["request"] == request


def test_the_command_line_shows_the_timeline_and_the_newest_requests(pocket_pair: Pair) -> None:
    request = asked(pocket_pair)
    shown = pocket_pair.asking.cli("trace", request)
    assert shown.returncode == 0, shown.stderr
    assert "sent to" in shown.stdout
    assert "serving" in shown.stdout
    assert "credits" in shown.stdout
    listed = json.loads(pocket_pair.asking.cli("trace", "--list", "--json").stdout)["requests"]
    assert listed[0]["request"] == request
    assert listed[0]["last"] == "answered"
    assert request in pocket_pair.asking.cli("trace", "--list").stdout


def test_several_answers_are_one_request_with_parts(pocket_pair: Pair) -> None:
    found = pocket_pair.asking.get(f"/node/trace/{asked(pocket_pair, n=2)}")
    assert found["parts"] == 2
    assert sorted(event["part"] for event in found["events"] if event["what"] == "sent") == [0, 1]
    assert "Part" in pocket_pair.asking.cli("trace").stdout


def test_a_request_that_was_refused_says_why_and_one_that_is_unknown_what_to_do(pocket_pair: Pair) -> None:
    status, _ = pocket_pair.asking.request("POST", CHAT, chat(model="nonsense"))
    assert status == 404
    found = pocket_pair.asking.get("/node/trace/last")
    assert found["events"][-1]["what"] == "refused"
    assert found["events"][-1]["code"] == "model_not_found"
    asked(pocket_pair)
    newest = pocket_pair.asking.get("/node/trace?limit=1&failed=1")["requests"]
    assert [(one["request"], one["code"]) for one in newest] == [(found["request"], "model_not_found")]
    assert "nonsense" in newest[0]["why"]
    unknown = pocket_pair.asking.cli("trace", "req-0")
    assert unknown.returncode == 1
    assert "trace --list" in unknown.stderr


def test_nothing_of_what_was_said_is_in_a_trace(pocket_pair: Pair) -> None:
    request = asked(pocket_pair, messages=[{"role": "user", "content": "SECRETWORD 2+2?"}])
    assert "SECRETWORD" not in json.dumps(pocket_pair.asking.get(f"/node/trace/{request}"))
