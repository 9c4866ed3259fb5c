"""Homes of nodes that are not started yet, with ledgers that already have a history.

with homes(tmp_path, network["network"], "ann", "bob") as (ann, bob):
    ann.serve(bob, 100)
"""

from __future__ import annotations

import contextlib
import secrets
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from harness import Node

from opengateway.identity import Identity, base32, network_id
from opengateway.ledger.admission import Policy
from opengateway.ledger.book import Book
from opengateway.units import CREDIT

LAVISH = Policy(stranger_line=1000 * CREDIT, pool=10_000 * CREDIT)
"""So that ledgers with large debts can be written before the nodes start."""


@dataclass
class Home:
    """A node that is not started yet, and its ledger."""

    folder: Path
    name: str
    network: dict[str, str]

    def __post_init__(self) -> None:
        home = self.folder / self.name / ".opengateway"
        home.mkdir(parents=True)
        self.identity = Identity.load_or_create(home / "identity.key")
        net = network_id(self.network["name"], self.network["secret"])
        self.book = Book(
            home / "ledger.db", self.identity, net, policy=LAVISH, now_ms=lambda: time.time_ns() // 1_000_000
        )

    @property
    def id(self) -> str:
        return base32(self.identity.node_id)

    def serve(self, other: Home, amount: int) -> None:
        """From now on `other` owes this node so many credits more."""
        rid, price = secrets.token_bytes(16), 1_000_000
        opening = other.book.open(
            self.identity.node_id,
            rid,
            "m",
            prompt_tokens=0,
            max_completion=amount,
            price_prompt=0,
            price_completion=price,
        )
        them = other.identity.node_id
        self.book.admit(opening, them, price_prompt=0, price_completion=price)
        self.book.delivered(rid, them, 0, amount)
        settle = other.book.settle(rid, prompt_tokens=0, completion_tokens=amount, digest=bytes(32))
        other.book.countersigned(self.book.earn(settle, them), self.identity.node_id)


@contextlib.contextmanager
def homes(folder: Path, network: dict[str, str], *names: str) -> Iterator[list[Home]]:
    made = [Home(folder, name, network) for name in names]
    yield made
    for home in made:
        home.book.commit()
        home.book.close()


def net_of(node: Node, peer: Home) -> int:
    accounts = node.get("/node/ledger/peers")["peers"]
    return next((account["net"] for account in accounts if account["id"] == peer.id), 0)
