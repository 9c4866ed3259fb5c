"""Nodes with ledgers that talk by hand: what the ledger's tests share."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path

from opengateway.identity import Identity, network_id
from opengateway.ledger.admission import Policy
from opengateway.ledger.book import STANDARD, Book
from opengateway.ledger.price import Price

NET = network_id("ledger tests")
START_MS = 1_700_000_000_000
PRICE = Price(10, 100)
MODEL = "llama3.2:1b"


class Clock:
    """Milliseconds that pass only when told to."""

    def __init__(self, now_ms: int = START_MS) -> None:
        self.now_ms = now_ms

    def __call__(self) -> int:
        return self.now_ms

    def pass_ms(self, more: int) -> None:
        self.now_ms += more


class Node:
    """One home with its key; `book` is the running ledger in it."""

    def __init__(self, home: Path, name: str, clock: Clock, policy: Policy = STANDARD) -> None:
        self.path = home / name / "ledger.db"
        self.identity = Identity(random.Random(name).randbytes(32))
        self.id = self.identity.node_id
        self.clock = clock
        self.policy = policy
        self._random = random.Random(name + " requests")
        self.book = self._open()

    def _open(self) -> Book:
        return Book(self.path, self.identity, NET, policy=self.policy, now_ms=self.clock)

    def crash(self) -> None:
        """Loses what was not committed and starts again."""
        self.book.close()
        self.book = self._open()

    def rid(self) -> bytes:
        return self._random.randbytes(16)

    def open(
        self, worker: Node, *, prompt: int = 10, most: int = 50, price: Price = PRICE
    ) -> tuple[bytes, bytes]:
        """A committed OPEN for `worker`: rid and bytes."""
        rid = self.rid()
        opening = self.book.open(
            worker.id,
            rid,
            MODEL,
            prompt_tokens=prompt,
            max_completion=most,
            price_prompt=price.prompt,
            price_completion=price.completion,
        )
        self.book.commit()
        return rid, opening

    def admit(self, opening: bytes, requester: Node, price: Price = PRICE) -> int:
        """The unsecured part of an admitted and committed request."""
        found = self.book.admit(
            opening, requester.id, price_prompt=price.prompt, price_completion=price.completion, model=MODEL
        )
        self.book.commit()
        return found.unsecured

    def settle(self, rid: bytes, *, prompt: int = 10, completion: int = 50) -> bytes:
        digest = random.Random(rid).randbytes(32)
        entry = self.book.settle(rid, prompt_tokens=prompt, completion_tokens=completion, digest=digest)
        self.book.commit()
        return entry

    def ask(self, worker: Node, *, prompt: int = 10, completion: int = 50, price: Price = PRICE) -> bytes:
        """One whole request, answered and paid; its rid."""
        rid, opening = self.open(worker, prompt=prompt, most=completion, price=price)
        self.clock.pass_ms(5)
        worker.admit(opening, self, price)
        self.clock.pass_ms(500)
        worker.book.delivered(rid, self.id, prompt, completion)
        self.pay(worker, self.settle(rid, prompt=prompt, completion=completion))
        return rid

    def pay(self, worker: Node, settle: bytes) -> None:
        """The SETTLE arrives, and its EARN comes back."""
        earned = worker.book.earn(settle, self.id)
        worker.book.commit()
        self.book.countersigned(earned, worker.id)
        self.book.commit()

    def export(self) -> bytes:
        out = BytesIO()
        self.book.export(out)
        return out.getvalue()


class World:
    """Nodes made on demand under one folder, with one clock."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.clock = Clock()
        self.nodes: list[Node] = []

    def node(self, name: str, policy: Policy = STANDARD) -> Node:
        made = Node(self.home, name, self.clock, policy)
        self.nodes.append(made)
        return made


@contextmanager
def world(home: Path) -> Iterator[World]:
    """Every ledger is closed at the end, also after a failure."""
    made = World(home)
    try:
        yield made
    finally:
        for node in made.nodes:
            node.book.close()
