"""RFC 6962 Merkle tree over a chain's leaves, keeping only its right edge: 32 bytes per doubling."""

from __future__ import annotations

import hashlib


class Frontier:
    """`append` leaf hashes in order; `root` at any time. `size` and `edge` are all there is to store."""

    def __init__(self) -> None:
        self.size = 0
        self.edge: list[bytes] = []
        """Roots of full subtrees, largest first: one for every bit set in `size`."""

    def append(self, leaf: bytes) -> None:
        size, node = self.size, leaf
        while size & 1:
            node = hashlib.sha256(b"\x01" + self.edge.pop() + node).digest()
            size >>= 1
        self.edge.append(node)
        self.size += 1

    def root(self) -> bytes:
        """SHA-256 of nothing for the empty tree."""
        if not self.edge:
            return hashlib.sha256().digest()
        root = self.edge[-1]
        for node in reversed(self.edge[:-1]):
            root = hashlib.sha256(b"\x01" + node + root).digest()
        return root
