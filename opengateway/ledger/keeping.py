"""What this node holds of another's ledger, for when that one has lost it: the answer to GetEntries.

A counterparty holds the other's OPENs, SETTLEs and EARNs, each in full, because they are the other halves of
its own entries; a witness holds the last tree. Who has lost nothing costs one look at what it showed last.

    highest   canonical CBOR [body or text, signature]: an entry, a head or a checkpoint
    records   CBOR array of [body, signature] or [body, signature, our half's body, its signature]
    vouchers  CBOR array of [body, signature]
"""

from __future__ import annotations

from opengateway.ledger.entry import leaf_of, read_wire
from opengateway.ledger.heads import Heads
from opengateway.ledger.journal import Journal
from opengateway.ledger.rows import ADMITTED, DELIVERED, Row
from opengateway.ledger.vouched import THEIRS
from opengateway.units import NodeId
from opengateway.wire import cbor
from opengateway.wire.witness_messages import Entries

RECORDS = 128
"""Entries in one answer, 1.5 kB each at most."""
VOUCHERS = 256
BACK = 200_000
"""Of our own newest entries looked through for theirs: 0.2 s at worst, only for who has lost something."""
MISSES = 64
"""Theirs come in their order but for a few, so after so many older ones there is nothing more to find."""


class Keeping:
    def __init__(self, journal: Journal, heads: Heads) -> None:
        self._journal = journal
        self._heads = heads

    def answer(self, peer: NodeId, first: int) -> Entries:
        seq, highest = self._highest(peer)
        records = self._records(peer, first) if seq >= first else {}
        head = self._journal.vault.store.head(peer)
        if head is not None and head.entry.seq < min(first, seq):
            # A tree reaches further. It may be of another history than the one that was shown here.
            records[head.entry.seq] = [head.body, head.signature]
        chosen = sorted(records)[:RECORDS]
        return Entries(
            first,
            highest,
            cbor.encode([records[place] for place in chosen]),
            cbor.encode(self._vouchers(peer)),
            more=len(chosen) < len(records),
        )

    def _highest(self, peer: NodeId) -> tuple[int, bytes]:
        """The place up to which it signed anything, and what shows that."""
        found: list[tuple[int, bytes, bytes]] = []
        head, seen = self._journal.vault.store.head(peer), self._heads.newest(peer)
        if head is not None:
            found.append((head.entry.seq, head.body, head.signature))
        if seen is not None:
            found.append((seen.size - 1, seen.text, seen.signature))
        if not found:
            return -1, b""
        seq, body, signature = max(found)
        return seq, cbor.encode([body, signature])

    def _records(self, peer: NodeId, first: int) -> dict[int, list[bytes]]:
        """By their places. An entry that is there twice, alone and beside our half, comes with the half."""
        store = self._journal.vault.store
        found: dict[int, list[bytes]] = {}
        for opening in store.openings_of(peer, BACK):
            seq = self._journal.read(opening.body).seq
            if seq >= first:
                found[seq] = [opening.body, opening.signature]
        misses = 0
        for row in store.rows_with(peer, max(0, self._journal.vault.chain.entries - BACK)):
            if row.peer_body is None or row.peer_signature is None:
                continue
            seq = self._journal.read(row.peer_body).seq
            misses = misses + 1 if seq < first else 0
            if misses > MISSES:
                break
            if seq >= first:
                found[seq] = self._beside(row, row.peer_body, row.peer_signature)
        head = store.head(peer)
        if head is not None and head.entry.seq >= first:
            found.setdefault(head.entry.seq, [head.body, head.signature])
        return found

    @staticmethod
    def _beside(row: Row, body: bytes, signature: bytes) -> list[bytes]:
        return [body, signature, row.body, row.signature]

    def _vouchers(self, peer: NodeId) -> list[list[bytes]]:
        store = self._journal.vault.store
        found: list[list[bytes]] = []
        for opening in store.serving():
            if opening.peer == peer and opening.state in (ADMITTED, DELIVERED):
                wire = store.document(THEIRS, leaf_of(opening.body))
                if wire:
                    found.append(list(read_wire(wire)))
        return found[:VOUCHERS]
