"""What counterparties remember of each other's chains, and one of them that writes down all that it gets."""

from __future__ import annotations

import asyncio
import json
import secrets
import threading
from io import BytesIO
from pathlib import Path
from typing import Any

from harness import Node
from rogue import Rogue

from opengateway.errors import OpenGatewayError
from opengateway.ledger.entry import EARN, SETTLE, read_form
from opengateway.ledger.evidence import genuine, read_signed
from opengateway.ledger.ogwl import Reader, pieces
from opengateway.routing.hold import TEMPLATE_TOKENS
from opengateway.units import NodeId
from opengateway.wire.messages import Ask, Chunks, Earned, Ended, Failed, Message, Refused, Settle


class Memory:
    """Every signed entry that anybody was ever shown, by author and position. What is here must stay."""

    def __init__(self) -> None:
        self.leaves: dict[tuple[bytes, int], bytes] = {}
        self.receipts = 0
        """SETTLEs and EARNs among them."""

    def keep(self, author: bytes, seq: int, leaf: bytes, where: str, kind: int = -1) -> None:
        known = self.leaves.setdefault((author, seq), leaf)
        assert known == leaf, f"a fork: {author.hex()[:8]} signed two entries {seq}, the second is {where}"
        self.receipts += kind in (SETTLE, EARN)

    def so_far(self) -> dict[tuple[bytes, int], bytes]:
        """What was shown before an export is asked for must be in it; what comes meanwhile may be."""
        return dict(self.leaves)

    def read(self, file: Path, shown: dict[tuple[bytes, int], bytes]) -> None:
        """Holds an export against what was `shown` of its author's chain before, and learns from it."""
        own: dict[int, bytes] = {}
        halves = []
        with Reader(file) as reader:
            net, author = reader.header.net, reader.header.author
            for _, record in reader.records():
                parts = pieces(record)
                for part in range(0, len(parts), 2):
                    try:
                        signed = read_signed(parts[part], parts[part + 1], net)
                    except ValueError:
                        continue  # a voucher
                    if part:
                        assert genuine(signed)
                        halves.append(signed)
                        continue
                    entry = signed.entry
                    assert (entry.author, entry.seq) == (author, len(own)), "one entry at each position"
                    own[entry.seq] = signed.leaf
            assert reader.trailer().intact
        lost = sorted(seq for who, seq in shown if who == author and seq not in own)
        assert not lost, f"{file.name} lost what others hold: entries {lost[:5]}, of {len(own)} it has"
        for seq, leaf in own.items():
            self.keep(author, seq, leaf, f"in {file.name}")
        for half in halves:
            self.keep(half.entry.author, half.entry.seq, half.leaf, f"held in {file.name}", half.entry.kind)


class Notary(Rogue):
    """Asks for one answer after the other on its own thread, pays for each, and puts what comes back into
    `memory` in the instant in which it is there: that is what "acknowledged" means."""

    def __init__(self, folder: Path, node: Node, memory: Memory) -> None:
        super().__init__(folder, node, "notary", serves=False)
        self.memory = memory
        self.node = node
        self.receipts = 0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._live()), name="notary")
        self.failure: BaseException | None = None

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        self._thread.join(30)
        assert not self._thread.is_alive()

    def close(self) -> None:
        self.stop()
        self.book.close()

    def export(self, file: Path) -> None:
        """Once it has stopped."""
        out = BytesIO()
        self.book.export(out)
        file.write_bytes(out.getvalue())

    def dial_failed(self, endpoint: str, reason: str) -> None:
        pass  # the node is dead just now

    def message(self, peer: NodeId, message: Message) -> None:
        if isinstance(message, Earned):
            earned = read_form(message.entry, self.net)
            assert genuine(earned)
            self.memory.keep(earned.entry.author, earned.entry.seq, earned.leaf, "on the wire", EARN)
            self.receipts += 1
        super().message(peer, message)

    async def _live(self) -> None:
        await self.wire.start("127.0.0.1", 0)
        try:
            while not self._stop.is_set():
                await self._one_session()
        except BaseException as error:
            self.failure = error
            raise
        finally:
            await self.wire.close()

    async def _one_session(self) -> None:
        self.wire.dial(f"tcp://{self.node.endpoint}")
        for _ in range(40):
            if self.peer is not None or self._stop.is_set():
                break
            await asyncio.sleep(0.025)
        if self.peer is None:
            return
        for hold in self.book.open_holds():  # their answers went down with the node
            self.book.give_up(hold.rid)
        self.book.commit()
        for _, _, settle in self.book.unanswered():
            self.send_if_up(Settle(0, settle))
        while self.peer is not None and not self._stop.is_set():
            await self._one_request()

    def send_if_up(self, message: Message) -> None:
        if self.peer is not None:
            self.wire.send(self.peer, message)

    async def _one_request(self) -> None:
        models = self.record.models
        peer = self.peer
        if not models or peer is None:
            await asyncio.sleep(0.01)
            return
        offer, number = models[0], len(self.rids) + 1
        body = json.dumps({"messages": [{"role": "user", "content": "What is 2+2?"}], "max_tokens": 16})
        rid = self.rids[number] = secrets.token_bytes(16)
        try:
            opening = self.book.open(
                peer,
                rid,
                offer.name,
                prompt_tokens=len(body) + TEMPLATE_TOKENS,
                max_completion=16,
                price_prompt=offer.price_prompt,
                price_completion=offer.price_completion,
                offer=self.offer(),
            )
            self.book.commit()
        except OpenGatewayError:
            return
        self.heard.clear()
        self.send_if_up(Ask(number, "chat", offer.name, body.encode(), True, 30_000, opening))
        end: Any = await self._wait(lambda: self.ended(number))
        if not isinstance(end, Ended | Failed):
            self.book.give_up(rid)
            self.book.commit()
            if isinstance(end, Refused):
                await asyncio.sleep(0.01)
            return
        tokens = sum(len(m.items) for m in self.of(number, Chunks))
        prompt, completion = (
            (end.prompt_tokens, end.completion_tokens) if isinstance(end, Ended) else (1, tokens)
        )
        entry = self.book.settle(
            rid, prompt_tokens=prompt, completion_tokens=min(16, completion), digest=secrets.token_bytes(32)
        )
        self.book.commit()
        self.send_if_up(Settle(number, entry))
        await self._wait(lambda: self.of(number, Earned))

    async def _wait(self, condition: Any) -> Any:
        """Until it is true, or the node is gone; 5 s at most."""
        for _ in range(1000):
            if (value := condition()) or self.peer is None or self._stop.is_set():
                return value
            await asyncio.sleep(0.005)
        return None
