"""Attackers with raw ZeroMQ sockets against one real node, which goes on serving a good peer.

Every test ends the same way (`Siege.__aexit__`): the good peer still exchanges messages with the node, and
nobody has been told that it was down.
"""

from __future__ import annotations

import asyncio
import os
import struct
import time
from collections.abc import Callable, Coroutine
from typing import Any, Self

import pytest
import zmq
from wire_lab import NET, Heard

from opengateway.identity import Identity, network_id
from opengateway.transport.zmq_wire import zmq_wire
from opengateway.units import NetworkId
from opengateway.wire import cbor
from opengateway.wire.codec import encode_message
from opengateway.wire.envelope import HELLO, RECORD, sign_envelope
from opengateway.wire.handshake import HELLO_FRAME, Established, Initiator, Us
from opengateway.wire.hub import Wire
from opengateway.wire.limits import Limits
from opengateway.wire.link_messages import Ping
from opengateway.wire.messages import Chunks
from opengateway.wire.refusals import read_refusal

PATIENCE_S = 10.0
SMALL_ORDER = [bytes(32), bytes([1]) + bytes(31)]
"""Points of order 1 and 4 on Curve25519, of order 4 and 1 on Ed25519."""


async def until(condition: Callable[[], object], what: str) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline, f"in vain waited for {what}"
        await asyncio.sleep(0.002)


class Siege:
    """A node, a good peer connected to it, and a raw DEALER for the attacker."""

    def __init__(self, limits: Limits | None = None) -> None:
        self.limits = limits or Limits()
        self.node_id, self.good_id = Identity.generate(), Identity.generate()
        self.heard, self.good_heard = Heard(), Heard()
        self.node = self._wire(self.node_id, self.heard)
        self.good = self._wire(self.good_id, self.good_heard)
        self.context = zmq.Context[zmq.Socket[bytes]]()
        self.sockets: list[zmq.Socket[bytes]] = []

    def _wire(self, identity: Identity, handler: Heard) -> Wire:
        return zmq_wire(identity, NET, "", record=lambda: b"record", handler=handler, limits=self.limits)

    async def __aenter__(self) -> Self:
        self.port = await self.node.start("127.0.0.1")
        await self.good.start("127.0.0.1")
        self.good.dial(f"tcp://127.0.0.1:{self.port}")
        await until(lambda: self.heard.events and self.good_heard.events, "the good peer's session")
        self.attacker = self.dealer()
        return self

    async def __aexit__(self, kind: object, *_: object) -> None:
        try:
            if kind is None:
                await self._good_peer_is_served()
        finally:
            for socket in self.sockets:
                socket.close(linger=0)
            self.context.term()
            await self.good.close()
            await self.node.close()

    async def _good_peer_is_served(self) -> None:
        # Messages of the tests themselves come from the attacker; these have stream 4711.
        assert self.good.send(self.node_id.node_id, Chunks(4711, 0, ["still there?"]))
        assert self.node.send(self.good_id.node_id, Chunks(4711, 0, ["still here."]))
        both = (self.heard, self.good_heard)
        await until(
            lambda: (
                all(Chunks(4711, 0, h.messages[-1].items) == h.messages[-1] for h in both if h.messages)  # type: ignore[union-attr]
                and all(h.messages for h in both)
            ),
            "the good peer to be served",
        )
        assert ("down" not in self.good_heard.kinds) and self.node.counters["handler_failed"] == 0
        assert not any(event[:2] == ("down", self.good_id.node_id) for event in self.heard.events)

    def dealer(self) -> zmq.Socket[bytes]:
        socket = self.context.socket(zmq.DEALER)
        socket.setsockopt(zmq.RECONNECT_IVL, -1)
        socket.connect(f"tcp://127.0.0.1:{self.port}")
        self.sockets.append(socket)
        return socket

    async def counted(self, reason: str, least: int = 1) -> None:
        name = f"refused_{reason}"
        await until(
            lambda: self.node.counters[name] >= least, f"{least} {name} in {dict(self.node.counters)}"
        )

    def initiator(self, identity: Identity | None = None, **kwargs: Any) -> Initiator:
        us = Us(identity or Identity.generate(), NET, "", os.urandom(16))
        return Initiator(us, b"record", now_ms=kwargs.pop("now_ms", time.time_ns() // 1_000_000), **kwargs)

    async def answer(self, socket: zmq.Socket[bytes]) -> bytes:
        await until(lambda: socket.getsockopt(zmq.EVENTS) & zmq.POLLIN, "an answer")  # type: ignore[operator]
        return socket.recv()

    async def join(self, identity: Identity | None = None) -> Established:
        """A session of the attacker's own: everybody may have one, on a public network."""
        initiator = self.initiator(identity)
        self.attacker.send(initiator.hello)
        session = initiator.welcomed(await self.answer(self.attacker), time.time_ns() // 1_000_000)
        self.send(session, encode_message(Ping(1)))
        await until(lambda: self.node.counters["peers"] == 2, "the attacker's session")
        return session

    def send(self, session: Established, body: bytes) -> bytes:
        frame = session.sealer.seal(body, time.monotonic())
        self.attacker.send(frame)
        return frame


def siege(attack: Callable[[Siege], Coroutine[Any, Any, None]], limits: Limits | None = None) -> None:
    async def main() -> None:
        async with Siege(limits) as field:
            await attack(field)

    asyncio.run(main())


def hello_with(identity: Identity | None = None, **changes: Any) -> bytes:
    """A HELLO frame, signed, of any content."""
    body = changes.pop("body", [os.urandom(32), os.urandom(16), b"record", 0])
    settings = {"net": NET, "kind": HELLO, "t_ms": time.time_ns() // 1_000_000} | changes
    net, kind = settings.pop("net"), settings.pop("kind")
    return HELLO_FRAME + sign_envelope(
        identity or Identity.generate(), NetworkId(net), kind, body, **settings
    )


def test_random_bytes_are_refused_and_counted() -> None:
    async def attack(field: Siege) -> None:
        for size in (0, 1, 13, 100, 5000):
            field.attacker.send(b"\x99" + os.urandom(size))
        await field.counted("unexpected_frame", 5)
        field.attacker.send(HELLO_FRAME + b"\xff" + os.urandom(200))
        await field.counted("not_canonical")

    siege(attack)


def test_an_empty_frame_is_refused_and_counted() -> None:
    async def attack(field: Siege) -> None:
        field.attacker.send(b"")
        await field.counted("unexpected_frame")

    siege(attack)


def test_a_truncated_hello_is_refused_and_counted() -> None:
    async def attack(field: Siege) -> None:
        hello = hello_with()
        for cut in (1, 2, 50, len(hello) - 1):
            field.attacker.send(hello[:cut])
        await field.counted("not_canonical", 4)

    siege(attack)


def test_a_truncated_frame_of_a_session_is_refused_and_counted() -> None:
    async def attack(field: Siege) -> None:
        session = await field.join()
        frame = session.sealer.seal(encode_message(Ping(2)), 0.0)
        field.attacker.send(frame[:20])
        await field.counted("truncated_frame")
        field.attacker.send(frame[:-1])
        await field.counted("forged_frame")

    siege(attack)


def test_oversized_frames_are_refused_and_counted() -> None:
    async def attack(field: Siege) -> None:
        field.attacker.send(HELLO_FRAME + bytes(Limits().hello))
        await field.counted("oversized")
        session = await field.join()
        field.send(session, bytes(Limits().frame))
        await field.counted("oversized", 2)

    siege(attack)


def test_a_frame_far_beyond_the_limit_costs_the_sender_its_connection() -> None:
    async def attack(field: Siege) -> None:
        await field.join()
        field.attacker.send(bytes(3 << 20))
        await until(lambda: field.node.counters["peers"] == 1, "the node to let go")

    siege(attack)


def test_a_hello_that_is_not_canonical_is_refused_and_counted() -> None:
    async def attack(field: Siege) -> None:
        statement, signature = cbor.decode(hello_with()[1:])
        field.attacker.send(HELLO_FRAME + b"\x9f" + cbor.encode(statement) + cbor.encode(signature) + b"\xff")
        long_form = b"\x82\x5a" + struct.pack(">I", len(statement)) + statement + cbor.encode(signature)
        field.attacker.send(HELLO_FRAME + long_form)
        await field.counted("not_canonical", 2)

    siege(attack)


def test_a_message_that_is_not_canonical_is_refused_and_counted() -> None:
    async def attack(field: Siege) -> None:
        session = await field.join()
        field.send(session, b"\x82\x01\x18\x05")  # Ping(5) with 5 in two bytes
        await field.counted("malformed_message")
        field.send(session, b"\xd8\x23\x78\x20" + b"(a|b)*" * 5 + b"()")  # a tag that cbor2 would compile
        await field.counted("malformed_message", 2)

    siege(attack)


def test_an_unknown_message_number_is_counted_and_no_offence() -> None:
    async def attack(field: Siege) -> None:
        session = await field.join()
        for _ in range(100):
            field.send(session, cbor.encode([99, "from the future"]))
        await field.counted("unknown_message", 100)
        assert field.node.counters["peers"] == 2

    siege(attack)


def test_a_hello_of_another_network_is_refused_and_told_so_in_its_own_terms() -> None:
    async def attack(field: Siege) -> None:
        us = Us(Identity.generate(), network_id("elsewhere"), "", os.urandom(16))
        initiator = Initiator(us, b"record", now_ms=time.time_ns() // 1_000_000)
        field.attacker.send(initiator.hello)
        await field.counted("wrong_network")
        assert read_refusal(us, initiator, await field.answer(field.attacker)).reason == "wrong_network"

    siege(attack)


def test_an_unknown_version_is_refused_and_told_which_is_supported() -> None:
    async def attack(field: Siege) -> None:
        identity = Identity.generate()
        statement = cbor.encode([2, NET, HELLO, identity.node_id, b"", 0, bytes(16), [], "and more"])
        frame = HELLO_FRAME + cbor.encode([statement, bytes(64)])
        field.attacker.send(frame)
        await field.counted("unknown_version")
        refusal = await field.answer(field.attacker)
        assert cbor.decode(cbor.decode(refusal[1:])[0])[7][3] == [1]

    siege(attack)


def test_another_kind_of_envelope_than_a_hello_is_refused_and_counted() -> None:
    async def attack(field: Siege) -> None:
        field.attacker.send(hello_with(kind=RECORD))
        await field.counted("unknown_kind")

    siege(attack)


def test_a_forged_signature_is_refused_and_counted() -> None:
    async def attack(field: Siege) -> None:
        statement, signature = cbor.decode(hello_with()[1:])
        field.attacker.send(HELLO_FRAME + cbor.encode([statement, bytes([signature[0] ^ 1]) + signature[1:]]))
        await field.counted("bad_signature")

    siege(attack)


@pytest.mark.parametrize("key", SMALL_ORDER)
def test_small_order_keys_are_refused_and_counted(key: bytes) -> None:
    async def attack(field: Siege) -> None:
        field.attacker.send(hello_with(body=[key, os.urandom(16), b"record", 0]))  # X25519
        await field.counted("small_order_key")
        fields = [1, NET, HELLO, key, b"", time.time_ns() // 1_000_000, os.urandom(16), [bytes(32)] * 3]
        statement = cbor.encode(fields)  # Ed25519: S = 0 and R = A passes a verifier that does not look
        field.attacker.send(HELLO_FRAME + cbor.encode([statement, key + bytes(32)]))
        await field.counted("small_order_key", 2)

    siege(attack)


def test_a_hello_with_the_wrong_fields_is_refused_and_counted() -> None:
    async def attack(field: Siege) -> None:
        lengths, kinds = [b"", b"", b"", 0], [bytes(32), bytes(16), "text", 0]
        bodies = (
            [],
            lengths,
            kinds,
            [bytes(32), bytes(16), b"", b""],
            [bytes(32), bytes(16), bytes(9000), 0],
        )
        for body in bodies:
            field.attacker.send(hello_with(body=body))
        await field.counted("malformed", len(bodies))

    siege(attack)


def test_a_hello_from_two_minutes_ago_is_refused_and_told_by_how_much() -> None:
    async def attack(field: Siege) -> None:
        initiator = field.initiator(now_ms=time.time_ns() // 1_000_000 - 125_000)
        field.attacker.send(initiator.hello)
        await field.counted("clock_skew")
        us = Us(Identity.generate(), NET, "", b"")
        assert "125 s behind" in read_refusal(us, initiator, await field.answer(field.attacker)).sentence

    siege(attack)


def test_a_replayed_hello_is_refused_and_counted() -> None:
    async def attack(field: Siege) -> None:
        hello = hello_with()
        field.attacker.send(hello)
        field.dealer().send(hello)
        await field.counted("replayed_hello")

    siege(attack)


def test_the_good_peers_own_hello_replayed_does_not_touch_its_session() -> None:
    async def attack(field: Siege) -> None:
        field.attacker.send(hello_with(field.good_id))
        await until(lambda: field.node.counters["half_open"], "the WELCOME")
        await field.answer(field.attacker)
        field.attacker.send(b"\x10" + bytes(60))
        await field.counted("forged_frame")

    siege(attack)


def test_a_replayed_frame_is_refused_and_counted() -> None:
    async def attack(field: Siege) -> None:
        session = await field.join()
        frame = field.send(session, encode_message(Chunks(1, 0, ["once"])))
        field.attacker.send(frame)
        await field.counted("replayed_frame")
        assert field.heard.messages == [Chunks(1, 0, ["once"])]

    siege(attack)


def test_reordered_frames_are_refused_and_counted() -> None:
    async def attack(field: Siege) -> None:
        session = await field.join()
        early, late = (session.sealer.seal(encode_message(Chunks(1, n, ["x"])), 0.0) for n in (0, 1))
        field.attacker.send(late)
        field.attacker.send(early)
        await field.counted("replayed_frame")
        assert field.heard.messages == [Chunks(1, 1, ["x"])]

    siege(attack)


def test_frames_of_another_epoch_are_refused_and_counted() -> None:
    async def attack(field: Siege) -> None:
        session = await field.join()
        for epoch in (2, 0xFFFFFFFF):
            field.attacker.send(struct.pack(">BIQ", 0x10, epoch, 1 << 40) + bytes(40))
        await field.counted("wrong_epoch", 2)
        field.send(session, encode_message(Chunks(1, 0, ["unharmed"])))
        await until(lambda: field.heard.messages, "the session to go on")

    siege(attack)


def test_a_frame_in_several_parts_is_refused_and_counted() -> None:
    async def attack(field: Siege) -> None:
        field.attacker.send_multipart([hello_with(), b"\x00\x01\x02\x03\x04", b"x"])
        await field.counted("multipart")

    siege(attack)


def test_a_peer_that_keeps_sending_rubbish_is_sent_away() -> None:
    async def attack(field: Siege) -> None:
        session = await field.join()
        for _ in range(16):
            field.send(session, b"\xff")
        await until(lambda: field.node.counters["peers"] == 1, "the node to hang up")
        assert field.node.counters["refused_malformed_message"] == 16

    siege(attack)


def test_peers_that_never_finish_the_handshake_are_forgotten_in_time_and_bounded_in_number() -> None:
    async def attack(field: Siege) -> None:
        for _ in range(5):
            field.dealer().send(hello_with())
        await field.counted("half_open_full", 2)
        assert field.node.counters["half_open"] == 3
        await field.counted("half_open_timeout", 3)
        assert field.node.counters["half_open"] == 0

    siege(attack, Limits(half_open=3, half_open_s=0.5))


def test_a_peer_that_never_reads_costs_a_bounded_amount() -> None:
    async def attack(field: Siege) -> None:
        identity = Identity.generate()
        await field.join(identity)  # and from here on it reads nothing
        sent = refused = 0
        while not refused:
            for _ in range(50):
                if field.node.send(identity.node_id, Chunks(1, sent, ["x" * 10_000])):
                    sent += 1
                else:
                    refused += 1
            await asyncio.sleep(0)
        assert sent <= 1.1 * Limits().queued_bytes / 10_000
        assert field.node.counters["not_sent_queue_full"] == refused
        assert not field.node.send(identity.node_id, Chunks(1, sent, ["x"]))

    siege(attack)


def test_a_flood_of_hellos_from_one_address_is_refused_before_it_costs_a_signature() -> None:
    async def attack(field: Siege) -> None:
        for _ in range(500):
            field.attacker.send(hello_with())
        await field.counted("hello_flood", 450)
        assert field.node.counters["welcomes"] < 50  # 19 at once, 10 a second after

    siege(attack)
