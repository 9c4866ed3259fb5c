"""A peer written for the tests: it speaks the wire and keeps a ledger, and does only what a test tells it.

async with rogue(folder, node) as peer:
    number = await peer.ask(tokens=500)     # an OPEN and an Ask, and then no voucher at all
    await peer.until(lambda: peer.ended(number))
    peer.text(number)
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any, TypeVar

from harness import Node

from opengateway.discovery.record import ModelOffer, NodeRecord, open_record, sign_record
from opengateway.engines.quotation import Terms, open_quote
from opengateway.engines.refusal import open_refusal
from opengateway.errors import OpenGatewayError
from opengateway.identity import Identity, network_id
from opengateway.ledger.book import Book
from opengateway.routing.hold import TEMPLATE_TOKENS
from opengateway.transport.zmq_wire import zmq_wire
from opengateway.units import NodeId
from opengateway.wire.messages import (
    Accepted,
    Ask,
    Chunks,
    Earned,
    Ended,
    Failed,
    Message,
    RecordChanged,
    Refused,
    Settle,
    Voucher,
)
from opengateway.wire.quote_messages import Quoted

T = TypeVar("T")
PATIENCE_S = 20.0
GOLD = ModelOffer("gold", "", 1000, "", 8192, 0, 0, 125, 1000, demo=False, abilities=())
"""What a rogue offers where it is a worker."""


def now_ms() -> int:
    return time.time_ns() // 1_000_000


class Rogue:
    def __init__(
        self, folder: Path, node: Node, name: str, *, serves: bool, offer: ModelOffer = GOLD
    ) -> None:
        network = node.config["network"]
        self.net = network_id(network["name"], network["secret"])
        self.identity = Identity.generate()
        self.book = Book(folder / name / "ledger.db", self.identity, self.net, now_ms=now_ms)
        self.serves, self.offered = serves, offer
        self.heard: list[Message] = []
        self.peer: NodeId | None = None
        self.record: NodeRecord
        self.signed = b""
        self.rids: dict[int, bytes] = {}
        self.answers: Callable[[Ask, bytes], None] | None = None
        """How an Ask is answered, given the id of the admitted request."""
        self.wire = zmq_wire(
            self.identity, self.net, network["secret"], record=lambda: self._own_record(name), handler=self
        )

    def _own_record(self, name: str) -> bytes:
        now = now_ms()
        offers = (self.offered,) if self.serves else ()
        state, slots = ("ready", 4) if offers else ("client", 0)
        record = NodeRecord(
            self.identity.node_id, name, "0", "eu-central-1", "DE", (), (), (), offers, slots, state, now,
            now + 3_600_000,
        )  # fmt: skip
        return sign_record(self.identity, self.net, record, now_ms=now)

    # -- the wire's handler ------------------------------------------------------------------------

    def peer_up(self, peer: NodeId, record: bytes, endpoint: str | None, dialled: bool) -> None:
        self.peer = peer
        self._seen(record)

    def peer_down(self, peer: NodeId, reason: str) -> None:
        self.peer = None

    def dial_failed(self, endpoint: str, reason: str) -> None:
        raise AssertionError(reason)

    def message(self, peer: NodeId, message: Message) -> None:
        self.heard.append(message)
        match message:
            case RecordChanged(record=record):
                self._seen(record)
            case Ask() if self.answers is not None:
                admission = self.book.admit(
                    message.opening,
                    peer,
                    price_prompt=self.offered.price_prompt,
                    price_completion=self.offered.price_completion,
                )
                self.book.commit()
                self.answers(message, admission.rid)
            case Settle(stream=stream, entry=entry):
                earned = self.book.earn(entry, peer)
                self.book.commit()
                self.send(Earned(stream, earned))
            case Earned(entry=entry):
                self.book.countersigned(entry, peer)
                self.book.commit()
            case Voucher(voucher=voucher):
                self.book.vouched(voucher, peer)
                self.book.commit()

    def _seen(self, record: bytes) -> None:
        self.record, self.signed = open_record(record, self.net, now_ms=now_ms()), record

    # -- what it does ------------------------------------------------------------------------------

    def send(self, message: Message) -> None:
        assert self.peer is not None
        assert self.wire.send(self.peer, message)

    async def until(self, condition: Callable[[], T], what: str = "the other side") -> T:
        deadline = time.monotonic() + PATIENCE_S
        while not (value := condition()):
            assert time.monotonic() < deadline, f"in vain waited for {what}; heard {self.heard[-5:]}"
            await asyncio.sleep(0.005)
        return value

    async def ask(self, *, tokens: int, streaming: bool = True, **changes: Any) -> int:
        """Asks for its peer's first model; the number of the stream."""
        assert self.peer is not None
        await self.until(lambda: self.record.models, "a model")
        offer, number = self.record.models[0], len(self.rids) + 1
        body = json.dumps({"messages": [{"role": "user", "content": "go on"}], "max_tokens": tokens}).encode()
        rid = self.rids[number] = self.identity.sign(bytes([number]))[:16]
        terms: dict[str, Any] = {
            "prompt_tokens": len(body) + TEMPLATE_TOKENS,
            "max_completion": tokens,
            "price_prompt": offer.price_prompt,
            "price_completion": offer.price_completion,
            "offer": self.offer(),
        }
        opening = self.book.open(self.peer, rid, offer.name, **(terms | changes))
        self.book.commit()
        self.send(Ask(number, "chat", offer.name, body, streaming, 60_000, opening))
        return number

    def offer(self) -> bytes:
        """Hash of the peer's record, which has its prices."""
        import hashlib

        return hashlib.sha256(self.signed).digest()

    def vouch(self, number: int, completion: int, prompt: int = 1) -> bytes:
        voucher = self.book.vouch(self.rids[number], prompt_tokens=prompt, completion_tokens=completion)
        self.book.commit()
        self.send(Voucher(number, voucher))
        return voucher

    def settle(self, number: int, completion: int, prompt: int = 1) -> None:
        entry = self.book.settle(
            self.rids[number], prompt_tokens=prompt, completion_tokens=completion, digest=bytes(32)
        )
        self.book.commit()
        self.send(Settle(number, entry))

    def of(self, number: int, *kinds: type[T]) -> list[T]:
        return [m for m in self.heard if isinstance(m, kinds) and getattr(m, "stream", None) == number]

    def lead(self, number: int) -> int:
        return self.of(number, Accepted)[0].lead

    def tokens(self, number: int) -> int:
        return sum(len(m.items) for m in self.of(number, Chunks))

    def ended(self, number: int) -> Ended | Failed | Refused | None:
        return next(iter(self.of(number, Ended, Failed, Refused)), None)

    def terms(self, quoted: Quoted) -> Terms:
        assert self.peer is not None
        return open_quote(quoted.quote, self.net, self.peer, self.identity.node_id, quoted.stream)

    def error(self, number: int) -> OpenGatewayError:
        [refused] = self.of(number, Refused)
        assert self.peer is not None
        return open_refusal(refused.refusal, self.net, self.peer, number)


@contextlib.asynccontextmanager
async def rogue(
    folder: Path, node: Node, name: str = "rogue", *, serves: bool = False, offer: ModelOffer = GOLD
) -> AsyncIterator[Rogue]:
    """A rogue that has a session with `node`."""
    made = Rogue(folder, node, name, serves=serves, offer=offer)
    try:
        await made.wire.start("127.0.0.1", 0)
        made.wire.dial(f"tcp://{node.endpoint}")
        await made.until(lambda: made.peer, "a session")
        yield made
    finally:
        await made.wire.close()
        made.book.close()
