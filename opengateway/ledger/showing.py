"""The other side of standing.py: our ledger with an OPEN in it, cosigned by whom the worker wants, shown."""

from __future__ import annotations

from collections.abc import Collection, Iterator

from opengateway.ledger.audit_notes import read_note
from opengateway.ledger.checkpoint import Checkpoints
from opengateway.ledger.cosign import Cosigning
from opengateway.ledger.entry import OPEN
from opengateway.ledger.journal import Journal
from opengateway.ledger.opened import Opened, drawn, write_opened
from opengateway.ledger.rows import Row
from opengateway.ledger.rules import CLOCKS_APART_MS
from opengateway.ledger.standing import DAY_MS, quorum
from opengateway.units import NodeId
from opengateway.wire.witness_messages import AddCheckpoint, Present

RECENT = 8
"""Trees that cosignatures may still come for."""
LATEST = 4
"""Of our entries with the worker: one of them is the last that it has seen."""


class Showing:
    def __init__(self, journal: Journal, checkpoints: Checkpoints, cosigning: Cosigning) -> None:
        self._journal = journal
        self._checkpoints = checkpoints
        self._cosigning = cosigning
        self._trees: dict[int, tuple[str, dict[NodeId, str]]] = {}
        """Size -> note, and the lines under it."""

    def covered(self, peer: NodeId) -> bool:
        """Whether what this peer owes us, and the line that we have there, cover all that we hold with it."""
        pair = self._journal.debts.totals(peer)
        return pair.owes_us - pair.holding + pair.served // self._journal.policy.line_divisor >= 0

    def begin(self, peer: NodeId, rid: bytes, ask: Collection[NodeId]) -> list[tuple[NodeId, AddCheckpoint]]:
        """What to ask these witnesses, to be sent after the next commit."""
        opening = self._journal.vault.store.find(OPEN, peer, rid)
        if opening is None or self._journal.vault.sealed:
            return []
        if self._checkpoints.size <= opening.seq:
            self._checkpoints.make(now=True)
        size, asked = self._checkpoints.size, []
        if size not in self._trees:
            self._trees[size] = self._checkpoints.latest(), {}
            while len(self._trees) > RECENT:
                del self._trees[min(self._trees)]
        for witness in ask:
            request = self._cosigning.request(witness)
            if request is not None:
                asked.append((witness, request))
            elif line := self._cosigning.line(witness):
                self._trees[size][1][witness] = line
        return asked

    def keep(self, witness: NodeId, line: str) -> None:
        """A cosignature under one of our latest trees."""
        for note, lines in reversed(self._trees.values()):
            try:
                found = read_note(note + line)
            except ValueError:
                return
            if [one[0] for one in found.cosigned] == [witness] and line.count("\n") == 1:
                lines[witness] = line
                return

    def present(self, peer: NodeId, rid: bytes, anchors: Collection[NodeId], known: int) -> Present | None:
        """What to show, if enough of them have cosigned a tree with this OPEN in it."""
        store = self._journal.vault.store
        opening = store.find(OPEN, peer, rid)
        if opening is None:
            return None
        for size, (note, lines) in sorted(self._trees.items(), reverse=True):
            by = sorted(witness for witness in anchors if witness in lines)
            if size > opening.seq and len(by) >= quorum(len(anchors)):
                text = note + "".join(lines[witness] for witness in by)
                places = drawn(read_note(text)) | {size - 1, opening.seq, known - 1}
                places |= {row.seq for row in self._latest(peer)}
                places.add(self._day_before(size))
                return Present(
                    text, write_opened([self._open(at, size) for at in sorted(places) if 0 <= at < size])
                )
        return None

    def _latest(self, peer: NodeId) -> Iterator[Row]:
        for row, _ in zip(self._journal.vault.store.rows_with(peer, 0), range(LATEST), strict=False):
            yield row

    def _row(self, seq: int) -> Row:
        return next(self._journal.vault.store.rows(seq))

    def _open(self, seq: int, size: int) -> Opened:
        return Opened(self._journal.stored(self._row(seq)), self._checkpoints.prover.inclusion(seq, size))

    def _day_before(self, size: int) -> int:
        """The last entry that is a day old by any clock; -1 if there is none."""
        bound = self._journal.now_ms() - DAY_MS - CLOCKS_APART_MS
        first, end = 0, size
        while first < end:
            middle = (first + end) // 2
            if self._journal.read(self._row(middle).body).t_ms <= bound:
                first = middle + 1
            else:
                end = middle
        return first - 1
