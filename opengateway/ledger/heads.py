"""Everybody's newest tree, as it goes from peer to peer: held against what was seen of that ledger before.

A node that shows one history here and another there must keep the two audiences apart for ever: its trees
travel, and whoever has seen one cosigns, and serves on trust, only what is proven to continue it.

    author   announce -> all its peers          everybody else   hear -> three others, if it is news
"""

from __future__ import annotations

import base64
import logging
from collections.abc import Iterator
from contextlib import suppress

from opengateway.errors import LedgerRefused
from opengateway.identity import short
from opengateway.ledger.audit_notes import Note, key_hash, origin, read_note
from opengateway.ledger.checkpoint import Checkpoints
from opengateway.ledger.journal import Journal
from opengateway.ledger.merkle_proofs import PROOF_HASHES, ProofWrong
from opengateway.ledger.trees import LINES, Fault, Trees, TreesDiffer
from opengateway.units import NodeId
from opengateway.wire.witness_messages import Head

logger = logging.getLogger(__name__)

HEAD = "head"
"""Documents of this kind: the newest tree seen of each ledger that matters here."""
AUTHORS = 4096
"""Whose trees are remembered, 1 to 10 kB each. Beyond them those go first with whom there is no account."""
EVERY_MS = 10_000
EVERY_MS_EACH = 200
"""A head every 10 s, or every 0.2 s for each node that is heard of: then 5 a second come by, three times
each, in a network of any size: 5 kB/s, no more than the pings of 32 sessions."""
HEARD_OF_MS = 600_000
GENESIS = 1
"""A ledger of one entry says nothing of anybody but its author, so there is nothing to show one and hide from
another: it is not announced. 50 nodes that started together sent each other 6,700 such heads."""
TEXT_LINES = 3
"""Of a checkpoint's text: origin, size, root. More would only make a proof too long to pass on."""


def read_tree(text: str, net: bytes) -> Note:
    """A checkpoint of a ledger in this network, signed by its author. Raises `ValueError`."""
    note = read_note(text)
    if note.net != net:
        raise ValueError("of a ledger in another network")
    if note.text.count(b"\n") != TEXT_LINES:
        raise ValueError("a ledger's checkpoint has three lines")
    if not note.signature:
        raise ValueError("its author did not sign it")
    del note.cosigned[LINES:]
    return note


def write_tree(note: Note) -> str:
    """Text, the author's signature, and the good cosignatures."""
    lines = [_line(origin(note.net, note.author), note.author, 1, note.signature)]
    for witness, seconds, signature in note.cosigned:
        data = seconds.to_bytes(8, "big") + signature
        lines.append(_line(f"opengateway/{witness.hex()}", witness, 4, data))
    return f"{note.text.decode()}\n" + "".join(lines)


def _line(name: str, key: bytes, kind: int, data: bytes) -> str:
    return f"— {name} {base64.b64encode(key_hash(name, kind, key) + data).decode()}\n"


class Heads:
    def __init__(self, journal: Journal, checkpoints: Checkpoints) -> None:
        self._journal = journal
        self._checkpoints = checkpoints
        self._announced_ms = 0
        self._announced = 0
        """Size of the tree that was announced last."""
        self._heard_ms: dict[bytes, int] = {}
        self._trees: dict[bytes, Trees] = {}
        self.load()

    def load(self) -> None:
        """What was seen stays seen after a rollback; after a start there is what was kept."""
        with self._journal.reading():
            for author, data in self._journal.vault.store.documents(HEAD):
                with suppress(ValueError):  # former versions named no network
                    if author not in self._trees:
                        self.of(author).hear(read_tree(data.decode(), self._journal.net), 0, ())

    def of(self, author: bytes) -> Trees:
        found = self._trees.get(author)
        if found is None:
            found = self._trees[author] = Trees()
            if len(self._trees) > AUTHORS:
                self._forget_one(author)
        return found

    def _forget_one(self, new: bytes) -> None:
        known = self._journal.debts
        strangers = (one for one in self._trees if NodeId(one) not in known and one != new)
        del self._trees[next(strangers, None) or next(iter(self._trees))]

    def newest(self, author: bytes) -> Note | None:
        """The largest tree of this author that was seen lately."""
        found = self._trees.get(author)
        return found.newest if found else None

    def begin(self, note: Note) -> None:
        """A tree that this node had cosigned when it last ran."""
        try:
            self.of(note.author).hear(note, 0, ())
        except TreesDiffer as error:
            self.convict(error.faults)

    def __len__(self) -> int:
        return len(self._trees)

    # As an author.

    def announce(self) -> Head | None:
        """Our newest tree, if the ledger has grown and it is time: for every peer, after the next commit."""
        now = self._journal.now_ms()
        if self._journal.vault.sealed or 0 <= now - self._announced_ms < self._every_ms(now):
            return None
        self._announced_ms = now
        self._checkpoints.make(now=True)
        if self._checkpoints.size <= max(self._announced, GENESIS):
            return None
        before, self._announced = self._announced, self._checkpoints.size
        return self._head(before)

    def greet(self) -> Head | None:
        """The last one that was announced, for somebody who was not there."""
        return self._head(0) if self._announced == self._checkpoints.size > 0 else None

    def _head(self, old: int) -> Head:
        path = self._checkpoints.prover.consistency(old, self._checkpoints.size)
        return Head(self._checkpoints.latest(), old, b"".join(path))

    def _every_ms(self, now: int) -> int:
        lately = sum(now - at < HEARD_OF_MS for at in self._heard_ms.values())
        return max(EVERY_MS, EVERY_MS_EACH * lately)

    # As everybody else.

    def hear(self, head: Head) -> Head | None:
        """What to pass on of it, if it is news. Raises `LedgerRefused` if it is not in order, and with
        `fraud` if it proves one: that goes out with the next commit."""
        journal = self._journal
        try:
            note = read_tree(head.note, journal.net)
            path = _hashes(head.path)
        except ValueError as error:
            raise LedgerRefused(f"no head of a ledger: {error}", reason="head") from error
        if note.author in journal.faulty:
            return None
        news = self.see(note, head.old, path)
        return Head(write_tree(self.of(note.author).seen[note.size]), head.old, head.path) if news else None

    def see(self, note: Note, old: int = 0, path: tuple[bytes, ...] = ()) -> bool:
        """A tree of another ledger, signed by its author; whether it is news. Raises as `hear` does."""
        trees = self.of(note.author)
        self._heard_ms.pop(note.author, None)
        self._heard_ms[note.author] = self._journal.now_ms()
        while len(self._heard_ms) > AUTHORS:
            del self._heard_ms[next(iter(self._heard_ms))]
        try:
            news = trees.hear(note, old, path)
        except TreesDiffer as error:
            self.convict(error.faults)
            raise LedgerRefused(f"{short(note.author)} announces {error}", reason="fraud") from error
        except ProofWrong as error:
            raise LedgerRefused(f"a head whose proof is {error}", reason="head") from error
        if news and NodeId(note.author) in self._journal.debts and not self._journal.vault.damage:
            self._journal.vault.store.put_document(HEAD, note.author, write_tree(note).encode())
        return news

    def convict(self, faults: list[Fault]) -> None:
        """For everybody to see, with the next commit."""
        journal = self._journal
        for key, kind, proof in faults:
            if key not in (journal.vault.chain.author, *journal.faulty) and not journal.vault.damage:
                journal.convict(NodeId(key), kind, proof)
                logger.warning("%s is convicted of %s", short(key), kind)


def _hashes(data: bytes) -> tuple[bytes, ...]:
    if len(data) % 32 or len(data) > 32 * PROOF_HASHES:
        raise ValueError("a proof is of at most 63 hashes of 32 bytes")
    return tuple(_cut(data))


def _cut(data: bytes) -> Iterator[bytes]:
    for at in range(0, len(data), 32):
        yield data[at : at + 32]
