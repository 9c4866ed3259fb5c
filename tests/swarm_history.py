"""A random history of four whole nodes in bad weather (swarm_lab.py), and how it ends."""

from __future__ import annotations

import random
import time
from collections.abc import Callable

from swarm_lab import Asked, Swarm

NAMES = ("ann", "bob", "cid", "dan")
PRICE = 100


class History:
    def __init__(self, here: Swarm, seed: int) -> None:
        self.here = here
        self.chance = random.Random(seed)
        self.members = [here.member(name, price=PRICE) for name in NAMES]
        self.asked: list[Asked] = []
        self.own: list[Asked] = []
        self.alone = 0
        """Requests that came singly."""
        here.join()

    def step(self) -> None:
        kinds = self.kinds()
        [what] = self.chance.choices([kind for kind, _ in kinds], [weight for _, weight in kinds])
        what()

    def kinds(self) -> list[tuple[Callable[[], None], int]]:
        """What may happen, and how often."""
        return [
            (self.ask, 12), (self.burst, 2), (self.ask_itself, 1), (self.crash, 2), (self.cut, 1),
            (self.weather, 2), (self.restart, 1), (self.wait, 3),
        ]  # fmt: skip

    def ask(self) -> None:
        one, other = self.chance.sample(self.members, 2)
        self.asked.append(one.begin(other, self.chance.choice([1, 7, 40, 300])))
        self.alone += 1

    def burst(self) -> None:
        """So many that they go on a tab."""
        one, other = self.chance.sample(self.members, 2)
        for _ in range(4):
            self.asked += [one.begin(other, self.chance.choice([1, 2, 7])) for _ in range(10)]
            time.sleep(0.01)  # a moment of the history itself

    def ask_itself(self) -> None:
        member = self.chance.choice(self.members)
        self.own.append(member.begin(member, 40))

    def crash(self) -> None:
        """What was not committed is gone."""
        self.chance.choice(self.members).crash()

    def cut(self) -> None:
        self.here.cut()

    def weather(self) -> None:
        """Frames of one direction come late, and all of them perhaps twice. What is lost is lost with its
        session, as with TCP: what was on its way in `cut`, `crash` and `restart`."""
        one, other = self.chance.sample(self.members, 2)
        self.here.internet.path(one.address, other.address).jitter_s = self.chance.choice([0.0, 0.02, 0.1])
        self.here.internet.doubled = self.chance.choice([0.0, 0.1])

    def restart(self) -> None:
        member = self.chance.choice(self.members)
        member.stop()
        member.start()

    def wait(self) -> None:
        time.sleep(0.05)  # a moment of the history itself, which nothing waits for

    def clear_up(self) -> None:
        for path in self.here.internet.paths.values():
            path.jitter_s = 0.0
        self.here.internet.doubled = 0.0

    def end(self) -> None:
        """Good weather, and every session begins anew until nothing is on its way any more."""
        self.clear_up()
        deadline = time.monotonic() + 90
        while not self.soon_over():
            assert time.monotonic() < deadline, self.why_not_over()
            self.here.cut()
            self.here.join()

    def soon_over(self) -> bool:
        """A frame that was lost is missed for good: only a new session brings what it carried."""
        until = time.monotonic() + 1.0
        while time.monotonic() < until and not self.over():
            time.sleep(0.02)
        return self.over()

    def over(self) -> bool:
        return all(one.over for one in (*self.asked, *self.own)) and self.agreed()

    def agreed(self) -> bool:
        return not self.differences() and not any(member.book.unanswered() for member in self.members)

    def why_not_over(self) -> dict[str, object]:
        asked = [
            f"{one.by} asked {one.job.request.model}" for one in (*self.asked, *self.own) if not one.over
        ]
        unanswered = {one.name: len(one.book.unanswered()) for one in self.members}
        return {"asked": asked, "differ": self.differences(), "unanswered": unanswered}

    def differences(self) -> list[str]:
        return [
            f"{one.name} and {two.name}"
            for one in self.members
            for two in self.members
            if one.book.peer(two.id).consumed != two.book.peer(one.id).served
            or one.book.peer(two.id).owes_us != -two.book.peer(one.id).owes_us
        ]
