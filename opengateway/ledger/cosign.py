"""Cosigning checkpoints as c2sp.org/tlog-witness does, with messages of ours instead of HTTP.

    author   request -> keep, or behind and request again
    witness  cosign: never a smaller tree than before, never one that does not continue it

A witness remembers size and root of the last tree that it cosigned for each author, durably before its answer
leaves. It says nothing about what is in the tree: only that there is one, and that it only grew.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterable
from typing import Any, NamedTuple

from opengateway.identity import Identity, short
from opengateway.ledger.audit_notes import Note, cosigned_text, key_hash, origin, read_note
from opengateway.ledger.checkpoint import Checkpoints
from opengateway.ledger.heads import Heads, read_tree
from opengateway.ledger.journal import Journal
from opengateway.ledger.merkle_proofs import PROOF_HASHES, ProofWrong
from opengateway.ledger.trees import Trees, TreesDiffer
from opengateway.units import NodeId
from opengateway.wire import cbor
from opengateway.wire.witness_messages import AddCheckpoint, Cosigned, NotCosigned

STRANGERS = 16_384
"""Authors for whom a last tree is kept (10 MB) before those whom nobody here has dealt with are refused: to
forget one would be to cosign its fork."""
AGAIN_MS = 240_000
"""A checkpoint that has not changed is cosigned again after this: who wants a fresh one means 10 minutes."""

REMEMBERED = 256
"""Witnesses whose last cosignature is kept; another one only tells its size once more."""

_SEEN, _ASKED = "witnessed", "cosigned"


class Seen(NamedTuple):
    """The last tree of an author that we cosigned."""

    size: int
    root: bytes
    text: bytes
    """The checkpoint, and what its author signed it with."""
    signature: bytes


class Cosignature(NamedTuple):
    """By one witness, over our checkpoint of this size."""

    size: int
    seconds: int
    line: str


def cosign_line(identity: Identity, note: Note, seconds: int) -> str:
    name = f"opengateway/{identity.node_id.hex()}"
    signature = identity.sign(cosigned_text(seconds, note.text))
    data = key_hash(name, 4, identity.node_id) + seconds.to_bytes(8, "big") + signature
    return f"— {name} {base64.b64encode(data).decode()}\n"


def write_request(old: int, path: Iterable[bytes], note: str) -> str:
    lines = [f"old {old}", *(base64.b64encode(one).decode() for one in path)]
    return "\n".join(lines) + "\n\n" + note


def read_request(body: str) -> tuple[int, list[bytes], str]:
    """Old size, proof, checkpoint. Raises `ValueError`."""
    head, gap, note = body.partition("\n\n")
    first, *lines = head.split("\n")
    word, _, size = first.partition(" ")
    if not gap or word != "old" or not size.isascii() or not size.isdigit() or str(int(size)) != size:
        raise ValueError("not an add-checkpoint request")
    if len(lines) > PROOF_HASHES:
        raise ValueError("a proof has 63 hashes at most")
    try:
        path = [base64.b64decode(line, validate=True) for line in lines]
    except binascii.Error as error:
        raise ValueError("not base64") from error
    if any(len(one) != 32 for one in path):
        raise ValueError("a hash has 32 bytes")
    return int(size), path, note


class Cosigning:
    def __init__(self, journal: Journal, identity: Identity, checkpoints: Checkpoints, heads: Heads) -> None:
        self._journal = journal
        self._identity = identity
        self._checkpoints = checkpoints
        self._heads = heads
        self.load()
        for author, seen in self._seen.items():
            self._heads.begin(Note(author, journal.net, *seen))

    def load(self) -> None:
        """Both sides' memory, as it is on the disk."""
        self._seen: dict[bytes, Seen] = {}
        self._by: dict[bytes, Cosignature] = {}
        store = self._journal.vault.store
        with self._journal.reading():
            for author, data in store.documents(_SEEN):
                seen = Seen._make(cbor.decode(data))
                if seen.text.startswith(origin(self._journal.net, author).encode()):
                    self._seen[author] = seen  # former versions named no network
            for witness, data in store.documents(_ASKED):
                last = Cosignature._make(cbor.decode(data))
                size = self._checkpoints.size  # 0: there is none, or one by a former version
                good = self._signed(witness, last.line) if last.size == size else size
                self._by[witness] = last if good else Cosignature(0, 0, "")

    # As a witness.

    def seen(self, author: NodeId) -> Seen | None:
        """What this node cosigned last for this author."""
        return self._seen.get(author)

    def cosign(self, body: str, author: NodeId) -> Cosigned | NotCosigned:
        """The answer to an author's request, to be sent after the next commit. Raises `LedgerReadOnly`."""
        journal = self._journal
        journal.vault.require_writable()
        try:
            old, path, text = read_request(body)
            note = read_note(text)
            if note.author != author:
                return NotCosigned(404, 0, "a checkpoint of somebody else's ledger")
            if not note.signature:
                return NotCosigned(403, 0, "its author did not sign it")
            note = read_tree(text, journal.net)
        except ValueError as error:
            return NotCosigned(400, 0, str(error))
        if author in journal.faulty:
            return NotCosigned(403, 0, "a proof of fraud is held against you")
        last = self._seen.get(author)
        if last is None and not self._room_for(author):
            return NotCosigned(403, 0, "this witness has no room for more ledgers that it does not know")
        return self._judge(note, old, path, last)

    def _room_for(self, author: NodeId) -> bool:
        return len(self._seen) < STRANGERS or author in self._journal.debts

    def _judge(self, note: Note, old: int, path: list[bytes], last: Seen | None) -> Cosigned | NotCosigned:
        """It must continue every tree of this author that was seen anywhere, not only what was cosigned here:
        who shows others another history gets no signature of ours under this one."""
        size, trees = last.size if last else 0, self._heads.of(note.author)
        try:
            trees.compare(note)
        except TreesDiffer as error:
            self._heads.convict(error.faults)
            return NotCosigned(409, size, "two trees of one size")
        if old > note.size:
            return NotCosigned(400, size, "the old size is above the new one")
        if trees.newest and trees.newest.size > note.size:
            return NotCosigned(409, trees.newest.size, "a larger tree was shown elsewhere")
        if trees.missing(note):
            if old not in trees.loose:
                missing = trees.missing(note)
                return NotCosigned(409, missing, "the proof begins at another size than was seen last")
            if wrong := self._prove(trees, note, old, path):
                return NotCosigned(422, old, wrong)
        elif not trees.loose and (old or path):
            return NotCosigned(409 if old else 400, 0, "there is nothing to be consistent with yet")
        if missing := trees.missing(note):
            return NotCosigned(409, missing, "this tree was seen too, and is still to be continued")
        trees.settle(note)
        self._remember(note)
        return Cosigned(cosign_line(self._identity, note, self._journal.now_ms() // 1000))

    def _prove(self, trees: Trees, note: Note, old: int, path: list[bytes]) -> str:
        """What is wrong with this proof; empty: nothing."""
        try:
            good = trees.prove(note, old, path)
        except TreesDiffer as error:
            self._heads.convict(error.faults)
            return "this tree does not continue the one that was seen last"
        except ProofWrong as error:
            return f"the consistency proof is {error}"
        return "" if good else "this tree does not continue the one that was seen last"

    def _remember(self, note: Note) -> None:
        new = self._seen[note.author] = Seen(note.size, note.root, note.text, note.signature)
        self._journal.vault.store.put_document(_SEEN, note.author, cbor.encode(tuple(new)))

    # As an author.

    def request(self, witness: NodeId) -> AddCheckpoint | None:
        """Our newest checkpoint, if this witness has not cosigned it lately."""
        note = self._checkpoints.latest()
        size = self._checkpoints.size
        last = self._by.get(witness)
        if not note or self._journal.vault.sealed:
            return None
        old = last.size if last else 0
        if old > size or (last and last.line and old == size and self._age_ms(last) < AGAIN_MS):
            return None
        path = self._checkpoints.prover.consistency(old, size)
        return AddCheckpoint(write_request(old, path, note))

    def _age_ms(self, last: Cosignature) -> int:
        return self._journal.now_ms() - last.seconds * 1000

    def behind(self, witness: NodeId, size: int) -> AddCheckpoint | None:
        """The witness cosigned another size last: asked again from there, once."""
        last = self._by.get(witness)
        known = last and last.size == size
        if size > self._checkpoints.size or known or self._journal.vault.damage:
            return None
        self._put(witness, Cosignature(size, 0, ""))
        return self.request(witness)

    def keep(self, witness: NodeId, line: str) -> bool:
        """A cosignature under our newest checkpoint; false if it is none."""
        found = self._signed(witness, line)
        if found is None or self._journal.vault.damage:
            return False
        self._put(witness, Cosignature(found.size, found.cosigned[0][1], line))
        self._keep_best()
        return True

    def _signed(self, witness: bytes, line: str) -> Note | None:
        """Our newest checkpoint with this line of this witness's under it. A former version's lines are
        under checkpoints that named no network."""
        note = self._checkpoints.latest()
        try:
            found = read_note(note + line) if note else None
        except ValueError:
            return None
        good = found and [one[0] for one in found.cosigned] == [witness] and line.count("\n") == 1
        return found if good else None

    def line(self, witness: NodeId) -> str:
        """What it wrote under our newest checkpoint; empty if nothing."""
        last = self._by.get(witness)
        return last.line if last and last.size == self._checkpoints.size else ""

    def _put(self, witness: NodeId, new: Cosignature) -> None:
        self._by.pop(witness, None)
        self._by[witness] = new
        if len(self._by) > REMEMBERED:
            oldest = next(iter(self._by))
            del self._by[oldest]
            self._journal.vault.store.put_document(_ASKED, oldest, b"")
        self._journal.vault.store.put_document(_ASKED, witness, cbor.encode(tuple(new)))

    def _keep_best(self) -> None:
        """Beside the newest checkpoint stands the newest that anybody cosigned: exports have both."""
        self._journal.vault.store.put_document("checkpoint", b"cosigned", self.note().encode())

    def witnesses(self) -> dict[NodeId, int]:
        """Who cosigned the newest checkpoint, and when (seconds)."""
        size = self._checkpoints.size
        return {NodeId(key): one.seconds for key, one in self._by.items() if one.line and one.size == size}

    def facts(self) -> dict[str, Any]:
        """As JSON has it."""
        by = self.witnesses()
        return {
            "checkpoint": self._checkpoints.size,
            "cosigned_by": [short(witness) for witness in sorted(by)],
            "latest_s": max(by.values(), default=0),
            "watching": len(self._seen),
        }

    def note(self) -> str:
        """The newest checkpoint with all its cosignatures."""
        size = self._checkpoints.size
        lines = [one.line for one in self._by.values() if one.size == size]
        return self._checkpoints.latest() + "".join(lines)
