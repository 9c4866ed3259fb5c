"""A ring of fake identities against whole nodes: it takes what it gave, a quarter more, and the pools."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pytest
from swarm_lab import PATIENCE_S, Asked, Member, Swarm, swarm

from actors.messages import Earn, OpenHold, Received, SettleHolds
from opengateway.ledger.book import STANDARD
from opengateway.units import CREDIT

PRICE = CREDIT
"""ucr per token: a credit each, so that the pools are emptied with few tokens."""


class Ring:
    """A leader that really served, and fakes that sign for each other whatever they like. All of them vouch
    while an answer comes, or it would break off, and settle nothing."""

    def __init__(self, here: Swarm, honest: list[Member], fakes: int) -> None:
        self.here, self.honest = here, honest
        self.leader = here.member("leader", price=PRICE, settles=False)
        self.fakes = [here.member(f"fake {n}", price=PRICE, settles=False) for n in range(fakes)]
        here.join(self.leader, *honest)
        for fake in self.fakes:  # the leader cosigns whatever they show: it is an anchor of whom it served
            here.join(fake, self.leader, *honest)

    def serve(self, gave: int) -> None:
        """The leader contributes so much, to all in equal parts."""
        for member in self.honest:
            assert member.ask(self.leader, gave // len(self.honest)).error is None
        self.here.until(lambda: self.leader.balance()["earned"] == gave * CREDIT, "the leader is paid")

    def pretend(self) -> None:
        """Receipts among themselves, a thousand times what anybody gave."""
        chain = (self.leader, *self.fakes[:4])
        for one, other in pairwise(chain):
            hold = OpenHold(other.id, bytes(16), "m", 0, 100_000, 0, CREDIT)
            one.ledger.ask(hold).get(timeout=PATIENCE_S)
            received = Received(bytes(16), 0, 100_000, bytes(32))
            [settle] = one.ledger.ask(SettleHolds((received,))).get(timeout=PATIENCE_S)
            assert isinstance(settle, bytes)
            [earned] = other.ledger.ask(Earn(one.id, (settle,))).get(timeout=PATIENCE_S)
            assert isinstance(earned, bytes)

    def attack(self) -> list[Asked]:
        """Everybody asks every honest node, for as much as a stranger may have and for less, again and
        again, until all of them are refused."""
        asked: list[Asked] = []
        for member in self.honest:
            asked += [self.leader.ask(member, tokens) for tokens in (50, 25, 25, 12, 6, 3, 1, 1)]
            for tokens in (50, 31, 7, 1):
                at_once = [fake.begin(member, tokens) for fake in self.fakes]
                self.here.until(lambda: all(one.over for one in at_once), "they are answered", 120)  # noqa: B023
                asked += at_once
        return asked


def ring_against(folder: Path, *, honest: int, fakes: int, gave: int) -> None:
    with swarm(folder) as here:
        nodes = [here.member(f"honest {n}", price=PRICE) for n in range(honest)]
        ring = Ring(here, nodes, fakes)
        ring.serve(gave)
        ring.pretend()
        asked = ring.attack()
        taken = sum(one.tokens for one in asked) * PRICE
        pools = honest * STANDARD.pool
        assert taken <= 1.25 * gave * CREDIT + pools
        assert taken >= gave * CREDIT, "it takes back at least what it gave, or the attack was none"
        assert any(one.error is not None and one.error.code == "insufficient_credit" for one in asked)
        print(f"gave {gave}, took {taken // CREDIT}, pools {pools // CREDIT} credits")


@pytest.mark.timeout(150)
def test_a_small_ring_takes_no_more_than_it_gave_a_quarter_and_the_pools(tmp_path: Path) -> None:
    ring_against(tmp_path, honest=2, fakes=6, gave=20)


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_fifty_fakes_that_gave_a_hundred_credits_take_no_more(tmp_path: Path) -> None:
    ring_against(tmp_path, honest=4, fakes=50, gave=100)
