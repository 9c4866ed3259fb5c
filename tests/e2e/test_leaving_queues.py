"""A request that stands in the queue of one worker is answered by another as soon as that one is free."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from harness import Node, private_network, until
from paced_engines import Engines, paced_engines
from sse import Streamed, chat

LONG, SPEED = 100_000, 50
SOON = {"x-opengateway-waiting": "1"}


@contextlib.contextmanager
def occupied(node: Node) -> Iterator[None]:
    """Its only slot, by its owner."""
    with Streamed(node, chat(max_tokens=LONG)) as owner:
        next(owner.events())
        yield


def engine_of(engines: Engines, name: str) -> dict[str, Any]:
    return {"kind": "openai", "url": engines.url(name), "slots": 1}


def short(node: Node) -> str:
    return str(node.info["node_id"][:10])


def offered(node: Node) -> int:
    return sum(int(model["nodes"]) for model in node.get("/node/models")["network"])


def queued(node: Node) -> int:
    jobs: dict[str, Any] = node.get("/node/status")["jobs"]
    return int(jobs["queued"])


def test_a_request_in_a_busy_workers_queue_goes_to_the_one_that_is_free_first(tmp_path: Path) -> None:
    network = private_network()
    with contextlib.ExitStack() as stack, contextlib.ExitStack() as owners:
        engines = stack.enter_context(paced_engines({"one": SPEED, "other": SPEED}))
        workers = [
            Node(tmp_path, name, network, engine=engine_of(engines, name)) for name in ("one", "other")
        ]
        known = [stack.enter_context(worker).endpoint for worker in workers]
        asking = stack.enter_context(Node(tmp_path, "asking", network, wire={"bootstrap": known}))
        until(lambda: offered(asking) == len(workers), "both are offered")
        free = {worker.name: owners.enter_context(contextlib.ExitStack()) for worker in workers}
        for worker in workers:
            free[worker.name].enter_context(occupied(worker))
        with Streamed(asking, chat(max_tokens=5), SOON) as answer:
            assert next(answer.lines()).startswith(": 1st in queue")
            until(lambda: sum(map(queued, workers)) == 1, "it stands in one queue")
            there, other = sorted(workers, key=queued, reverse=True)
            free[other.name].close()
            assert answer.text() == " 1 2 3 4 5"
            assert queued(there) == 0
        events = asking.get("/node/trace/last")["events"]
        late = next(event for event in events if event["what"] == "late")
        assert (late["node"], late["position"]) == (short(there), 1)
        assert asking.get("/node/status")["jobs"]["failover"]["left_queues"] == 1


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_a_worker_that_pauses_sends_away_who_waits_there_and_another_answers(tmp_path: Path) -> None:
    """It is lent until a full minute: its owner's load pauses it in the same way, but on a busy machine it
    would have done so before anybody could wait there."""
    network, ends = private_network(), datetime.now().astimezone() + timedelta(seconds=120)
    lent = {"hours": [f"{ends - timedelta(hours=1):%H:%M}-{ends:%H:%M}"]}
    with contextlib.ExitStack() as stack, contextlib.ExitStack() as owner:
        engines = stack.enter_context(paced_engines({"closing": SPEED, "other": SPEED}))
        closing, other = (
            stack.enter_context(Node(tmp_path, name, network, engine=engine_of(engines, name), **more))
            for name, more in (("closing", {"contribute": lent}), ("other", {}))
        )
        known = {"bootstrap": [closing.endpoint]}
        asking = stack.enter_context(Node(tmp_path, "asking", network, wire=known))
        until(lambda: offered(asking) == 1, "one is offered")
        stack.enter_context(occupied(closing))
        owner.enter_context(occupied(other))
        with Streamed(asking, chat(max_tokens=5), SOON, timeout_s=200) as answer:
            assert next(answer.lines()).startswith(": 1st in queue")
            until(lambda: queued(closing) == 1, "it stands in its queue")
            connected = asking.cli("connect", other.endpoint)
            assert connected.returncode == 0, connected
            until(lambda: offered(asking) == 2, "the other is offered")
            until(lambda: queued(closing) == 0, "the minute is full", patience_s=150)
            until(lambda: queued(other) == 1, "it stands in the other's queue")
            owner.close()
            assert answer.text() == " 1 2 3 4 5"
        events = asking.get("/node/trace/last")["events"]
        failed = [event for event in events if event["what"] == "failed" and event["node"] == short(closing)]
        assert "paused" in failed[-1]["why"]
