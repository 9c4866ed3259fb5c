"""What others hold against this node's own key: that it has signed two histories. Kept beside the ledger,
because a ledger that is in doubt is not written any more, and needed for its repair.

    ledger.db.accused = canonical CBOR ["ogw-accused/1", first, [proof, ...]]

`first` is the place from which on the two histories differ, as far as that shows; 1 if it does not.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

from opengateway.home import write_atomically
from opengateway.ledger.entry import EntryInvalid
from opengateway.ledger.evidence import read_signed
from opengateway.wire import cbor

TAG: Final = "ogw-accused/1"
KEPT: Final = 8
LIMIT: Final = 1 << 16


class Accusations:
    def __init__(self, ledger_db: Path) -> None:
        self._path = ledger_db.with_name(f"{ledger_db.name}.accused")
        self.first = 0
        """0: nobody accuses this key."""
        self.proofs: list[bytes] = []
        if self._path.exists():
            self._read()

    def _read(self) -> None:
        self.first = 1  # if it cannot be read, the most careful answer
        try:
            value: Any = cbor.decode(self._path.read_bytes(), limit=LIMIT)
            name, first, proofs = value
        except (OSError, ValueError, TypeError):
            return
        if name == TAG and type(first) is int and first > 0 and all(type(one) is bytes for one in proofs):
            self.first, self.proofs = first, proofs

    def add(self, first: int, proof: bytes = b"") -> None:
        """Raises `SetupError`, `DiskFull`."""
        lowest = min(first, self.first or first)
        new = [proof] if proof and proof not in self.proofs and len(self.proofs) < KEPT else []
        if lowest == self.first and not new:
            return
        self.first = lowest
        self.proofs += new
        write_atomically(self._path, cbor.encode([TAG, self.first, self.proofs]))


def parting(proof: bytes, net: bytes) -> int:
    """From which place on the histories in this proof differ; 1 if it does not show."""
    value: Any = cbor.decode(proof, limit=LIMIT)
    try:
        one, two = (read_signed(body, signature, net).entry for body, signature in value[2:4])
    except EntryInvalid:
        return 1
    return max(1, one.seq) if one.seq == two.seq and one.prev == two.prev else 1
