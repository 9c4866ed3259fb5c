from __future__ import annotations

import asyncio
import os
import socket
import time

import pytest
import uvloop
import zmq
from descriptors import none_left
from wire_lab import NET, Heard

from opengateway.errors import ConfigInvalid, PortTaken
from opengateway.identity import Identity
from opengateway.transport.zmq_wire import zmq_wire
from opengateway.wire.hub import Wire
from opengateway.wire.limits import Limits
from opengateway.wire.messages import Chunks
from opengateway.wire.relay import RelayLimits

PATIENCE_S = 20.0


class Node:
    def __init__(self, limits: Limits | None = None, relay: RelayLimits | None = None) -> None:
        self.identity = Identity.generate()
        self.id = self.identity.node_id
        self.heard = Heard()
        self.wire: Wire = zmq_wire(
            self.identity,
            NET,
            "",
            record=lambda: b"record",
            handler=self.heard,
            limits=limits or Limits(),
            relay=relay or RelayLimits(),
        )

    async def start(self, host: str = "127.0.0.1", port: int = 0) -> int:
        self.port = await self.wire.start(host, port)
        return self.port


async def until(condition, what: str) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline, f"in vain waited for {what}"
        await asyncio.sleep(0.002)


async def pair(host: str = "127.0.0.1", dial: str = "127.0.0.1") -> tuple[Node, Node]:
    a, b = Node(), Node()
    await a.start()
    await b.start(host)
    a.wire.dial(f"tcp://{dial}:{b.port}")
    await until(lambda: a.heard.events and b.heard.events, "a session")
    return a, b


@pytest.mark.parametrize("run", [asyncio.run, uvloop.run], ids=["asyncio", "uvloop"])
def test_no_wake_up_is_lost_under_load_in_both_directions(run) -> None:
    async def main() -> None:
        a, b = await pair()
        count = 20_000
        sent = {a.id: 0, b.id: 0}
        while min(sent.values()) < count:
            for source, target in ((a, b), (b, a)):
                for _ in range(37):
                    if sent[source.id] == count:
                        break
                    if not source.wire.send(target.id, Chunks(1, sent[source.id], ["a chunk of text"])):
                        break
                    sent[source.id] += 1
            await asyncio.sleep(0)
        await until(lambda: len(a.heard.messages) == len(b.heard.messages) == count, "the last message")
        for node in (a, b):
            assert [m.first for m in node.heard.messages] == list(range(count))
        await a.wire.close()
        await b.wire.close()

    run(main())


@pytest.mark.parametrize("run", [asyncio.run, uvloop.run], ids=["asyncio", "uvloop"])
def test_no_wake_up_is_lost_in_a_ping_pong_of_single_messages(run) -> None:
    async def main() -> None:
        a, b = await pair()
        a.heard.message = lambda peer, m: m.first < 2000 and a.wire.send(b.id, Chunks(1, m.first + 1, ["x"]))
        done = asyncio.Event()

        def back(peer, m) -> None:
            b.wire.send(a.id, m)
            if m.first == 2000:
                done.set()

        b.heard.message = back
        a.wire.send(b.id, Chunks(1, 0, ["x"]))
        # Were a wake-up lost, the next ping would make up for it after up to 2 s, once per loss.
        await asyncio.wait_for(done.wait(), 10)
        await a.wire.close()
        await b.wire.close()

    run(main())


def test_ipv4_and_ipv6_reach_the_same_port() -> None:
    async def main() -> None:
        for dial in ("127.0.0.1", "[::1]", "localhost"):
            a, b = await pair("*", dial)
            assert a.heard.kinds == b.heard.kinds == ["up"]
            await a.wire.close()
            await b.wire.close()

    with socket.socket(socket.AF_INET6) as probe:
        try:
            probe.bind(("::1", 0))
        except OSError:
            pytest.skip("this machine has no IPv6 loopback")
    asyncio.run(main())


def test_a_taken_port_is_said_with_what_to_do() -> None:
    async def main() -> None:
        a, b = Node(), Node()
        port = await a.start()
        with pytest.raises(PortTaken) as caught:
            await b.start(port=port)
        assert caught.value.message == f"the port for peers {port} on 127.0.0.1 is in use by another program"
        assert "opengateway config set wire.port" in caught.value.hint
        await a.wire.close()

    asyncio.run(main())


def test_a_host_that_is_not_ours_is_said_with_what_to_do() -> None:
    async def main() -> None:
        with pytest.raises(ConfigInvalid) as caught:
            await Node().start("192.0.2.1")
        assert "192.0.2.1" in caught.value.message and caught.value.hint

    asyncio.run(main())


def test_a_port_is_free_again_at_once_after_closing() -> None:
    async def main() -> None:
        a, b = await pair()
        port = b.port
        await b.wire.close()
        again = Node()
        assert await again.start(port=port) == port
        await until(lambda: a.heard.kinds == ["up", "down"], "the goodbye")
        assert a.heard.last_words == "it said goodbye: leaving"
        await a.wire.close()
        await again.wire.close()

    asyncio.run(main())


@pytest.mark.parametrize(
    ("endpoint", "words"),
    [
        ("tcp://127.0.0.1:1", "nothing listens there"),
        ("tcp://no-such-host.invalid:4001", "there is no host called no-such-host.invalid"),
        ("http://127.0.0.1:80", "is not an endpoint"),
    ],
)
def test_a_dial_that_cannot_work_fails_soon_with_a_sentence(endpoint: str, words: str) -> None:
    async def main() -> None:
        a = Node()
        await a.start()
        a.wire.dial(endpoint)
        await until(lambda: a.heard.events, "the failure")
        assert a.heard.events[0][:2] == ("failed", endpoint)
        assert words in a.heard.last_words
        await a.wire.close()

    asyncio.run(main())


def test_something_else_that_listens_there_is_said_to_be_no_node() -> None:
    async def main() -> None:
        with socket.create_server(("127.0.0.1", 0)) as server:
            server.setblocking(False)
            a = Node(Limits(dial_s=0.5))
            await a.start()
            a.wire.dial(f"tcp://127.0.0.1:{server.getsockname()[1]}")
            caller, _ = await asyncio.get_running_loop().sock_accept(server)
            with caller:
                caller.send(b"SSH-2.0-OpenSSH_9.6\r\n" * 10)
                await until(lambda: a.heard.events, "the failure")
            assert a.heard.kinds == ["failed"]
            await a.wire.close()

    asyncio.run(main())


def test_a_zeromq_service_that_is_no_node_is_given_up_in_time() -> None:
    async def main() -> None:
        with zmq.Context() as context, context.socket(zmq.ROUTER) as other:
            port = other.bind_to_random_port("tcp://127.0.0.1")
            a = Node(Limits(dial_s=0.5))
            await a.start()
            a.wire.dial(f"tcp://127.0.0.1:{port}")
            await until(lambda: a.heard.events, "the failure")
            assert "nobody answered" in a.heard.last_words
            await a.wire.close()

    asyncio.run(main())


def test_a_peer_that_dies_is_noticed_by_who_dialled_and_by_who_was_dialled() -> None:
    async def main() -> None:
        a, b = await pair()
        c = Node()
        await c.start()
        b.wire.dial(f"tcp://127.0.0.1:{c.port}")
        await until(lambda: c.heard.events, "a session")
        await b.wire._carrier.close()  # as if killed: no goodbye
        await until(lambda: "down" in a.heard.kinds and "down" in c.heard.kinds, "both to notice")
        await a.wire.close()
        await c.wire.close()

    asyncio.run(main())


@pytest.mark.parametrize("spare", range(5))
def test_a_dial_without_descriptors_fails_with_a_sentence_and_the_node_can_end(spare: int) -> None:
    async def main() -> None:
        a, b, c = Node(Limits(dial_s=0.5)), Node(), Node()
        for one in (a, b, c):
            await one.start()
        a.wire.dial(f"tcp://127.0.0.1:{b.port}")
        await until(lambda: a.heard.events and b.heard.events, "a session")
        with none_left() as taken:
            for _ in range(spare):
                os.close(taken.pop())
            a.wire.dial(f"tcp://127.0.0.1:{c.port}")
            await until(lambda: a.heard.events[-1] != a.heard.events[0], "what becomes of it")
            knocks: list[str] = []
            if spare < 3:
                a.wire.knocks.knock(f"tcp://127.0.0.1:{c.port}", bytes(8), knocks.append)
        if spare < 3:  # one for the socket, two for who watches it; with more ZeroMQ itself may try
            assert a.heard.events[-1][0] == "failed"
            assert "no file descriptor is left" in a.heard.last_words
            assert knocks == ["no file descriptor is left for another connection"]
        a.wire.dial(f"tcp://127.0.0.1:{c.port}")
        await until(lambda: c.id in {session.peer for session in a.wire.sessions()}, "the session")
        for one in (a, b, c):
            await one.wire.close()

    asyncio.run(main())
