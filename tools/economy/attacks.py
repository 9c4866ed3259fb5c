"""Those who want answers for nothing. Each asks honest nodes for as much as all honest people together do,
cuts its requests down to what is left, and pays nothing that it is not forced to.
"""

from __future__ import annotations

from random import Random

from opengateway.units import CREDIT
from tools.economy.market import Account, Market, Work
from tools.economy.people import People, Wish, some_work

LARGER = 4
"""An attacker's requests are 4 times as long as other people's, and a quarter as many: as much in all, with
fewer keys to make."""
AIMED = 0.3
"""Share of requests that go to nodes that owe the attackers something."""
SETTLED = 0.5
"""Share of answers that are signed for, since a debt that nobody will ever pay costs nothing to admit."""


class Attack:
    """Nobody attacks. `market` and `people` are all there is; `random` is the attackers' own."""

    keys = 0

    def __init__(self, market: Market, people: People, random: Random) -> None:
        self.market = market
        self.people = people
        self.random = random
        self.accounts = [market.join() for _ in range(self.keys)]

    def lure(self, wish: Wish) -> Wish:
        """Before the attack: attackers among those who could be asked."""
        return wish

    def begin(self) -> None:
        """What happens in the round of the attack, before anybody asks."""

    def wishes(self) -> list[Wish]:
        """One round's."""
        return [self.wish() for _ in range(len(self.people.nodes) // LARGER)] if self.accounts else []

    def wish(self) -> Wish:
        victims = self.random.choices(self.people.nodes, k=8)
        return Wish(self.random.choice(self.accounts), self.work(), tuple(dict.fromkeys(victims)))

    def work(self) -> Work:
        work = some_work(self.random)
        tokens = work.completion_tokens * LARGER
        return work._replace(completion_tokens=tokens, most_completion=tokens)

    def served(self, requester: Account) -> None:
        """A request of ours was admitted."""

    def pays(self) -> bool:
        return self.random.random() < SETTLED


class FreeRiders(Attack):
    """50 nodes that ask and never serve."""

    keys = 50


class Whitewash(Attack):
    """A new key for every answer. A key that got nothing is as good as new and is used again."""

    def __init__(self, market: Market, people: People, random: Random) -> None:
        super().__init__(market, people, random)
        self._fresh: list[Account] = []

    def wishes(self) -> list[Wish]:
        count = len(self.people.nodes) // LARGER
        while len(self._fresh) < count:
            self._fresh.append(self.market.join())
        return [self.wish()._replace(requester=key) for key in self._fresh]

    def wish(self) -> Wish:
        victims = self.random.choices(self.people.nodes, k=8)
        return Wish(self._fresh[0], self.work(), tuple(dict.fromkeys(victims)))

    def served(self, requester: Account) -> None:
        self._fresh.remove(requester)
        self.accounts.append(requester)


class Ring(Attack):
    """A leader that served 100 credits to ten honest people, and 50 identities that it signs millions of
    debts to, as they do to each other. Each tries to turn its claims on the ring into claims on others; the
    leader asks for itself, too."""

    keys = 51
    contribution = 100 * CREDIT
    minted = 1_000_000 * CREDIT

    def begin(self) -> None:
        leader, *fakes = self.accounts
        self._debtors = self.random.sample(self.people.nodes, 10)
        for debtor in self._debtors:
            self.market.receipt(leader, debtor, self.contribution // 10)
        for place, fake in enumerate(fakes):
            self.market.receipt(fake, leader, self.minted)
            self.market.receipt(fakes[place - 1], fake, self.minted // 2)

    def wish(self) -> Wish:
        wish = super().wish()
        if self.random.random() < AIMED:
            victims = (self.random.choice(self._debtors),)
            if self.random.random() < AIMED:
                return wish._replace(requester=self.accounts[0], workers=victims)
            return wish._replace(workers=victims, work=some_work(self.random), claims=True)
        return wish


class LongCon(Attack):
    """20 good workers that stop serving one day, spend what they earned, and then all that they are trusted
    with."""

    keys = 20
    lured = 0.1
    """Share of requests before that day for which one of them offers itself first."""

    def __init__(self, market: Market, people: People, random: Random) -> None:
        super().__init__(market, people, random)
        for account in self.accounts:
            account.capacity = sum(node.capacity for node in people.nodes) // len(people.nodes) * 10

    def lure(self, wish: Wish) -> Wish:
        if self.random.random() >= self.lured:
            return wish
        return wish._replace(workers=(self.random.choice(self.accounts), *wish.workers))

    def wish(self) -> Wish:
        wish = super().wish()
        owing = list(wish.requester.debtors)
        if owing and self.random.random() < AIMED:
            return wish._replace(workers=(self.market.accounts[self.random.choice(owing)],))
        return wish


ATTACKS: dict[str, type[Attack]] = {
    "none": Attack,
    "free-riders": FreeRiders,
    "whitewash": Whitewash,
    "ring": Ring,
    "long-con": LongCon,
}
