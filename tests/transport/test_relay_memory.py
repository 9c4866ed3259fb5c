"""A relay cannot read what it carries: its memory is searched for the words and for the keys."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import process_memory
import pytest
import uvloop
from transport.test_zmq_wire import Node, until

from opengateway.identity import from_base32
from opengateway.units import NodeId
from opengateway.wire.messages import Chunks
from opengateway.wire.relay_endpoint import RelayEndpoint

pytestmark = pytest.mark.skipif(not Path("/proc/self/mem").exists(), reason="Linux shows memory in /proc")

PROMPT = "the words of a prompt that nobody in between may read: heliotrope"
ANSWER = "and those of its answer: chrysoprase"
TOLD = "what is said to the relay itself: obsidian"


@contextmanager
def relay_alone() -> Iterator[tuple[subprocess.Popen[str], NodeId, str]]:
    tests = Path(__file__).parents[1]
    process = subprocess.Popen(
        [sys.executable, str(tests / "transport" / "relay_alone.py")],
        cwd=tests.parent,
        env={"PYTHONPATH": str(tests.parent), "PATH": "/usr/bin:/bin"},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdin is not None and process.stdout is not None
    try:
        said = json.loads(process.stdout.readline())
        yield process, NodeId(from_base32(said["id"])), f"tcp://127.0.0.1:{said['port']}"
    finally:
        process.stdin.close()
        process.wait(20)
        process.stdout.close()


def keys(node: Node, peer: NodeId) -> set[bytes]:
    """Both directions' keys of the session with `peer`."""
    agreed = node.wire._sessions.sending[peer].keys
    return {agreed.sealer._key, agreed.opener._key}


def test_neither_words_nor_keys_of_what_it_carries_lie_in_a_relays_memory() -> None:
    async def main() -> None:
        with relay_alone() as (process, relay, where):
            a, b = Node(), Node()
            for node in (a, b):
                await node.start()
                node.wire.dial(where)
            await until(lambda: a.heard.events and b.heard.events, "the sessions with the relay")
            b.wire.relaying.reserve(relay)
            await until(lambda: b.heard.messages, "the reservation")
            a.wire.dial(str(RelayEndpoint(relay, where, b.id)))
            await until(
                lambda: len(b.heard.events) == len(a.heard.events) == 2, "a session through the relay"
            )
            b.heard.messages.clear()
            for number in range(200):
                assert a.wire.send(b.id, Chunks(1, number, [PROMPT]))
                assert b.wire.send(a.id, Chunks(1, number, [ANSWER]))
            assert a.wire.send(relay, Chunks(2, 0, [TOLD]))
            await until(
                lambda: len(a.heard.messages) == len(b.heard.messages) == 200, "everything to have arrived"
            )
            inner, outer = keys(a, b.id), keys(a, relay)
            assert inner == keys(b, a.id)
            words = {PROMPT.encode(), ANSWER.encode()}
            seen = process_memory.holds(process.pid, {*words, *inner, *outer, TOLD.encode(), bytes(b.id)})
            assert TOLD.encode() in seen, "what it may read is found, so the search works"
            assert outer <= seen, "and so are the keys that it has itself"
            assert bytes(b.id) in seen, "it knows for whom it is"
            assert not seen & (words | inner)
            for node in (a, b):
                await node.wire.close()

    uvloop.run(main())
