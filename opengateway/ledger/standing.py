"""What a stranger must show of its ledger before it is served on trust (LEDGER.md, "A stranger's ledger").

What it takes elsewhere is what bounds it, and only its own ledger tells. So that it cannot show each of us
another one, the tree that it shows must have the very OPEN in it that asks, and be cosigned by our anchors:
those of the nodes that are here who served us most. They cosign one history only.
"""

from __future__ import annotations

from collections.abc import Collection
from itertools import pairwise

from opengateway.errors import HeadMissing, LedgerRefused, NotEnoughCredit
from opengateway.identity import short
from opengateway.ledger.audit_notes import Note
from opengateway.ledger.entry import Signed
from opengateway.ledger.heads import Heads, read_tree
from opengateway.ledger.journal import Journal
from opengateway.ledger.opened import drawn, read_opened
from opengateway.ledger.turns import Turns
from opengateway.units import NodeId, show_credits
from opengateway.wire.witness_messages import Present

ANCHORS = 5
"""Two quorums of 4 in 5 share 3: all of these must be false for a ledger to be shown in two versions."""
FRESH_MS = 600_000
DAY_MS = 86_400_000
WAITING = 1024
CHECKS_PER_S, CHECKS_AT_ONCE = 10.0, 20.0
"""3 ms each: three hundredths of a core."""


def quorum(anchors: int) -> int:
    """How many of so many must have cosigned: all but one."""
    return max(1, anchors - 1)


class Standing:
    def __init__(self, journal: Journal, heads: Heads) -> None:
        self._journal = journal
        self._heads = heads
        self._shown: dict[NodeId, Present] = {}
        self._turns = Turns(CHECKS_PER_S, CHECKS_AT_ONCE, journal.now_ms())
        self.connected: Collection[NodeId] = ()
        """Who is here."""

    def anchors(self, requester: NodeId) -> list[NodeId]:
        """Whose word on a stranger's ledger we take: by service that they really gave us, so nobody can make
        itself one of them for nothing. Not the requester, and nobody who is convicted."""
        debts, faulty = self._journal.debts, self._journal.faulty
        served = {peer: debts.pair(peer).consumed for peer in self.connected if peer not in faulty}
        served.pop(requester, None)
        return sorted((peer for peer in served if served[peer]), key=lambda peer: (-served[peer], peer))[
            :ANCHORS
        ]

    def present(self, peer: NodeId, shown: Present) -> None:
        """It is looked at when it is needed."""
        self._shown.pop(peer, None)
        self._shown[peer] = shown
        while len(self._shown) > WAITING:
            del self._shown[next(iter(self._shown))]

    def require(self, requester: NodeId, opening: Signed) -> None:
        """A check for strangers (`Book.check_strangers`). Raises `HeadMissing`, `LedgerRefused`,
        `NotEnoughCredit`."""
        anchors = self.anchors(requester)
        if not anchors:
            return
        shown = self._shown.pop(requester, None)
        if shown is None:
            raise self._missing(requester, anchors, "this node's ledger, with this request in it")
        if not self._turns.take(self._journal.now_ms()):
            raise LedgerRefused(
                "too many strangers show their ledgers at once",
                reason="busy",
                hint="ask again",
                retry_after=1.0,
            )
        try:
            note = read_tree(shown.note, self._journal.net)
            if note.author != requester:
                raise ValueError("of another node")
            if not self._cosigned(note, anchors):
                raise self._missing(
                    requester, anchors, f"cosignatures by {quorum(len(anchors))} of its anchors"
                )
            entries = read_opened(shown.openings, note, self._journal.net)
            last = self._require_opened(note, entries, opening, requester, anchors)
        except ValueError as error:
            raise LedgerRefused(
                f"what it shows of its ledger is not in order: {error}", reason="head"
            ) from error
        self._require_one_history(entries)
        self._heads.see(note)
        self._require_modest(entries, last)

    def _missing(self, requester: NodeId, anchors: list[NodeId], what: str) -> HeadMissing:
        known = self._journal.vault.store.head(requester)
        missing = HeadMissing(
            f"{short(self._journal.vault.chain.author)} serves a stranger on trust only if it sees {what}",
            hint="the asking node shows it by itself and asks again; else ask a node that owes you",
            retry_after=1.0,
        )
        missing.anchors, missing.known = b"".join(anchors), known.entry.seq + 1 if known else 0
        return missing

    def _cosigned(self, note: Note, anchors: list[NodeId]) -> bool:
        """By enough of them, lately, and by nobody else: keys of its own could make any draw come true."""
        now = self._journal.now_ms()
        fresh = {key for key, seconds, _ in note.cosigned if abs(now - 1000 * seconds) <= FRESH_MS}
        if note.bad or not fresh <= {*anchors}:
            return False
        return len(fresh) == len(note.cosigned) >= quorum(len(anchors))

    def _require_opened(
        self,
        note: Note,
        entries: dict[int, Signed],
        opening: Signed,
        requester: NodeId,
        anchors: list[NodeId],
    ) -> Signed:
        """The last entry. Raises `ValueError`, `HeadMissing`."""
        ours = entries.get(opening.entry.seq)
        if ours is None or ours.leaf != opening.leaf:
            raise self._missing(requester, anchors, "this node's ledger, with this request in it")
        if not (drawn(note) | {note.size - 1}) <= entries.keys():
            raise ValueError("an entry that was drawn is missing")
        known = self._journal.vault.store.head(requester)
        if known is not None:
            there = entries.get(known.entry.seq)
            if there is None:
                raise self._missing(requester, anchors, "what it has seen of it before")
            entries[known.entry.seq] = there
            self._journal.require_consistent(there, known)
        return entries[note.size - 1]

    def _require_one_history(self, entries: dict[int, Signed]) -> None:
        """Neighbours among what it opened: time and totals only grow. Else it is convicted."""
        for earlier, later in pairwise(entries[seq] for seq in sorted(entries)):
            self._journal.require_consistent(later, earlier)

    def _require_modest(self, entries: dict[int, Signed], last: Signed) -> None:
        """What it spent and holds in a day, wherever. Not less what it earned: that its friends sign for."""
        limit = 2 * self._journal.policy.stranger_line
        bound = self._journal.now_ms() - DAY_MS
        before = (one.entry.taken for one in entries.values() if one.entry.t_ms <= bound)
        spent = last.entry.taken + last.entry.held - max(before, default=0)
        if spent > limit:
            refusal = NotEnoughCredit(
                f"this node spent and holds {show_credits(spent)} credits within a day, and whoever asks on "
                f"trust may have spent {show_credits(limit)}",
                hint="serve this node first, move credit here, or ask a node that owes you",
            )
            refusal.missing = spent - limit
            raise refusal
