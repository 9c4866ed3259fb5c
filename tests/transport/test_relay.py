"""A relay over real sockets."""

from __future__ import annotations

import asyncio

import uvloop
from transport.test_zmq_wire import Node, until

from opengateway.wire.messages import Chunks
from opengateway.wire.relay import RelayLimits
from opengateway.wire.relay_endpoint import RelayEndpoint


async def trio() -> tuple[Node, Node, Node]:
    """Two nodes and their relay, which the second is reached through; the first has dialled it so."""
    a, b, relay = Node(), Node(), Node(relay=RelayLimits(bytes_per_s=0))
    for node in (a, b, relay):
        await node.start()
    where = f"tcp://127.0.0.1:{relay.port}"
    relay.wire.relaying.relay.endpoint = where
    b.wire.dial(where)
    await until(lambda: b.heard.kinds == ["up"], "the session with the relay")
    b.wire.relaying.reserve(relay.id)
    await until(lambda: b.heard.messages, "the reservation")
    b.heard.messages.clear()
    a.wire.dial(str(RelayEndpoint(relay.id, where, b.id)))
    await until(lambda: b.heard.kinds == ["up", "up"], "the session through the relay")
    return a, b, relay


def test_answers_and_a_large_prompt_pass_a_relay_in_order_both_ways() -> None:
    async def main() -> None:
        a, b, relay = await trio()
        sent = {a.id: 0, b.id: 0}
        count, large = 3000, 100
        while min(sent.values()) < count:
            for source, target in ((a, b), (b, a)):
                for _ in range(20):
                    n = sent[source.id]
                    text = "x" * (300_000 if n % large == 0 else 20)
                    if n == count or not source.wire.send(target.id, Chunks(1, n, [text])):
                        break
                    sent[source.id] += 1
            await asyncio.sleep(0)
        await until(lambda: len(a.heard.messages) == len(b.heard.messages) == count, "the last message")
        for node in (a, b):
            assert [m.first for m in node.heard.messages] == list(range(count))
        assert relay.wire.counters["relay_held_bytes"] == 0
        assert relay.wire.counters["relay_bytes"] > 2 * 300_000 * count / large
        for node in (a, b, relay):
            await node.wire.close()

    uvloop.run(main())


def test_a_relay_that_closes_ends_what_it_carried_and_both_ends_hear_of_it() -> None:
    async def main() -> None:
        a, b, relay = await trio()
        await relay.wire.close()
        await until(lambda: a.heard.kinds.count("down") == b.heard.kinds.count("down") == 2, "both to hear")
        assert not a.wire.sessions() and not b.wire.sessions()
        await a.wire.close()
        await b.wire.close()

    asyncio.run(main())
