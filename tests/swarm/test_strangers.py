"""Strangers that ask whole nodes for something on trust."""

from __future__ import annotations

from pathlib import Path

from swarm_lab import Member, Swarm, swarm


def test_two_nodes_pay_each_other(tmp_path: Path) -> None:
    with swarm(tmp_path) as here:
        ann, bob = here.member("ann"), here.member("bob")
        here.join()
        asked = ann.ask(bob, 40)
        assert asked.tokens == 40 and asked.error is None
        here.until(lambda: bob.balance()["earned"] == 40_000, "bob has earned")
        here.until(lambda: not ann.book.unanswered(), "ann has the receipt")
        assert ann.balance()["balance"] == -bob.balance()["balance"] == -40_000


def shown(member: Member) -> int:
    return member.switchboard.testimony.showing.counters["shown"]


def market(here: Swarm) -> tuple[Member, list[Member]]:
    """A worker whom three others have served."""
    worker, anchors = here.member("worker"), [here.member(f"anchor {n}") for n in range(3)]
    here.join()
    for anchor in anchors:
        assert not worker.ask(anchor, 20).error
    return worker, anchors


def know_each_other(here: Swarm, worker: Member, anchors: int) -> None:
    """The worker has looked around since they came."""
    standing = worker.book.witnessing.standing
    here.until(lambda: len(standing.anchors(worker.id)) == anchors, "its anchors are here")


def test_a_stranger_shows_its_ledger_where_it_is_wanted_and_is_served(tmp_path: Path) -> None:
    with swarm(tmp_path) as here:
        worker, anchors = market(here)
        stranger = here.member("stranger")
        here.join()
        know_each_other(here, worker, 3)
        for times in (1, 2, 3):
            asked = stranger.ask(worker, 40)
            assert asked.error is None and asked.tokens == 40
            assert shown(stranger) == times
            # The first time it was refused, and asked again by itself; then it knew.
            assert (asked.job.wants_head is not None) == (times == 1)
            here.until(lambda: worker.balance()["earned"] == times * 40_000, "it is paid")  # noqa: B023
        for anchor in anchors:
            tree = anchor.book.witnessing.heads.newest(stranger.id)
            assert tree is not None and tree.size >= 2


def test_whom_credit_covers_shows_nothing_and_waits_for_nobody(tmp_path: Path) -> None:
    with swarm(tmp_path) as here:
        worker, anchors = market(here)
        here.join()
        know_each_other(here, worker, 3)
        asked = anchors[0].ask(worker, 20)
        assert asked.error is None and shown(anchors[0]) == 0
        assert asked.job.wants_head is None


def test_anchors_that_it_has_no_session_with_are_met_meanwhile(tmp_path: Path) -> None:
    with swarm(tmp_path) as here:
        worker, anchors = market(here)
        stranger = here.member("stranger")
        here.join(worker, stranger)
        know_each_other(here, worker, 3)
        asked = stranger.begin(worker, 40)
        here.until(lambda: asked.job.wants_head, "it was refused")
        here.join(stranger, *anchors)  # in a node the Registry does, introduced by the worker
        here.until(lambda: asked.over, "the answer")
        assert asked.error is None and asked.tokens == 40


class Forker:
    """A node of the lab that begins its ledger anew, and does not care what others have seen of it."""

    def __init__(self, here: Swarm) -> None:
        self.here = here
        self.node = here.member("forker")

    def forget(self) -> None:
        self.node.stop()
        for path in self.node.folder.iterdir():
            path.unlink()
        self.node.start()
        recovery = self.node.book.witnessing.recovery
        recovery.hear = lambda _peer, _said: None  # type: ignore[method-assign]
        recovery.shown = lambda _note: None  # type: ignore[method-assign]


def test_a_forker_that_shows_two_workers_two_histories_is_served_by_the_first_only(tmp_path: Path) -> None:
    with swarm(tmp_path) as here:
        worker, anchors = market(here)
        other = here.member("other worker")
        here.join()
        for anchor in anchors[:2]:
            assert not other.ask(anchor, 20).error
        forker = Forker(here)
        here.join()
        know_each_other(here, worker, 3)
        know_each_other(here, other, 2)
        assert forker.node.ask(worker, 40).error is None
        forker.forget()
        here.join()
        asked = forker.node.ask(other, 40)
        assert asked.error is not None and asked.tokens == 0
        assert asked.error.code in ("head_missing", "insufficient_credit", "ledger_refused")


def test_a_head_reaches_who_has_no_session_with_its_author(tmp_path: Path) -> None:
    with swarm(tmp_path) as here:
        ann, bob, cid = here.member("ann"), here.member("bob"), here.member("cid")
        here.join(ann, bob)
        here.join(bob, cid)
        ann.ask(bob, 20)
        here.until(
            lambda: (tree := cid.book.witnessing.heads.newest(ann.id)) is not None and tree.size >= 3,
            "cid has heard of ann's ledger from bob",
        )
        assert ann.id not in cid.peers()


def test_two_histories_of_one_key_convict_it_in_the_whole_network(tmp_path: Path) -> None:
    with swarm(tmp_path) as here:
        ann, bob, cid, dan = (here.member(name) for name in ("ann", "bob", "cid", "dan"))
        forker = Forker(here)
        here.join(ann, bob, cid, dan)
        here.join(forker.node, ann)
        forker.node.ask(ann, 20)
        here.until(lambda: dan.book.witnessing.heads.newest(forker.node.id), "its first head goes round")
        forker.forget()
        here.join(forker.node, ann)
        forker.node.ask(ann, 20)  # and announces a ledger that begins with another GENESIS
        here.until(
            lambda: all(forker.node.id in one.book._journal.faulty for one in (ann, bob, cid, dan)),
            "everybody has a proof",
        )
