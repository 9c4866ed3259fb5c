"""The simulator beside real ledgers with chains, signatures and databases: one history, the same answers."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from random import Random

from ledger_world import Node, World, world

from opengateway.errors import NotEnoughCredit
from opengateway.ledger.admission import Policy
from opengateway.ledger.price import Price
from tools.economy.market import Account, Flight, Market, Work
from tools.economy.transfer import Route, plan, transfer

PRICE = Price(10, 100)
TIGHT = Policy(stranger_line=20_000, pool=40_000, pool_refill_per_hour=3000)
"""ucr: a few requests of this test."""
COUNT = 4


class Twins:
    """Each node twice: as a real ledger, and as an account of the simulator."""

    def __init__(self, place: World) -> None:
        self.clock = place.clock
        self.real = [place.node(f"node{i}", TIGHT) for i in range(COUNT)]
        self.market = Market(TIGHT)
        self.accounts = [self.market.join() for _ in self.real]

    def pass_ms(self, more: int) -> None:
        self.clock.pass_ms(more)
        self.market.now_ms = self.clock.now_ms

    def verdict(self, worker: int, requester: int, hold: int) -> tuple[int, int]:
        """The unsecured part and what is missing, once both agree on them."""
        real = _asked(lambda: self.real[worker].book.quote(self.real[requester].id, hold))
        ours = _asked(lambda: self.market.verdict(self.accounts[worker], self.accounts[requester].id, hold))
        assert real == ours
        return ours

    def serve(self, worker: int, requester: int, work: Work, unsecured: int, *, paid: bool) -> None:
        one, other = self.real[worker], self.real[requester]
        rid, opening = other.open(one, prompt=work.prompt_tokens, most=work.most_completion)
        assert one.admit(opening, other) == unsecured
        one.book.delivered(rid, other.id, work.prompt_tokens, work.completion_tokens)
        if paid:
            other.pay(one, other.settle(rid, prompt=work.prompt_tokens, completion=work.completion_tokens))
        else:
            other.book.void(rid)
            for node in (one, other):
                node.book.commit()
        flight: Flight = self.market.admit(self.accounts[worker], self.accounts[requester], work, unsecured)
        self.market.finish(flight, paid=paid)

    def transfer(self, route: Route) -> None:
        path = [self.real[self.accounts.index(account)] for account in reversed(route.nodes)]
        _transfer(path, route.amount)
        transfer(route)

    def require_agreement(self) -> None:
        for one, account in zip(self.real, self.accounts, strict=True):
            for other, peer in zip(self.real, self.accounts, strict=True):
                real, ours = one.book.peer(other.id), account.debts.totals(peer.id)
                # A real node calls an answer unpaid after 15 minutes; until then it is held.
                assert real.reserved + real.unpaid == ours.unpaid
                assert real[1:6] == ours[1:6]
                assert real.line == ours.line


def _transfer(path: list[Node], amount: int) -> None:
    """R's release, the assignments of those in between, V's entry, and everybody's legs."""
    first, *middle, last = path
    mandate = first.book.transfers.release(first.rid(), amount, [node.id for node in middle], last.id)
    first.book.commit()
    for before, node in zip(path, middle, strict=False):
        mandate = node.book.transfers.assign(mandate.wire, before.id)
        node.book.commit()
    receipt = last.book.transfers.accept(mandate.wire, path[-2].id)
    last.book.commit()
    for node in path[:-1]:
        assert node.book.transfers.confirm(mandate.wire, receipt.entry)
        node.book.commit()


def _asked(verdict: Callable[[], int]) -> tuple[int, int]:
    try:
        return verdict(), 0
    except NotEnoughCredit as refusal:
        return 0, refusal.missing


def test_real_nodes_decide_and_owe_the_same_over_a_random_history(tmp_path: Path) -> None:
    random = Random(7)
    refused, moved = 0, set()
    with world(tmp_path) as place:
        twins = Twins(place)
        for _ in range(120):
            twins.pass_ms(60_000)
            requester = random.randrange(COUNT)
            # Mostly in a circle, so that claims have to travel over two others.
            worker = (requester + random.choices((1, 2, 3), (8, 1, 1))[0]) % COUNT
            work = Work(PRICE, random.randrange(20), random.randrange(1, 80), 80 + random.randrange(60))
            u, missing = twins.verdict(worker, requester, work.hold)
            if missing:
                refused += 1
                ends: tuple[Account, Account] = twins.accounts[worker], twins.accounts[requester]
                for route in plan(twins.market, *ends, missing, middles=2):
                    twins.transfer(route)
                    moved.add(len(route.nodes))
                u, missing = twins.verdict(worker, requester, work.hold)
            if not missing:
                twins.serve(worker, requester, work, u, paid=random.random() < 0.85)
            twins.require_agreement()
    assert refused > 10
    assert moved == {3, 4}, "transfers over one and over two nodes"
