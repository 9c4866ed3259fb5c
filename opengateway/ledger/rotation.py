"""A change of keys: the papers by which everybody knows who comes after a key, and by whose leave.

    ROTATE    the last entry of the old chain: author the old key, peer the new one, link as in the GENESIS
    papers    canonical CBOR ["ogw-rotation/1", [GENESIS body, signature], [ROTATE body, signature or empty],
              recovery public key, Ed25519(recovery, "OGW1 rotate\\n" || leaf of the ROTATE),
              Ed25519(new key, "OGW1 succeed\\n" || leaf of the ROTATE), first,
              empty, or Ed25519(recovery, "OGW1 repair\\n" || SHA-256(cbor [leaf of the ROTATE, first]))]

The GENESIS commits to the recovery key (link = SHA-256 of it), so nobody else can write them. The old key
signs too where its owner still has it, and the new one agrees: nobody gets another's debts. `first` names an
accident, 0 if there was none: from this place on the old key signed two histories, because an old copy of the
ledger was put back.
"""

from __future__ import annotations

import hashlib
from typing import Final, NamedTuple

import cbor2

from opengateway.identity import Identity, verify
from opengateway.ledger.entry import (
    GENESIS,
    INTEGER_LIMIT,
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
"""Bytes. They have about 950."""

_ROTATE, _SUCCEED, _REPAIR = b"OGW1 rotate\n", b"OGW1 succeed\n", b"OGW1 repair\n"


class RotationInvalid(ValueError):
    """These papers do not prove a change of keys."""


class Rotation(NamedTuple):
    genesis: Signed
    """Of the old chain."""
    rotate: Signed
    """Its signature is empty where the old key was not at hand."""
    recovery: bytes
    signature: bytes
    consent: bytes
    """The new key's signature."""
    accident: int = 0
    """From this place on the old key signed two histories; 0: it did not."""
    accident_signature: bytes = b""

    @property
    def old(self) -> NodeId:
        return self.rotate.entry.author

    @property
    def new(self) -> NodeId:
        return self.rotate.entry.peer

    def excuses_more(self, known: Rotation) -> bool:
        """Than other papers of the same change of keys."""
        return bool(self.accident) and (not known.accident or self.accident < known.accident)

    @property
    def wire(self) -> bytes:
        halves = [[one.body, one.signature] for one in (self.genesis, self.rotate)]
        accident = self.accident, self.accident_signature
        signed = self.recovery, self.signature, self.consent
        return cbor2.dumps(["ogw-rotation/1", *halves, *signed, *accident])


def rotate_entry(genesis: Entry, new: NodeId, *, seq: int, prev: bytes, t_ms: int, totals: Totals) -> Entry:
    """The last entry of the chain that ends before `seq` with the leaf `prev`."""
    start = (VERSION, ROTATE, genesis.net, genesis.author, seq, prev, t_ms, new, ZERO16, genesis.link)
    return Entry._make((*start, *Terms(), *totals, *Pair(), ZERO32))


def authorise(
    genesis: Signed, rotate: Signed, recovery: Identity, new: Identity, accident: int = 0
) -> Rotation:
    """Raises `RotationInvalid` if this is not the recovery key of that chain."""
    if hashlib.sha256(recovery.node_id).digest() != genesis.entry.link:
        raise RotationInvalid("this is not the recovery key that the ledger began with")
    signature = recovery.sign(_ROTATE + rotate.leaf)
    excused = recovery.sign(_accident(rotate.leaf, accident)) if accident else b""
    consent = new.sign(_SUCCEED + rotate.leaf)
    return Rotation(genesis, rotate, recovery.node_id, signature, consent, accident, excused)


def excuse(rotation: Rotation, recovery: Identity, first: int) -> Rotation:
    """The same change of keys, which names an accident. Raises `RotationInvalid`."""
    if recovery.node_id != rotation.recovery:
        raise RotationInvalid("this is not the recovery key that the ledger began with")
    signature = recovery.sign(_accident(rotation.rotate.leaf, first))
    return rotation._replace(accident=first, accident_signature=signature)


def _accident(leaf: bytes, first: int) -> bytes:
    return _REPAIR + hashlib.sha256(cbor2.dumps([leaf, first])).digest()


def read_rotation(data: bytes, net: NetworkId | bytes, *, known: bool = False) -> Rotation:
    """0.3 ms, five signatures; `known`: they were checked before. Raises `RotationInvalid`."""
    if len(data) > PAPERS_LIMIT:
        raise RotationInvalid(f"{len(data)} bytes")
    try:
        value = cbor2.loads(data)
        name, first, last, recovery, signature, consent, accident, excused = value
        if name != "ogw-rotation/1" or cbor2.dumps(value) != data:
            raise RotationInvalid("not the papers of a change of keys")
        genesis, rotate = _signed(first, net), _signed(last, net)
    except RotationInvalid:
        raise
    except (EntryInvalid, RuleBroken) as error:
        raise RotationInvalid(f"an entry of them is none: {error}") from error
    except Exception as error:  # cbor2 raises many kinds on hostile input
        raise RotationInvalid("not the papers of a change of keys") from error
    found = Rotation(genesis, rotate, recovery, signature, consent, accident, excused)
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
    strings = (found.recovery, found.signature, found.consent, found.accident_signature)
    if any(type(item) is not bytes for item in strings) or type(found.accident) is not int:
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
    if not verify(found.new, _SUCCEED + rotate.leaf, found.consent):
        raise RotationInvalid("the new key did not agree")
    if not 0 <= found.accident < INTEGER_LIMIT or bool(found.accident) != bool(found.accident_signature):
        raise RotationInvalid("an accident that is not named, or not signed")
    accident = _accident(rotate.leaf, found.accident)
    if found.accident and not verify(found.recovery, accident, found.accident_signature):
        raise RotationInvalid("the recovery key did not sign for that accident")
