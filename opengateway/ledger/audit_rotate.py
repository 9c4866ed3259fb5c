"""The last entry of a chain whose key was given up: who comes after it, by leave of the recovery key.

author = the old key, peer = the new key, link = SHA-256(recovery public key) as in the GENESIS, nothing else
beside it: the recovery public key, and Ed25519(recovery, "OGW1 rotate\\n" || leaf)
"""

from __future__ import annotations

import hashlib

from opengateway.identity import verify
from opengateway.ledger.entry import ROTATE, Signed
from opengateway.ledger.rules import RuleBroken

_DOMAIN = b"OGW1 rotate\n"


def check_rotate(signed: Signed, parts: list[bytes], recovery: bytes) -> None:
    """`recovery`: what the GENESIS of this chain commits to. Raises `RuleBroken`."""
    entry = signed.entry
    if entry.link != recovery:
        raise RuleBroken("E_ROTATE", "a ROTATE by another recovery key than the GENESIS commits to")
    if len(parts) != 2:
        raise RuleBroken("E_ROTATE", "a ROTATE without the recovery key's signature")
    if hashlib.sha256(parts[0]).digest() != recovery:
        raise RuleBroken("E_ROTATE", "the key beside a ROTATE is not the recovery key")
    if not verify(parts[0], _DOMAIN + signed.leaf, parts[1]):
        raise RuleBroken("E_ROTATE", "the recovery key's signature is not valid")


def check_not_after(before: Signed) -> None:
    if before.entry.kind == ROTATE:
        raise RuleBroken("E_ROTATE", "an entry by a key that was given up in the entry before")
