"""kill -9 of everything that can be killed, in the middle of a prompt. Each test breaks its own nodes."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import pytest
from harness import Node, private_network, processes_of, until
from pairs import joined, paced_engine
from sse import Streamed, chat

CHAT = "/v1/chat/completions"
ENDLESS = chat("Tell me a story.", max_tokens=900, logit_bias={"2": -100})
"""The pocket model may not end (token 2): 0.2 s of work for one that would be over in 0.02."""


@pytest.fixture
def alone(tmp_path: Path) -> Iterator[Node]:
    with Node(tmp_path, "alone", engine={"kind": "pocket"}) as node:
        until(lambda: node.get("/node/models")["local"], "the engine serves")
        yield node


def engine_of(node: Node) -> psutil.Process:
    """The process that holds the model: the one child that listens."""
    found = [child for child in node.children() if child.net_connections(kind="inet")]
    assert len(found) == 1, node.children()
    return found[0]


def killed_in_mid_answer(asking: Node, serving: Node) -> psutil.Process:
    """The engine that was killed. Its reader got the whole answer: it went on once the engine was back. On
    a busy machine an answer may be over before the kill: then once more."""
    for _ in range(10):
        engine = engine_of(serving)
        with Streamed(asking, {**ENDLESS, "stream_options": {"include_usage": True}}) as answer:
            events = answer.events()
            next(events)
            engine.kill()
            *_, usage, last = list(events)
        assert last == "[DONE]", last
        assert usage["usage"]["completion_tokens"] == ENDLESS["max_tokens"]
        until(lambda: running(serving), "the engine is back")
        if asking.get("/node/status")["jobs"]["failover"]["broken_off"]:
            return engine
    raise AssertionError("ten answers were over before their engine could be killed")


def running(node: Node) -> bool:
    return bool(node.get("/node/status")["engine"]["state"] == "running")


def test_a_killed_engine_is_restarted_and_goes_on_with_its_answer(alone: Node) -> None:
    engine = killed_in_mid_answer(alone, alone)
    assert engine_of(alone).pid != engine.pid
    [row] = [row for row in alone.get("/node/actors")["actors"] if row["name"].startswith("engine-")]
    assert row["life"] > 1
    assert "signal 9" in row["error"]
    assert alone.post(CHAT, chat())["choices"][0]["message"]["content"].strip() == "4"


def test_a_prompt_during_the_restart_of_the_engine_waits_for_it(alone: Node) -> None:
    engine_of(alone).kill()
    until(lambda: not running(alone), "the node has noticed")
    status, answer = alone.request("POST", CHAT, chat())
    assert status == 200, answer
    assert answer["choices"][0]["message"]["content"].strip() == "4"


def test_an_engine_that_is_killed_before_its_first_token_is_a_clear_error(alone: Node) -> None:
    engine = engine_of(alone)
    engine.suspend()
    with ThreadPoolExecutor(1) as pool:
        asked = pool.submit(alone.request, "POST", CHAT, chat())
        until(lambda: alone.get("/node/status")["engine"]["busy"] == 1, "the engine is asked")
        engine.kill()
        status, answer = asked.result()
    assert status == 502, answer
    assert answer["error"]["code"] == "engine_failed"
    assert answer["error"]["hint"]


def test_a_killed_engine_of_another_node_goes_on_with_its_answer(tmp_path: Path) -> None:
    with joined(tmp_path, kind="pocket") as pair:
        killed_in_mid_answer(pair.asking, pair.serving)
        status, whole = pair.asking.request("POST", CHAT, chat())
        assert status == 200, whole
        assert whole["choices"][0]["message"]["content"].strip() == "4"


def test_a_killed_node_whose_answer_nobody_can_go_on_with_is_a_clear_error(tmp_path: Path) -> None:
    with paced_engine() as url, joined(tmp_path, kind="openai", url=url) as pair:
        with Streamed(pair.asking, chat(max_tokens=10_000)) as answer:
            events = answer.events()
            next(events)
            killed = time.monotonic()
            pair.serving.kill9()
            last = list(events)[-1]
        assert last["error"]["code"] == "answer_broken_off", last
        assert "the answering node is gone" in last["error"]["message"]
        assert time.monotonic() - killed < 4  # it is not waited for: it could not go on either
        states = lambda: [peer["state"] for peer in pair.asking.get("/node/peers")["peers"]]  # noqa: E731
        until(lambda: "up" not in states(), "it is known as down", patience_s=10)
        assert time.monotonic() - killed < 10
        status, error = pair.asking.request("POST", CHAT, chat())
        assert status in (404, 503), error
        assert error["error"]["hint"]


def test_a_killed_node_leaves_no_engine_and_starts_again_at_once(tmp_path: Path) -> None:
    with Node(tmp_path, "a", engine={"kind": "pocket"}) as node:
        engine = engine_of(node)
        identity = node.get("/node/status")["node_id"]
        node.kill9()
        until(lambda: not processes_of(node.home), "its engine has ended, too", patience_s=5)
        assert not engine.is_running() or engine.status() == psutil.STATUS_ZOMBIE
        node.start()
        assert node.get("/node/status")["node_id"] == identity
        assert node.post(CHAT, chat())["choices"][0]["message"]["content"].strip() == "4"


def test_a_node_that_is_stopped_in_mid_answer_leaves_nothing(tmp_path: Path) -> None:
    with Node(tmp_path, "a", engine={"kind": "pocket"}) as node:
        with Streamed(node, ENDLESS) as answer:
            next(answer.events())
            node.stop()
        assert node.left_behind == []


def test_a_restarted_node_keeps_its_books_and_is_found_again(tmp_path: Path) -> None:
    network = private_network()
    with Node(tmp_path, "serving", network, engine={"kind": "pocket"}) as serving:
        fixed = {"bootstrap": [serving.endpoint]}
        with Node(tmp_path, "asking", network, wire=fixed) as asking:
            until(lambda: asking.get("/node/models")["network"], "the model is offered")
            asking.post(CHAT, chat())
            until(lambda: serving.get("/node/ledger/balance")["earned"], "it is settled")
            spent = asking.get("/node/ledger/balance")["spent"]
            asking.kill9()
            asking.start()
            assert asking.get("/node/ledger/balance")["spent"] == spent
            until(lambda: asking.get("/node/models")["network"], "the model is offered again")
            assert asking.post(CHAT, chat())["choices"][0]["message"]["content"].strip() == "4"
            until(
                lambda: sum(n.get("/node/ledger/balance")["balance"] for n in (asking, serving)) == 0,
                "both books agree",
            )


def test_a_serving_node_killed_right_after_an_answer_is_paid_for_it_and_all_later_ones(
    tmp_path: Path,
) -> None:
    """A forgotten admission would make every later settlement of the pair belong to nothing."""
    with joined(tmp_path, kind="pocket") as pair:
        asking, serving = pair.asking, pair.serving
        serving.config["wire"]["port"] = serving.info["wire_port"]
        asking.post(CHAT, chat())
        serving.kill9()
        serving.start()
        until(
            lambda: "up" in [peer["state"] for peer in asking.get("/node/peers")["peers"]], "they meet again"
        )
        asking.post(CHAT, chat())
        until(
            lambda: (
                asking.get("/node/ledger/balance")["spent"]
                == serving.get("/node/ledger/balance")["earned"]
                > 0
            ),
            "both books agree",
        )
