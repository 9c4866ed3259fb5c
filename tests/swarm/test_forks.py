"""Random histories in which one node is put back again and again from an old copy of its whole disk, mark and
all, while some of the others are out of its reach: the one way in which an honest owner forks a ledger.

It must end whole again, read-only or convicted, and none of the others may lose anything by it.
"""

from __future__ import annotations

import os
import random
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from swarm_history import PRICE, History
from swarm_lab import Member, Swarm, swarm

from opengateway.ledger.audit import verify


class Forked(History):
    """`forker` is restored; the others are honest and unlucky at most."""

    def __init__(self, here: Swarm, seed: int, image: Path) -> None:
        super().__init__(here, seed)
        *self.honest, self.forker = self.members
        self.image = image
        self.restored = 0
        self.owed = dict.fromkeys((member.id for member in self.honest), 0)
        """What the forker had paid each of the others (ucr) when it was last restored."""

    def kinds(self) -> list[tuple[Callable[[], None], int]]:
        more = [(self.keep_image, 1), (self.put_image_back, 2), (self.heal, 1), (self.ask_or_serve, 6)]
        return [*super().kinds(), *more]

    def ask_or_serve(self) -> None:
        other = self.chance.choice(self.honest)
        asks, serves = self.chance.sample([self.forker, other], 2)
        self.asked.append(asks.begin(serves, self.chance.choice([7, 40])))

    def keep_image(self) -> None:
        if not self.forker.book.damage:
            self.forker.stop()
            shutil.rmtree(self.image, ignore_errors=True)
            shutil.copytree(self.forker.folder, self.image)
            self.forker.start()

    def put_image_back(self) -> None:
        """It asks at once whom it reaches, and they ask it."""
        if not self.image.exists():
            return self.keep_image()
        for member in self.honest:
            self.owed[member.id] = member.book.peer(self.forker.id).served
        self.heal()
        self.forker.stop()
        away = self.chance.sample(self.honest, self.chance.randrange(3))
        for member in away:
            self.here.internet.part(self.forker.address, member.address)
        shutil.rmtree(self.forker.folder)
        shutil.copytree(self.image, self.forker.folder)
        self.forker.start()
        self.restored += 1
        near = [member for member in self.honest if member not in away]
        self.here.join(self.forker, *near)
        for member in near:
            self.asked += [self.forker.begin(member, 7), member.begin(self.forker, 7)]
        return None

    def heal(self) -> None:
        for member in self.honest:
            self.here.internet.part(self.forker.address, member.address, parted=False)

    def clear_up(self) -> None:
        self.heal()
        super().clear_up()

    # How it ends.

    def agreed(self) -> bool:
        left = [
            who
            for member in self.honest
            for who, _, _ in member.book.unanswered()
            if who != self.forker.id or not self.tainted()
        ]
        return not left and not self.differences() and (self.tainted() or self.whole())

    def differences(self) -> list[str]:
        name = self.forker.name
        return [pair for pair in super().differences() if not self.tainted() or name not in pair.split()]

    def why_not_over(self) -> dict[str, object]:
        lacks = lost(self.forker, self.honest)
        return {**super().why_not_over(), "forker lacks": lacks, "damage": self.forker.book.damage}

    def convicted(self) -> bool:
        return any(key == self.forker.id for member in self.honest for key, _, _ in member.book.faults())

    def tainted(self) -> bool:
        return bool(self.forker.book.damage) or self.convicted()

    def whole(self) -> bool:
        """Everything that it ever showed to anybody is in its ledger, in its place."""
        return not lost(self.forker, self.honest)


def lost(author: Member, others: list[Member]) -> list[int]:
    """Places of entries that others were shown and that are not in the author's ledger."""
    kept = [row.leaf for row in author.book._journal.vault.store.rows()]
    shown = [signed for other in others for peer, signed in other.shown if peer == author.id]
    return [one.entry.seq for one in shown if kept[one.entry.seq : one.entry.seq + 1] != [one.leaf]]


def check(history: Forked, folder: Path) -> None:
    forker, honest = history.forker, history.honest
    assert history.restored
    assert history.tainted() or history.whole()
    # A transfer may have begun since the end.
    history.here.until(lambda: not history.differences(), "between honest nodes all adds up to the last ucr")
    for one in honest:
        # Nobody honest stands still, lost an entry, or is accused by anybody.
        assert not one.book.damage
        assert {key for key, _, _ in one.book.faults()} <= {forker.id}
        assert lost(one, history.members) == []
        # What the forker paid stays paid, and it is owed nothing but for what was asked of it.
        assert one.book.peer(forker.id).served >= history.owed[one.id]
        asked = [job.job.request for job in history.asked if job.job.request.model == forker.name]
        most = sum(int(request.body["max_tokens"]) for request in asked)
        assert one.book.peer(forker.id).consumed <= PRICE * most
        path = folder / f"{one.name}.ogwl"
        path.write_bytes(one.export())
        report = verify(path)
        assert report.exit <= 1, (one.name, report.findings)


def run(folder: Path, seed: int, steps: int) -> str:
    """How it ended."""
    print(f"OPENGATEWAY_SEED={seed}")
    with swarm(folder, seed) as here:
        history = Forked(here, seed, folder / "image")
        history.keep_image()
        here.join()
        for _ in range(steps):
            history.step()
        history.put_image_back()
        history.end()
        check(history, folder)
        how = "convicted" if history.convicted() else "read-only" if history.forker.book.damage else "whole"
        print(f"restored {history.restored} times: {how}")
        return how


def seed_of_this_run() -> int:
    return int(os.environ.get("OPENGATEWAY_SEED", "0")) or random.randrange(1, 1 << 30)


@pytest.mark.timeout(200)
def test_a_node_restored_from_an_old_copy_costs_the_others_nothing(tmp_path: Path) -> None:
    run(tmp_path, int(os.environ.get("OPENGATEWAY_SEED", "7")), 15)


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("number", range(20))
def test_nor_in_long_histories_of_restores(tmp_path: Path, number: int) -> None:
    run(tmp_path, seed_of_this_run() + number, 100)
