"""A proof of fraud told to one node is known to all, over those in between."""

from __future__ import annotations

import asyncio
import random
import time
from pathlib import Path

from harness import Node, private_network, until

from opengateway.discovery.record import NodeRecord, sign_record
from opengateway.identity import Identity, network_id
from opengateway.ledger.audit_proof import convicts
from opengateway.ledger.checkpoint import write_note
from opengateway.ledger.entry import GENESIS, ZERO16, ZERO32, Entry, sign
from opengateway.ledger.ogwl import Reader
from opengateway.ledger.witness import FORK, Contradiction
from opengateway.transport.zmq_wire import zmq_wire
from opengateway.units import NodeId
from opengateway.wire.messages import Message, Proof
from opengateway.wire.witness_messages import Head


class Informer:
    """A peer that says one thing."""

    def __init__(self) -> None:
        self.up = asyncio.Event()
        self.heard: list[Message] = []

    def peer_up(self, peer: NodeId, record: bytes, endpoint: str | None, dialled: bool) -> None:
        self.peer = peer
        self.up.set()

    def peer_down(self, peer: NodeId, reason: str) -> None:
        self.up.clear()

    def dial_failed(self, endpoint: str, reason: str) -> None:
        raise AssertionError(reason)

    def message(self, peer: NodeId, message: Message) -> None:
        self.heard.append(message)


def test_a_proof_reaches_everybody_at_once_and_those_who_come_later(tmp_path: Path) -> None:
    network = private_network()
    net = network_id(network["network"]["name"], network["network"]["secret"])
    me, liar = Identity.generate(), Identity(random.Random(7).randbytes(32))
    forker = Identity.generate()
    them = liar.node_id
    plain = Entry(1, GENESIS, net, them, 0, ZERO32, 5, them, ZERO16, bytes(32), "", *[0] * 13, ZERO32)
    proof = Contradiction(FORK, sign(liar, plain), sign(liar, plain._replace(t_ms=6))).proof

    async def tell(endpoint: str) -> None:
        def record() -> bytes:
            now = int(time.time() * 1000)
            made = NodeRecord(
                me.node_id, "informer", "0", "eu-central-1", "DE", (), (), (), (), 0, "client", now,
                now + 60_000,
            )  # fmt: skip
            return sign_record(me, net, made, now_ms=now)

        handler = Informer()
        wire = zmq_wire(me, net, network["network"]["secret"], record=record, handler=handler)
        await wire.start("127.0.0.1", 0)
        try:
            wire.dial(f"tcp://{endpoint}")
            await asyncio.wait_for(handler.up.wait(), 10)
            assert wire.send(handler.peer, Proof(b"nonsense"))
            assert wire.send(handler.peer, Proof(proof))
            for root in (bytes(32), bytes(31) + b"1"):
                assert wire.send(handler.peer, Head(write_note(forker, net, 7, root), 0, b""))
            await asyncio.to_thread(until, lambda: proof in exported(b), "the far node holds the proof")
            assert Proof(proof) not in handler.heard  # not back to who told it
            for node in (a, b):
                await asyncio.to_thread(until, lambda: two_trees(node), "two heads are a proof, too")  # noqa: B023
        finally:
            await wire.close("done")

    def exported(node: Node) -> bytes:
        data: bytes = node.get("/node/ledger/export")
        return data

    def two_trees(node: Node) -> bool:
        (tmp_path / "export").write_bytes(exported(node))
        with Reader(tmp_path / "export") as reader:
            list(reader.records())
            found = [convicts(one, net) for one in reader.trailer().proofs]
        return ("F6-rewrite", forker.node_id) in [(one.kind, one.key) for one in found]

    alone = {"enabled": False}
    with (
        Node(tmp_path, "a", network, lan=alone) as a,
        Node(tmp_path, "b", network, lan=alone, wire={"bootstrap": [a.endpoint]}) as b,
    ):
        until(lambda: b.get("/node/status")["peers"]["total"] == 1, "they have met")
        asyncio.run(tell(a.endpoint))
        with Node(tmp_path, "c", network, lan=alone, wire={"bootstrap": [b.endpoint]}) as late:
            until(lambda: proof in exported(late), "who comes later holds it, too")
