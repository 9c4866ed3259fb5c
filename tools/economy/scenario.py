"""One network from its first day through an attack, and what everybody got."""

from __future__ import annotations

from dataclasses import dataclass, field
from random import Random
from typing import NamedTuple

from opengateway.errors import NotEnoughCredit
from opengateway.ledger.admission import Policy
from opengateway.units import CREDIT
from tools.economy.attacks import ATTACKS, Attack
from tools.economy.market import START_MS, Account, Flight, Market, Work
from tools.economy.people import People, Wish
from tools.economy.transfer import plan, transfer

ROUND_MS = 10 * 60 * 1000
HOUR_MS = 3_600_000
STANDARD = Policy()


class Setting(NamedTuple):
    nodes: int = 1000
    rounds: int = 240
    seed: int = 1
    attack: str = "none"
    classes: int = 1
    """3: A needs B's model, B needs C's, C needs A's. 1: anybody can serve anybody."""
    middles: int = 2
    """Nodes that a transfer may go through; 0 is no transfers."""
    policy: Policy = STANDARD

    @property
    def begins(self) -> int:
        """The round of the attack; before it, people come to know each other."""
        return self.rounds // 4


@dataclass(slots=True)
class Outcome:
    """Amounts in credits; what honest people got is counted from the round of the attack."""

    attack: str
    identities: int = 0
    contributed: float = 0
    """What attackers served to honest nodes."""
    taken: float = 0
    """What honest nodes served to attackers, ever."""
    backed: float = 0
    """Of that, what their contribution and the line it earned them pay for."""
    backed_bound: float = 0
    """1.25 times what they contributed."""
    from_pools: float = 0
    claimed: float = 0
    """Of their claims, what transfers turned into claims on those they asked."""
    pools_bound: float = 0
    """All pools full, and what was forgiven to them by the hour."""
    asked: int = 0
    """Requests of honest people."""
    admitted: int = 0
    unsecured: int = 0
    transfers: int = 0
    moved: float = 0
    volume: float = 0
    """What honest people got."""
    sum_of_pairs: int = 0
    """ucr, over all nodes; anything but 0 is a defect."""
    disagreements: int = 0
    taken_by_round: list[float] = field(default_factory=list)
    wanted_by_round: list[float] = field(default_factory=list)
    """Worth of what honest people asked for, from the first round on."""
    got_by_round: list[float] = field(default_factory=list)

    @property
    def rate(self) -> float:
        """Of honest requests, how many were admitted."""
        return self.admitted / self.asked if self.asked else 1.0

    def worth(self, first: int, last: int) -> float:
        """Of what honest people wanted in these rounds, the share that they got."""
        return sum(self.got_by_round[first:last]) / max(1.0, sum(self.wanted_by_round[first:last]))

    @property
    def at_the_end(self) -> float:
        """The same for the last eighth of the rounds, when what can be taken has been taken."""
        rounds = len(self.wanted_by_round)
        return self.worth(rounds - max(1, rounds // 8), rounds)

    @property
    def holds(self) -> bool:
        return self.backed <= self.backed_bound and self.from_pools <= self.pools_bound

    @property
    def conserved(self) -> bool:
        return not self.sum_of_pairs and not self.disagreements


class Network:
    """`run` it once."""

    def __init__(self, setting: Setting) -> None:
        self.setting = setting
        self.market = Market(setting.policy)
        # Streams of their own: an attack must not change what honest people want.
        streams = (Random(f"{setting.seed} {name}") for name in ("people", "attack", "order"))
        people, attack, self._order = streams
        self.people = People(self.market, setting.nodes, people, classes=setting.classes)
        self.attack: Attack = ATTACKS[setting.attack](self.market, self.people, attack)
        self.honest = {node.id for node in self.people.nodes}
        self.outcome = Outcome(setting.attack)

    def run(self) -> Outcome:
        for number in range(self.setting.rounds):
            self._round(number)
            self.market.now_ms += ROUND_MS
        self._account()
        return self.outcome

    def _round(self, number: int) -> None:
        attacked = number >= self.setting.begins
        wishes = self.people.round()
        if not attacked:
            wishes = [self.attack.lure(wish) for wish in wishes]
        elif number == self.setting.begins:
            self.attack.begin()
        honest = list(wishes)
        if attacked:
            wishes += self.attack.wishes()
        self._order.shuffle(wishes)
        for account in self.market.accounts.values():
            account.room = min(account.capacity, account.room + account.capacity)
        flights = self._serve(wishes)
        got = [flight for flight in flights if flight.requester.id in self.honest]
        self._count(honest, got, attacked=attacked)
        taken = sum(flight.work.amount for flight in flights) - sum(flight.work.amount for flight in got)
        self.outcome.taken_by_round.append(taken / CREDIT)
        for flight in flights:
            self.market.finish(flight, paid=flight.requester.id in self.honest or self.attack.pays())

    def _serve(self, wishes: list[Wish]) -> list[Flight]:
        """Credit goes first, strangers get what is idle, and who was refused tries a transfer. Answers end
        with the round, so all of a round's requests are held side by side."""
        flights: list[Flight] = []
        for way in (self._secured, self._unsecured, self._by_transfer):
            refused = []
            for wish in wishes:
                flight = way(wish)
                if flight is None:
                    refused.append(wish)
                    continue
                flights.append(flight)
                if wish.requester.id not in self.honest:
                    self.attack.served(wish.requester)
            wishes = refused
        return flights

    def _secured(self, wish: Wish) -> Flight | None:
        """Those who owe us first."""
        mine = wish.requester.debts
        for worker in sorted(wish.workers, key=lambda one: mine.pair(one.id).owed_to_peer):
            if worker.room > 0:
                try:
                    if not self.market.verdict(worker, wish.requester.id, wish.work.hold):
                        return self.market.admit(worker, wish.requester, wish.work, 0)
                except NotEnoughCredit:
                    pass
        return self._by_transfer(wish) if wish.claims else None

    def _unsecured(self, wish: Wish) -> Flight | None:
        for worker in wish.workers:
            work = wish.work
            if worker.room <= 0:
                continue
            try:
                u = self.market.verdict(worker, wish.requester.id, work.hold)
            except NotEnoughCredit as refusal:
                cut = _cut(work, work.hold - refusal.missing)
                if wish.requester.id in self.honest or cut is None:
                    continue
                work, u = cut, self.market.verdict(worker, wish.requester.id, cut.hold)
            return self.market.admit(worker, wish.requester, work, u)
        return None

    def _by_transfer(self, wish: Wish) -> Flight | None:
        requester, work = wish.requester, wish.work
        if not requester.debtors or not self.setting.middles:
            return None
        for worker in wish.workers:
            if worker.room <= 0:
                continue
            missing = self._missing(worker, requester, work, trusting=not wish.claims)
            routes = plan(self.market, worker, requester, missing, self.setting.middles) if missing else []
            if not missing or routes:
                for route in routes:
                    transfer(route)
                moved = sum(route.amount for route in routes) / CREDIT
                if requester.id in self.honest:
                    self.outcome.transfers += len(routes)
                    self.outcome.moved += moved
                else:
                    self.outcome.claimed += moved
                u = self.market.verdict(worker, requester.id, work.hold)
                return self.market.admit(worker, requester, work, u)
        return None

    def _missing(self, worker: Account, requester: Account, work: Work, *, trusting: bool) -> int:
        """What a transfer has to bring; not `trusting`, also what would be given on trust."""
        try:
            u = self.market.verdict(worker, requester.id, work.hold)
        except NotEnoughCredit as refusal:
            return refusal.missing
        return 0 if trusting else u

    def _count(self, wishes: list[Wish], got: list[Flight], *, attacked: bool) -> None:
        outcome = self.outcome
        outcome.wanted_by_round.append(sum(wish.work.amount for wish in wishes) / CREDIT)
        outcome.got_by_round.append(sum(flight.work.amount for flight in got) / CREDIT)
        if attacked:
            outcome.asked += len(wishes)
            outcome.admitted += len(got)
            outcome.unsecured += sum(flight.unsecured > 0 for flight in got)
            outcome.volume += outcome.got_by_round[-1]

    def _account(self) -> None:
        """From the accounts of the honest nodes, not from what the simulator counted on the way."""
        outcome, market = self.outcome, self.market
        bad = {account.id for account in self.attack.accounts}
        contributed = taken = exposed = 0
        for node in self.people.nodes:
            for totals in node.debts.all():
                if totals.peer in bad:
                    contributed += totals.consumed
                    taken += totals.served + totals.unpaid
                    exposed += node.debts.standing(totals.peer).exposed
        hours = (market.now_ms - START_MS) / HOUR_MS
        policy = self.setting.policy
        outcome.identities = len(bad)
        outcome.contributed = contributed / CREDIT
        outcome.taken = taken / CREDIT
        outcome.backed = (taken - exposed) / CREDIT
        outcome.backed_bound = (contributed + contributed // policy.line_divisor) / CREDIT
        outcome.from_pools = exposed / CREDIT
        pools = policy.pool + policy.pool_refill_per_hour * hours
        outcome.pools_bound = len(self.people.nodes) * pools / CREDIT
        outcome.sum_of_pairs = market.sum_of_pairs()
        outcome.disagreements = market.disagreements()


def _cut(work: Work, hold: int) -> Work | None:
    """The most that `hold` ucr pay for, behind a prompt of one token; None if that is nothing."""
    tokens = (hold - work.price.prompt) // work.price.completion
    if tokens <= 0:
        return None
    return work._replace(prompt_tokens=1, completion_tokens=tokens, most_completion=tokens)


def run(setting: Setting) -> Outcome:
    return Network(setting).run()
