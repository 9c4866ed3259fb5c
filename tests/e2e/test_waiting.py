"""Waiting between two real nodes: the place in the worker's queue, its signs of life, deadlines, refusals."""

from __future__ import annotations

import contextlib
import os
import pty
import select
import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import cli_lab
import pytest
from harness import Node, until
from pairs import Pair
from sse import Streamed, chat

CHAT = "/v1/chat/completions"
LONG = 100_000
SOON = {"x-opengateway-waiting": "1"}


@contextlib.contextmanager
def occupied(node: Node) -> Iterator[None]:
    """All four slots of the node are busy, by its own user."""
    with contextlib.ExitStack() as stack, ThreadPoolExecutor(4) as pool:
        holding = [Streamed(node, chat(max_tokens=LONG)) for _ in range(4)]
        for held in [pool.submit(stack.enter_context, held) for held in holding]:
            next(held.result().events())
        yield


def idle(pair: Pair) -> bool:
    jobs = [node.get("/node/status")["jobs"] for node in (pair.asking, pair.serving)]
    return not any(job["running"] or job["queued"] for job in jobs)


@pytest.fixture(autouse=True)
def _idle_afterwards(paced_pair: Pair) -> Iterator[None]:
    yield
    until(lambda: idle(paced_pair), "both nodes are idle again", patience_s=5)


def test_the_place_in_the_workers_queue_is_told_to_the_user_of_the_asking_node(paced_pair: Pair) -> None:
    with ThreadPoolExecutor(1) as pool:
        with occupied(paced_pair.serving):
            answer = Streamed(paced_pair.asking, chat(max_tokens=2), SOON)
            waits = pool.submit(answer.__enter__).result()
            first = next(waits.lines())
            assert first.startswith(": 1st in queue, about "), first
            assert paced_pair.serving.get("/node/status")["jobs"]["queued_by_class"]["friend"] == 1
        assert answer.text() == " word word"
        answer.__exit__(None, None, None)


def test_a_deadline_is_kept_across_the_wire(paced_pair: Pair) -> None:
    with occupied(paced_pair.serving):
        started = time.monotonic()
        status, answer = paced_pair.asking.request(
            "POST", CHAT, chat(max_tokens=2), headers={"x-opengateway-deadline": "0.8"}
        )
        assert (status, answer["error"]["code"]) == (504, "deadline_passed")
        assert answer["error"]["retry_after"] >= 1
        assert 0.7 < time.monotonic() - started < 8


@pytest.mark.parametrize("wrong", ["soon", "-1", "0", "nan", "1e9"])
def test_a_deadline_that_is_none_is_refused_by_name(paced_pair: Pair, wrong: str) -> None:
    status, answer = paced_pair.asking.request(
        "POST", CHAT, chat(), headers={"x-opengateway-deadline": wrong}
    )
    assert status == 400
    assert "x-opengateway-deadline" in answer["error"]["message"]


def test_prompt_shows_the_place_on_a_status_line_of_the_terminal(paced_pair: Pair) -> None:
    """On a real pseudo-terminal, as a user sees it."""
    command = cli_lab.command("prompt", "hello", "--max-tokens", "3", home=paced_pair.asking.home)
    with occupied(paced_pair.serving):
        terminal, inside = pty.openpty()
        process = subprocess.Popen(command, stdin=inside, stdout=inside, stderr=inside)
        os.close(inside)
        seen = _read_until(terminal, b"in queue")
    try:
        rest = _read_until(terminal, b"word word word")
        assert process.wait(20) == 0
    finally:
        process.kill()
        process.wait()
        os.close(terminal)
    assert b"1st in queue, about" in seen
    assert b"\x1b[K" in rest


def _read_until(terminal: int, wanted: bytes) -> bytes:
    seen, deadline = b"", time.monotonic() + 20
    while wanted not in seen:
        assert time.monotonic() < deadline, seen
        if select.select([terminal], [], [], 0.5)[0]:
            seen += os.read(terminal, 4096)
    return seen
