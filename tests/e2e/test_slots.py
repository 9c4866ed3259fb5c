"""Slots, queues, and callers that leave or never read: two nodes and an engine that takes its time."""

from __future__ import annotations

import json
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import psutil
import pytest
from harness import Node, until
from pairs import Pair
from sse import Streamed, chat

CHAT = "/v1/chat/completions"
WORD = " word"
LONG = 100_000


def busy(node: Node) -> int:
    return int(node.get("/node/status")["engine"]["busy"])


def idle(pair: Pair) -> bool:
    jobs = [node.get("/node/status")["jobs"] for node in (pair.asking, pair.serving)]
    held = pair.asking.get("/node/ledger/balance")["held"]
    return not held and not any(job["running"] or job["queued"] for job in jobs)


@pytest.fixture(autouse=True)
def _idle_before_and_after(paced_pair: Pair) -> Any:
    yield
    until(lambda: idle(paced_pair), "both nodes are idle again", patience_s=5)


@pytest.mark.parametrize("name", ["asking", "serving"])
def test_a_caller_who_hangs_up_frees_the_slot_within_a_second(paced_pair: Pair, name: str) -> None:
    with Streamed(getattr(paced_pair, name), chat(max_tokens=LONG)) as answer:
        next(answer.events())
        assert busy(paced_pair.serving) == 1
    until(lambda: busy(paced_pair.serving) == 0, "the slot is free", patience_s=1)


def test_a_caller_who_hangs_up_pays_for_what_came_only(paced_pair: Pair) -> None:
    with Streamed(paced_pair.asking, chat(max_tokens=LONG)) as answer:
        next(answer.events())
        assert paced_pair.asking.get("/node/ledger/balance")["held"] > 0
    until(lambda: idle(paced_pair), "the hold is settled", patience_s=5)
    newest = lambda: paced_pair.asking.get("/node/ledger/history?limit=1")["entries"][0]  # noqa: E731
    until(lambda: newest()["type"] == "settle", "the settlement is durable", patience_s=5)
    assert newest()["completion_tokens"] < 100


def test_twenty_prompts_on_four_slots_are_all_answered(paced_pair: Pair) -> None:
    def ask(number: int) -> str:
        with Streamed(paced_pair.asking, chat(f"number {number}", max_tokens=10)) as answer:
            assert answer.status == 200, answer.answer.read()
            return answer.text()

    most = 0
    with ThreadPoolExecutor(20) as pool:
        answers = [pool.submit(ask, number) for number in range(20)]
        while not all(answer.done() for answer in answers):
            most = max(most, busy(paced_pair.serving))
    assert [answer.result() for answer in answers] == [WORD * 10] * 20
    assert most <= 4


def test_the_nodes_own_user_goes_before_a_peer_who_waits(paced_pair: Pair) -> None:
    ended: list[str] = []

    def ask(node: Node, tokens: int) -> None:
        with Streamed(node, chat(max_tokens=tokens)) as answer:
            answer.text()
        ended.append(node.name)

    with ThreadPoolExecutor(10) as pool:
        for _ in range(4):
            pool.submit(ask, paced_pair.serving, 40)
        until(lambda: busy(paced_pair.serving) == 4, "every slot is taken")
        pool.submit(ask, paced_pair.asking, 20)
        jobs = lambda: paced_pair.serving.get("/node/status")["jobs"]  # noqa: E731
        until(lambda: jobs()["queued"] + paced_pair.asking.get("/node/status")["jobs"]["queued"], "one waits")
        for _ in range(4):
            pool.submit(ask, paced_pair.serving, 20)
    assert ended[-1] == "asking"


def test_while_a_caller_waits_the_connection_shows_signs_of_life(paced_pair: Pair) -> None:
    with ThreadPoolExecutor(4) as pool:
        holding = [Streamed(paced_pair.serving, chat(max_tokens=LONG)) for _ in range(4)]
        opened = [pool.submit(held.__enter__) for held in holding]
        for held in opened:
            next(held.result().events())
        try:
            with Streamed(paced_pair.serving, chat(max_tokens=2)) as answer:
                assert answer.status == 200
                assert next(answer.lines()).startswith(": 1st in queue")
                for held in holding:
                    held.__exit__(None, None, None)
                assert answer.text() == WORD * 2
        finally:
            for held in holding:
                held.__exit__(None, None, None)


def test_callers_who_never_read_cost_little_and_block_nobody(paced_pair: Pair) -> None:
    """Each would be 100,000 tokens; what nobody reads waits in the sockets, and the engine with it."""
    processes = [psutil.Process(node.pid) for node in (paced_pair.asking, paced_pair.serving)]
    before = [process.memory_info().rss for process in processes]
    host, _, port = paced_pair.asking.http.removeprefix("http://").partition(":")
    body = json.dumps({"stream": True, **chat(max_tokens=LONG)})
    request = f"POST {CHAT} HTTP/1.1\r\nHost: {host}\r\nContent-Length: {len(body)}\r\n\r\n{body}"
    lazy = []
    try:
        for _ in range(3):
            lazy.append(socket.create_connection((host, int(port))))
            lazy[-1].setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            lazy[-1].sendall(request.encode())
        until(lambda: busy(paced_pair.serving) == 3, "three are being answered")
        started = time.monotonic()
        with Streamed(paced_pair.asking, chat(max_tokens=50)) as answer:
            assert answer.text() == WORD * 50
        assert time.monotonic() - started < 5
        grown = [p.memory_info().rss - rss for p, rss in zip(processes, before, strict=True)]
        assert max(grown) < 30 * 1024 * 1024
    finally:
        for connection in lazy:
            connection.close()
    until(lambda: busy(paced_pair.serving) == 0, "the slots are free", patience_s=2)


def test_a_prompt_too_large_for_the_wire_is_refused_at_once_and_served_at_home(paced_pair: Pair) -> None:
    # A character of six bytes as JSON and one of text: large on the wire, short enough for the context.
    nothing = [{"role": "user", "content": ""}] * 9_000
    huge = chat(messages=[{"role": "user", "content": "\x01" * 130_000}, *nothing], max_tokens=1)
    started = time.monotonic()
    status, answer = paced_pair.asking.request("POST", CHAT, huge)
    assert status == 400
    assert "kB" in answer["error"]["message"]
    assert time.monotonic() - started < 5
    assert paced_pair.serving.request("POST", CHAT, huge)[0] == 200


def test_a_limit_beyond_all_reason_harms_nobody(paced_pair: Pair) -> None:
    with Streamed(paced_pair.asking, chat(max_tokens=2**31 - 1)) as answer:
        next(answer.events())
    until(lambda: idle(paced_pair), "nothing is held", patience_s=5)
    for node in (paced_pair.asking, paced_pair.serving):
        assert [row["name"] for row in node.get("/node/actors")["actors"] if row["life"] > 1] == []
