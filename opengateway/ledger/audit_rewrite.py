"""F6 and F7: a ledger that is not what its author, or a witness, signed that it was.

Each piece of an F6 is a checkpoint (text, signature), a head announcement or an entry (body, signature):

    two checkpoints of one size with different roots
    two checkpoints, and the consistency proof that leads from another tree than the first to the second
    an entry or a head, and a checkpoint with the inclusion proof (leaf || path) of another leaf at that place
    two heads, or a head and an entry: one place, two leaves; or the later one stands before the earlier

The last piece, where there is one, is the hashes of the proof one after the other.
"""

from __future__ import annotations

from typing import NamedTuple

from opengateway.identity import verify
from opengateway.ledger.audit_notes import Note, cosigned_text, read_note
from opengateway.ledger.entry import EntryInvalid
from opengateway.ledger.evidence import genuine, read_signed
from opengateway.ledger.head import TAG, announced, read_head
from opengateway.ledger.merkle_proofs import (
    PROOF_HASHES,
    ProofWrong,
    root_by_inclusion,
    roots_by_consistency,
)

Piece = tuple[bytes, bytes]


class Place(NamedTuple):
    """What an entry or a head says: at this place stands this leaf."""

    author: bytes
    net: bytes
    seq: int
    leaf: bytes
    t_ms: int
    is_head: bool


def check_rewrite(first: Piece, second: Piece, extra: bytes, net: bytes | None) -> tuple[bytes, str]:
    """Whom it convicts, and of what. Raises `ValueError`."""
    one, two = statement(first, net), statement(second, net)
    if (one.net, one.author) != (two.net, two.author):
        raise ValueError("the two pieces are not of one ledger")
    if isinstance(one, Note) and isinstance(two, Note):
        return one.author, _two_trees(one, two, extra)
    if isinstance(one, Place) and isinstance(two, Note):
        return one.author, _left_out(one, two, extra)
    if isinstance(one, Place) and isinstance(two, Place):
        return one.author, _two_places(one, two)
    raise ValueError("the checkpoint comes second")


def check_equivocation(first: Piece, second: Piece, extra: bytes, net: bytes | None) -> tuple[bytes, str]:
    """As `check_rewrite`, of the witness in `extra`, before the hashes of the consistency proof."""
    one, two = note_of(first[0]), note_of(second[0])
    witness, path = extra[:32], extra[32:]
    for note, (_, cosignature) in ((one, first), (two, second)):
        seconds, signature = int.from_bytes(cosignature[:8], "big"), cosignature[8:]
        if not verify(witness, cosigned_text(seconds, note.text), signature):
            raise ValueError("a cosignature that is not this witness's")
    if (one.net, one.author) != (two.net, two.author) or one.net != (net or one.net):
        raise ValueError("two ledgers, or of another network")
    return witness, f"cosigned {_two_trees(one, two, path)} of one ledger"


def statement(piece: Piece, net: bytes | None) -> Note | Place:
    """A signed checkpoint, head or entry of this network (None: of any). Raises `ValueError`."""
    body, signature = piece
    if body.startswith(b"opengateway/"):
        note = note_of(body)
        if note.net != (net or note.net):
            raise ValueError("a checkpoint of a ledger in another network")
        if not verify(note.author, note.text, signature):
            raise ValueError("a checkpoint that its author did not sign")
        return note
    return place_of(piece, net)


def place_of(piece: Piece, net: bytes | None) -> Place:
    """What a signed entry or head says. Raises `ValueError`."""
    body, signature = piece
    try:
        if body[2:12] == TAG.encode():
            head = read_head(body, signature, net)
            if not announced(head):
                raise ValueError("a head that its author did not sign")
            _, author, seq, leaf, t_ms = head.head
            return Place(author, head.head.net, seq, leaf, t_ms, is_head=True)
        signed = read_signed(body, signature, net if net is not None else _net_of(body))
    except EntryInvalid as error:
        raise ValueError(f"neither an entry nor a head: {error}") from error
    if not genuine(signed):
        raise ValueError("an entry that its author did not sign")
    entry = signed.entry
    return Place(entry.author, entry.net, entry.seq, signed.leaf, entry.t_ms, is_head=False)


def _net_of(body: bytes) -> bytes:
    """The network that an entry says it is of: version and kind are one byte each, so it has its place."""
    return body[5:13]


def _hashes(data: bytes) -> list[bytes]:
    if len(data) % 32 or len(data) > 32 * (PROOF_HASHES + 1):
        raise ValueError("a hash has 32 bytes")
    return [data[at : at + 32] for at in range(0, len(data), 32)]


def _two_trees(one: Note, two: Note, extra: bytes) -> str:
    if one.size == two.size and one.root != two.root:
        return f"two roots for {one.size} entries"
    try:
        before, after = roots_by_consistency(one.size, two.size, one.root, _hashes(extra))
    except ProofWrong as error:
        raise ValueError(f"these two checkpoints do not contradict each other: {error}") from error
    if after != two.root or before == one.root:
        raise ValueError("these two checkpoints do not contradict each other")
    return f"a tree of {two.size} entries that does not begin with that of {one.size}"


def _left_out(one: Place, note: Note, extra: bytes) -> str:
    leaf, *path = _hashes(extra) or [b""]
    try:
        root = root_by_inclusion(leaf, one.seq, note.size, path)
    except ProofWrong as error:
        raise ValueError(f"that does not stand in this tree: {error}") from error
    if root != note.root or leaf == one.leaf:
        raise ValueError("the tree has what was signed, or the proof is not of this tree")
    return f"another entry at {one.seq} in the tree of {note.size}"


def _two_places(one: Place, two: Place) -> str:
    """Two entries alone are for F1 and F2: they say nothing of which was the newest."""
    if not (one.is_head or two.is_head):
        raise ValueError("these two do not prove that a ledger was rewritten")
    if one.seq == two.seq and one.leaf != two.leaf:
        return f"two entries at {one.seq}"
    earlier, later = (one, two) if one.t_ms <= two.t_ms else (two, one)
    if later.is_head and later.t_ms > earlier.t_ms and later.seq < earlier.seq:
        return f"entry {earlier.seq} was there, and later entry {later.seq} was the newest"
    raise ValueError("these two do not contradict each other")


def note_of(text: bytes) -> Note:
    """The checkpoint's text as a note of its own. The line under it only fills its place: what is checked
    is the signature of the piece."""
    try:
        return read_note(f"{text.decode()}\n— none AAAAAAAAAAA=\n")
    except UnicodeDecodeError as error:
        raise ValueError("not a checkpoint") from error
