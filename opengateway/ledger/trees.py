"""The trees of one other ledger that were seen: each must continue every one before it.

Two signed trees of different sizes say nothing of each other without a proof of consistency, and only the
ledger's author can make one. So what was seen and is not part of something larger yet stays here as something
that the next tree has to be proven to continue.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from opengateway.ledger.audit_notes import Note
from opengateway.ledger.audit_proof import proof_of
from opengateway.ledger.merkle_proofs import roots_by_consistency

REWRITE, WITNESS = "F6-rewrite", "F7-witness"
LOOSE = 8
"""Trees of one author that are not proven to be part of a larger one. An honest author has one or two."""
REMEMBERED = 8
"""Trees kept to be compared with others of the same size."""

LINES = 8
"""Cosignatures kept under a tree, and passed on with it."""

Fault = tuple[bytes, str, bytes]
"""Key, kind and proof."""


class TreesDiffer(ValueError):
    """Two signed trees of one ledger that cannot both be true. `faults`: of the author (F6), and of every
    witness that is seen to have cosigned both (F7)."""

    def __init__(self, one: Note, two: Note, path: Sequence[bytes]) -> None:
        super().__init__(f"trees of {one.size} and {two.size} entries that are not of one ledger")
        hashes = b"".join(path)
        pieces = (one.text, one.signature), (two.text, two.signature)
        self.faults: list[Fault] = [(one.author, REWRITE, proof_of(REWRITE, *pieces, *_piece(hashes)))]
        for witness, seconds, signature in one.cosigned:
            for other, later, second in two.cosigned:
                if other == witness:
                    first = one.text, seconds.to_bytes(8, "big") + signature
                    last = two.text, later.to_bytes(8, "big") + second
                    self.faults.append((witness, WITNESS, proof_of(WITNESS, first, last, witness + hashes)))
                    break


def _piece(hashes: bytes) -> tuple[bytes, ...]:
    return (hashes,) if hashes else ()


def continues(earlier: Note, later: Note, path: Sequence[bytes]) -> bool:
    """Whether this path proves it. Raises `TreesDiffer` if it proves the opposite, `ProofWrong` if it is none
    for these sizes."""
    before, after = roots_by_consistency(earlier.size, later.size, earlier.root, path)
    if after == later.root and before != earlier.root:
        raise TreesDiffer(earlier, later, path)
    return after == later.root and before == earlier.root


@dataclass(slots=True)
class Trees:
    """Of one author. Every note here is signed by it."""

    loose: dict[int, Note] = field(default_factory=dict)
    """What the next tree must be proven to continue, by size."""
    seen: dict[int, Note] = field(default_factory=dict)
    """The latest of all that were seen, by size."""
    newest: Note | None = None
    _told: int = 0
    """Size of the largest that was announced: who cosigns one hears of it twice, and passes it on."""
    _proving: tuple[int, bytes] = (0, b"")
    _proven: set[int] = field(default_factory=set)
    """Sizes that are proven to be part of the tree `_proving`."""

    def compare(self, note: Note) -> None:
        """Raises `TreesDiffer` if there is another tree of this size."""
        for known in (self.seen.get(note.size), self.loose.get(note.size)):
            if known is not None and known.root != note.root:
                raise TreesDiffer(known, note, ())

    def hear(self, note: Note, old: int, path: Sequence[bytes]) -> bool:
        """A tree that was announced; whether that is news. `path` leads there from `old`, if that is
        anything known. Raises `TreesDiffer`, `ProofWrong`, and then nothing has changed."""
        self.compare(note)
        known = self.loose.get(old)
        linked = known is not None and 0 < old < note.size and continues(known, note, path)
        told, self._told = self._told, max(self._told, note.size)
        if note.size in self.seen or note.size in self.loose:
            return self._merge(note) or note.size > told
        if linked:
            del self.loose[old]
        if linked or len(self.loose) < LOOSE:
            self.loose[note.size] = note
        self._remember(note)
        return note.size > told

    def _merge(self, note: Note) -> bool:
        """Cosignatures that were not known; whether there were any. They are news: two trees convict whoever
        is seen to have cosigned both."""
        more = 0
        for known in (self.seen.get(note.size), self.loose.get(note.size)):
            if known is not None:
                there = {witness for witness, _, _ in known.cosigned}
                new = [one for one in note.cosigned if one[0] not in there][: LINES - len(there)]
                known.cosigned += new
                more = max(more, len(new))
        return more > 0

    def _remember(self, note: Note) -> None:
        self.seen.pop(note.size, None)
        self.seen[note.size] = note
        while len(self.seen) > REMEMBERED:
            del self.seen[next(iter(self.seen))]
        if self.newest is None or note.size > self.newest.size:
            self.newest = note

    def prove(self, note: Note, old: int, path: Sequence[bytes]) -> bool:
        """One piece of the proof that `note` continues everything: the one from `old`. False if it is wrong.
        Raises `TreesDiffer`, `ProofWrong`."""
        if self._proving != (note.size, note.root):
            self._proving, self._proven = (note.size, note.root), set()
        known = self.loose.get(old)
        if known is None or not continues(known, note, path):
            return False
        self._proven.add(old)
        return True

    def missing(self, note: Note) -> int:
        """A size from which a proof to `note` is still missing; 0: it continues everything that was seen."""
        proven = self._proven if self._proving == (note.size, note.root) else set()
        return next((size for size in self.loose if size not in proven and size != note.size), 0)

    def settle(self, note: Note) -> None:
        """It continues everything: from now on the only one that the next must continue."""
        self._merge(note)
        self.loose = {note.size: note}
        self._remember(note)
