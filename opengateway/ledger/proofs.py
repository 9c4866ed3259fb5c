"""Proofs of fraud that others pass on: checked, kept, and told on once.

A proof convinces alone, so it does not matter who brings it; what must be bounded is how many. Anybody can
make keys and let them contradict themselves: one proof for each key is kept, and beyond `STRANGERS` only
those against somebody this node has dealt with.
"""

from __future__ import annotations

from opengateway.errors import LedgerRefused
from opengateway.identity import short
from opengateway.ledger.accusations import parting
from opengateway.ledger.audit_proof import convicts, places_in
from opengateway.ledger.journal import Journal
from opengateway.units import NodeId

STRANGERS = 4096
"""Proofs kept, 4 MB, before those against keys that nobody here has met are refused."""


class Proofs:
    def __init__(self, journal: Journal) -> None:
        self._journal = journal

    def take(self, proof: bytes) -> NodeId | None:
        """Whom it convicts; None if that was known. Kept with the next commit. From then on that node gets
        what is owed to it and no more. Raises `LedgerRefused` (`proof`, `own`, `full`), `LedgerReadOnly`."""
        journal = self._journal
        try:
            found = convicts(proof, journal.net)
        except ValueError as error:
            raise LedgerRefused(f"this proves nothing: {error}", reason="proof") from error
        key = NodeId(found.key)
        if key == journal.vault.chain.author:
            journal.accused.add(parting(proof, journal.net), proof)
            raise LedgerRefused(
                f"a proof against this node itself is passed around: {found.text}",
                reason="own",
                hint="was an old copy of the ledger restored, or is the key used on two machines? "
                "Then: opengateway ledger repair",
            )
        if journal.successors.convicted(key, proof) <= journal.faulty:
            return None
        self._require_of_its_time(key, proof)
        journal.vault.require_writable()
        known = journal.vault.store.head(key) is not None or key in journal.debts
        if len(journal.faulty) >= STRANGERS and not known:
            raise LedgerRefused(f"{short(key)} is not known here, like {STRANGERS} others", reason="full")
        journal.vault.store.add_proof(key, found.kind, proof)
        journal.faulty |= journal.successors.convicted(key, proof)
        return key

    def _require_of_its_time(self, key: NodeId, proof: bytes) -> None:
        """What a key signed after it was given up is void, so it convicts nobody: a thief may have it."""
        rotation = self._journal.successors.rotations.get(key)
        if rotation is None:
            return
        for seq in places_in(proof):
            if seq >= rotation.rotate.entry.seq:
                raise LedgerRefused(
                    f"entry {seq} of {short(key)} is void: it had given up its key", reason="void"
                )
