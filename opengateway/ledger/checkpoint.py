"""The author's own checkpoints: size and root of its log, signed as a C2SP note (format: audit_notes.py).

Made every 256 entries or 10 minutes, over what is committed. The tree's right edge is kept beside the note,
so that neither a checkpoint nor a start reads the whole ledger.
"""

from __future__ import annotations

import base64
from itertools import islice

from opengateway.identity import Identity
from opengateway.ledger.audit_notes import key_hash, origin
from opengateway.ledger.journal import Journal
from opengateway.ledger.merkle import Frontier
from opengateway.ledger.merkle_proofs import TILE, Prover
from opengateway.units import NetworkId
from opengateway.wire import cbor

EVERY_ENTRIES = 256
EVERY_MS = 600_000


def write_note(identity: Identity, net: NetworkId, size: int, root: bytes) -> str:
    """A checkpoint signed by its author."""
    name = origin(net, identity.node_id)
    text = f"{name}\n{size}\n{base64.b64encode(root).decode()}\n"
    signature = key_hash(name, 1, identity.node_id) + identity.sign(text.encode())
    return f"{text}\n— {name} {base64.b64encode(signature).decode()}\n"


def ours(journal: Journal, which: bytes) -> str:
    """The stored note, `note` or `cosigned`. Empty if there is none of this ledger: former versions named no
    network in theirs."""
    note = journal.vault.store.document("checkpoint", which).decode()
    return note if note.startswith(f"{origin(journal.net, journal.vault.chain.author)}\n") else ""


class Checkpoints:
    def __init__(self, journal: Journal, identity: Identity) -> None:
        self._journal = journal
        self._identity = identity
        self.prover = Prover(self._leaves, self._tile)
        """Of inclusion and consistency, over what is committed."""
        self.load()

    @property
    def size(self) -> int:
        """Of the last checkpoint."""
        return self._size

    @property
    def root(self) -> bytes:
        """Of the last checkpoint."""
        return self._tree.root()

    def load(self) -> None:
        self._tree = Frontier()
        self._at_ms = 0
        with self._journal.reading():
            data = self._journal.vault.store.document("checkpoint", b"edge")
            if data:
                self._tree.size, self._tree.edge, self._at_ms = cbor.decode(data)
        self._size = self._tree.size
        if not self.latest():  # none yet, or in the form of a former version: the next one is due at once
            self._size = self._at_ms = 0

    def make(self, *, now: bool = False) -> bool:
        """One more if it is time (or `now`) and there is something new; kept with the next commit."""
        vault, now_ms = self._journal.vault, self._journal.now_ms()
        new = vault.chain.entries - self._size
        due = new >= EVERY_ENTRIES or now_ms - self._at_ms >= EVERY_MS or now
        if vault.sealed or new <= 0 or not due:
            return False
        for row in vault.store.rows(self._tree.size):
            self._tree.append(row.leaf)
        if self._tree.size <= self._size:
            return False
        self._size, self._at_ms = self._tree.size, now_ms
        note = write_note(self._identity, self._journal.net, self._size, self._tree.root())
        vault.store.put_document("checkpoint", b"edge", cbor.encode([self._size, self._tree.edge, now_ms]))
        vault.store.put_document("checkpoint", b"note", note.encode())
        return True

    def latest(self) -> str:
        """The last one as a note; empty if there is none yet."""
        return ours(self._journal, b"note")

    def _leaves(self, first: int, end: int) -> list[bytes]:
        return [row.leaf for row in islice(self._journal.vault.store.rows(first), end - first)]

    def _tile(self, number: int) -> bytes:
        """The root of 256 leaves that will not change any more, read once and then kept."""
        store, key = self._journal.vault.store, number.to_bytes(8, "big")
        root = store.document("tile", key)
        if not root:
            tile = Frontier()
            for leaf in self._leaves(number * TILE, (number + 1) * TILE):
                tile.append(leaf)
            root = tile.root()
            if (
                not self._journal.vault.damage
            ):  # then nothing is written, and what waits fails the next commit
                store.put_document("tile", key, root)
        return root
