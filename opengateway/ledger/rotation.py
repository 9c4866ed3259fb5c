"""A change of keys: the papers by which everybody knows who comes after a key, and by whose leave.

    ROTATE    the last entry of the old chain: author the old key, peer the new one, link as in the GENESIS
    papers    canonical CBOR ["ogw-rotation/1", [GENESIS body, signature], [ROTATE body, signature or empty],
              recovery public key, Ed25519(recovery, "OGW1 rotate\\n" || leaf of the ROTATE),
              [[leaf, leaf], ...],
              empty, or Ed25519(recovery, "OGW1 repair\\n" || SHA-256(cbor [leaf of the ROTATE, leaves]))]

The GENESIS commits to the recovery key (link = SHA-256 of it), so nobody else can write them. The old key
signs too where its owner still has it. The pairs of leaves name an accident: entries of two branches that
contradict each other, because an old copy of the ledger was put back.
"""

from __future__ import annotations

import hashlib
from typing import Final, NamedTuple

import cbor2

from opengateway.identity import Identity, verify
from opengateway.ledger.entry import (
    GENESIS,
    ROTATE,
    VERSION,
    ZERO16,
    ZERO32,
    Entry,
    EntryInvalid,
    Signed,
    Terms,
    leaf_of,
    read_body,
    signed_by_author,
)
from opengateway.ledger.rules import Pair, RuleBroken, Totals, check_terms
from opengateway.units import NetworkId, NodeId

PAPERS_LIMIT: Final = 2048
"""Bytes. 832 without a fork."""
EXCUSES: Final = 8
"""Pairs of leaves that one repair can name."""

Excuse = tuple[bytes, bytes]
_ROTATE, _REPAIR = b"OGW1 rotate\n", b"OGW1 repair\n"


class RotationInvalid(ValueError):
    """These papers do not prove a change of keys."""


class Rotation(NamedTuple):
    genesis: Signed
    """Of the old chain."""
    rotate: Signed
    """Its signature is empty where the old key was not at hand."""
    recovery: bytes
    signature: bytes
    excuses: tuple[Excuse, ...] = ()
    excuse_signature: bytes = b""

    @property
    def old(self) -> NodeId:
        return self.rotate.entry.author

    @property
    def new(self) -> NodeId:
        return self.rotate.entry.peer

    @property
    def wire(self) -> bytes:
        leaves = [list(pair) for pair in self.excuses]
        halves = [[one.body, one.signature] for one in (self.genesis, self.rotate)]
        return cbor2.dumps(
            ["ogw-rotation/1", *halves, self.recovery, self.signature, leaves, self.excuse_signature]
        )

    def excused(self, proof: bytes) -> bool:
        """Whether this proof is of the accident that the papers name."""
        try:
            _, _, *pieces = cbor2.loads(proof)
            leaves = sorted(leaf_of(piece[0]) for piece in pieces[:2])
        except (cbor2.CBORError, TypeError, ValueError, IndexError):
            return False
        return tuple(leaves) in self.excuses


def rotate_entry(genesis: Entry, new: NodeId, *, seq: int, prev: bytes, t_ms: int, totals: Totals) -> Entry:
    """The last entry of the chain that ends before `seq` with the leaf `prev`."""
    start = (VERSION, ROTATE, genesis.net, genesis.author, seq, prev, t_ms, new, ZERO16, genesis.link)
    return Entry._make((*start, *Terms(), *totals, *Pair(), ZERO32))


def authorise(
    genesis: Signed, rotate: Signed, recovery: Identity, excuses: tuple[Excuse, ...] = ()
) -> Rotation:
    """Raises `RotationInvalid` if this is not the recovery key of that chain."""
    if hashlib.sha256(recovery.node_id).digest() != genesis.entry.link:
        raise RotationInvalid("this is not the recovery key that the ledger began with")
    named = tuple(sorted({(min(pair), max(pair)) for pair in excuses}))
    signature = recovery.sign(_ROTATE + rotate.leaf)
    excuse = recovery.sign(_REPAIR + _accident(rotate.leaf, named)) if named else b""
    return Rotation(genesis, rotate, recovery.node_id, signature, named, excuse)


def _accident(leaf: bytes, excuses: tuple[Excuse, ...]) -> bytes:
    return hashlib.sha256(cbor2.dumps([leaf, [list(pair) for pair in excuses]])).digest()


def read_rotation(data: bytes, net: NetworkId | bytes, *, known: bool = False) -> Rotation:
    """0.3 ms, four signatures; `known`: they were checked before. Raises `RotationInvalid`."""
    if len(data) > PAPERS_LIMIT:
        raise RotationInvalid(f"{len(data)} bytes")
    try:
        value = cbor2.loads(data)
        name, first, last, recovery, signature, leaves, excuse = value
        if name != "ogw-rotation/1" or cbor2.dumps(value) != data or len(leaves) > EXCUSES:
            raise RotationInvalid("not the papers of a change of keys")
        genesis, rotate = _signed(first, net), _signed(last, net)
        excuses = tuple((bytes(one), bytes(two)) for one, two in leaves)
    except RotationInvalid:
        raise
    except (EntryInvalid, RuleBroken) as error:
        raise RotationInvalid(f"an entry of them is none: {error}") from error
    except Exception as error:  # cbor2 raises many kinds on hostile input
        raise RotationInvalid("not the papers of a change of keys") from error
    found = Rotation(genesis, rotate, recovery, signature, excuses, excuse)
    if not known:
        _check(found)
    return found


def _signed(value: object, net: bytes) -> Signed:
    if type(value) is not list or [type(item) for item in value] != [bytes, bytes]:
        raise RotationInvalid("not [body, signature]")
    body, signature = value
    entry = read_body(body, net)
    check_terms(entry)
    return Signed(entry, body, leaf_of(body), signature)


def _check(found: Rotation) -> None:
    genesis, rotate = found.genesis, found.rotate
    kinds = genesis.entry.kind, rotate.entry.kind
    if kinds != (GENESIS, ROTATE) or genesis.entry.author != found.old:
        raise RotationInvalid("not the GENESIS and the ROTATE of one chain")
    if any(type(item) is not bytes for item in (found.recovery, found.signature, found.excuse_signature)):
        raise RotationInvalid("not the papers of a change of keys")
    if rotate.entry.link != genesis.entry.link:
        raise RotationInvalid("the ROTATE names another recovery key than the GENESIS")
    if hashlib.sha256(found.recovery).digest() != genesis.entry.link:
        raise RotationInvalid("not by the recovery key that the GENESIS commits to")
    if not signed_by_author(found.old, genesis.leaf, genesis.signature):
        raise RotationInvalid("the GENESIS is not signed by its author")
    if rotate.signature and not signed_by_author(found.old, rotate.leaf, rotate.signature):
        raise RotationInvalid("the ROTATE is not signed by the old key")
    if not verify(found.recovery, _ROTATE + rotate.leaf, found.signature):
        raise RotationInvalid("the recovery key did not sign this")
    if any(len(leaf) != 32 for pair in found.excuses for leaf in pair) or any(
        one >= two for one, two in found.excuses
    ):
        raise RotationInvalid("the accident is not named by pairs of leaves")
    if bool(found.excuses) != bool(found.excuse_signature):
        raise RotationInvalid("an accident that the recovery key did not sign")
    accident = _REPAIR + _accident(rotate.leaf, found.excuses)
    if found.excuses and not verify(found.recovery, accident, found.excuse_signature):
        raise RotationInvalid("the recovery key did not sign for that accident")
