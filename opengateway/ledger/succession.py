"""The book's part in a change of keys: pairs follow the successor, to the last ucr (LEDGER.md).

    the successor     CARRY for every pair, what the old chain says; then, as others answer, CARRY for more
    everybody else    what was held there ends, FOLLOW: the pair moves to the new key; then CARRY for more

A CARRY for more takes up what the other side's entry admits to owe, and what the old key signed itself: after
it both sides say the same. It settles whatever was on its way when the key changed; nothing by the old key is
settled singly afterwards.
"""

from __future__ import annotations

import logging

from opengateway.errors import LedgerRefused
from opengateway.identity import short
from opengateway.ledger.agreement import Agreement
from opengateway.ledger.chain import Draft
from opengateway.ledger.entry import FOLLOW, Signed, Terms
from opengateway.ledger.journal import Journal
from opengateway.ledger.requester import Requester
from opengateway.ledger.rotation import Rotation, RotationInvalid, read_rotation
from opengateway.ledger.rules import Pair, pair_in
from opengateway.ledger.stamps import STAMP
from opengateway.ledger.store import Store
from opengateway.ledger.successors import LINE_BASE, ROTATION, VOID_FROM
from opengateway.ledger.worker import Worker
from opengateway.units import NodeId

logger = logging.getLogger(__name__)

STRANGERS = 4096
"""Papers kept, 4 MB, before those of keys that nobody here has met are refused."""


class Succession:
    def __init__(self, journal: Journal, requester: Requester, worker: Worker, own: set[NodeId]) -> None:
        """`own`: other nodes of the same owner; who comes after one of them is one."""
        self._own = own
        self._journal = journal
        self._requester = requester
        self.agreement = Agreement(journal, worker)

    # The two ends of a chain (key_change.py).

    @property
    def store(self) -> Store:
        return self._journal.vault.store

    def ends(self) -> tuple[Signed, Signed]:
        """The GENESIS and the last committed entry."""
        first, last = next(self.store.rows()), next(self.store.rows(backwards=True))
        return self._journal.stored(first), self._journal.stored(last)

    def end_with(self, rotation: Rotation) -> None:
        """The ROTATE is the last entry of this chain."""
        self._journal.vault.require_writable()
        beside = rotation.rotate._replace(body=rotation.recovery, signature=rotation.signature)
        self._journal.vault.append(rotation.rotate, beside)

    def succeed(self, rotation: Rotation) -> None:
        """This chain comes after another."""
        self.store.put_document(ROTATION, rotation.old, rotation.wire)
        self._journal.successors.add(rotation)

    def void_from(self, rotation: Rotation) -> None:
        """Our ledger is whole up to the ROTATE: what the old key signed behind it, a thief did."""
        place = rotation.rotate.entry.seq.to_bytes(8, "big")
        self.store.put_document(VOID_FROM, rotation.old, place)

    # Papers.

    @property
    def own(self) -> list[bytes]:
        """The papers by which this key came after others, the oldest first: who missed one change of keys
        could not follow the next."""
        rotations, key = self._journal.successors.rotations, self._journal.vault.chain.author
        found: list[bytes] = []
        while before := next((one for one in rotations.values() if one.new == key), None):
            found.insert(0, before.wire)
            key = before.old
        return found

    def papers_for(self, peer: NodeId) -> list[bytes]:
        """What this peer must know first: how this key came about, and that its own was given up."""
        known = self._journal.successors.rotations.get(peer)
        return [*self.own, *([known.wire] if known is not None else [])]

    def account_key(self, key: NodeId) -> NodeId:
        """The key under which the account with this one is kept now."""
        return self._journal.successors.account(key)

    def given_up(self) -> dict[NodeId, NodeId]:
        """Every key that was given up, and the one that came after it."""
        return {old: one.new for old, one in self._journal.successors.rotations.items()}

    @property
    def blamed(self) -> list[bytes]:
        """Proofs against keys before this one that hold against it."""
        journal = self._journal
        me = journal.vault.chain.author
        return [
            proof
            for key, _, proof in journal.vault.store.all_proofs()
            if key != me and me in journal.successors.convicted(key, proof)
        ]

    @property
    def heals(self) -> bool:
        """What is missing from the ledger is a piece of its end, which peers may have."""
        return self._journal.vault.lost

    @property
    def accused(self) -> bool:
        """Others hold something against this key, or against one before it: see `ledger repair`."""
        return bool(self._journal.accused.first) or self._journal.vault.chain.author in self._journal.faulty

    def facts(self, peer: NodeId) -> dict[str, object]:
        """For people: whether the account stands still since a change of keys, and what is disputed (ucr)."""
        return {
            "moving": peer in self._journal.moving,
            "disputed": dispute.amount if (dispute := self.agreement.disputed.get(peer)) else 0,
        }

    def hear(self, papers: bytes) -> Rotation | None:
        """A change of keys that a peer tells of; None if it was known. Raises `LedgerRefused` (`rotation`,
        `own`, `conflict`, `full`), `LedgerReadOnly`."""
        journal = self._journal
        try:
            found = read_rotation(papers, journal.net)
        except RotationInvalid as error:
            raise LedgerRefused(f"this proves no change of keys: {error}", reason="rotation") from error
        me = journal.vault.chain.author
        if found.old == me:
            self._given_up(found)
        known = journal.successors.rotations.get(found.old)
        circle = journal.successors.account(found.new) == found.old
        if circle or (known is not None and known.new != found.new):
            raise LedgerRefused(
                f"{short(found.old)} gave up its key twice; the first time counts", reason="conflict"
            )
        if known is not None and not found.excuses_more(known):
            return None
        if found.new == me and known is None:
            return None
        journal.vault.require_writable()
        met = found.old in journal.debts or journal.vault.store.head(found.old) is not None
        if len(journal.successors.rotations) >= STRANGERS and not met:
            raise LedgerRefused(
                f"{short(found.old)} is not known here, like {STRANGERS} others", reason="full"
            )
        self._keep(found, papers)
        if known is None:
            self._move(found)
        elif found.accident:
            self._without_line(found, journal.debts.pair(found.new))
        return found

    def _given_up(self, found: Rotation) -> None:
        """Of our own key. Nothing is signed with it any more, over restarts too."""
        if not self._journal.vault.damage:
            self._journal.vault.doubt(
                f"the key of this node was given up: {short(found.new)} comes after it", lost=False
            )
        raise LedgerRefused(
            f"{short(found.new)} says to be the successor of this node, with its recovery key",
            reason="own",
            hint="if that is not your doing, somebody has your recovery key",
        )

    def _keep(self, found: Rotation, papers: bytes) -> None:
        journal, store = self._journal, self._journal.vault.store
        store.put_document(ROTATION, found.old, papers)
        journal.successors.add(found)
        journal.judge()
        if found.old in self._own:
            self._own.add(found.new)
        stamp = store.document(STAMP, found.old)
        if stamp and not store.document(STAMP, found.new):
            store.put_document(STAMP, found.new, stamp)

    # The account.

    def _move(self, found: Rotation) -> None:
        """Our account with the old key becomes the one with the new."""
        journal = self._journal
        for opened in self._requester.open_holds():
            if opened.peer == found.old:
                self._requester.void(opened.rid)
        pair, unpaid = journal.debts.pair(found.old), journal.debts.unpaid(found.old)
        new = found.new
        if any(pair):
            terms = Terms("", pair.moved_in, pair.moved_out, 0, 0, pair.served, pair.consumed)
            leaf = found.rotate.leaf
            moved = journal.vault.append(journal.next(Draft(FOLLOW, new, leaf[:16], leaf, terms, bytes(32))))
            journal.debts.change(new, pair=pair_in(moved.entry))
            journal.moving.add(new)
        journal.ahead.close(found.old)
        if found.old in journal.debts:
            journal.debts.move(found.old, new)
            journal.vault.store.put_pair(found.old, Pair(), 0)
            journal.vault.store.put_pair(new, journal.debts.pair(new), unpaid)
        journal.moving.discard(found.old)
        if found.accident:
            self._without_line(found, pair)
        if (after := journal.successors.rotations.get(new)) is not None:
            self._move(after)  # its change was told of before this one

    def _without_line(self, found: Rotation, pair: Pair) -> None:
        """Service from before the accident says nothing of what comes after it."""
        if pair.consumed:
            base = pair.consumed.to_bytes(8, "big")
            self._journal.vault.store.put_document(LINE_BASE, found.new, base)
            self._journal.debts.without_line(found.new, pair.consumed)

    def carry(self, rotation: Rotation, peer: NodeId, pair: Pair) -> None:
        """As the successor, at the beginning of the chain: the pair as the old one had it."""
        terms = Terms("", pair.moved_in, pair.moved_out, 0, 0, pair.served, pair.consumed)
        self.agreement.append(peer, rotation.rotate.leaf, terms)

    def left_unpaid(self, peer: NodeId, amount: int) -> None:
        """As the successor: what the old key delivered to this peer and was not paid for."""
        debts = self._journal.debts
        debts.change(peer, unpaid=amount)
        self._journal.vault.store.put_pair(peer, debts.pair(peer), debts.unpaid(peer))
