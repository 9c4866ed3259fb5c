"""A copy of the node's keys that is safe to keep anywhere: encrypted with a passphrase.

    "opengateway keys 2\\n" base64(salt (16) || secretbox(node seed || recovery seed || genesis)) "\\n"

`genesis`: canonical CBOR [body, signature] of the first entry of the node's ledger, or nothing: who has lost
the ledger, too, proves by it that the recovery key is the one. Version 1 has none.

The key of the box is Argon2id of the passphrase with 256 MiB and 3 passes (libsodium's "moderate"): 0.7 s
for the owner, and as much for every guess of a thief.
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import os
from pathlib import Path
from typing import NamedTuple

from nacl.exceptions import CryptoError
from nacl.pwhash import argon2id
from nacl.secret import SecretBox

from opengateway.errors import IdentityUnreadable, SetupError
from opengateway.identity import SEED_BYTES, Identity

HEADER, HEADER_1 = b"opengateway keys 2\n", b"opengateway keys 1\n"
SHORTEST = 8
"""Characters of a passphrase: with fewer the cost of a guess is no protection."""
FILE_LIMIT = 4096


class Keys(NamedTuple):
    node: Identity
    recovery: Identity
    genesis: bytes = b""
    """[body, signature] of the ledger's first entry; empty if there is none."""


def seal(keys: Keys, passphrase: str) -> bytes:
    """The backup file. Raises `SetupError` for a passphrase that is too short."""
    if len(passphrase) < SHORTEST:
        raise SetupError(
            f"a passphrase of {len(passphrase)} characters protects nothing", hint="use four words or more"
        )
    salt = os.urandom(argon2id.SALTBYTES)
    box = _box(passphrase, salt).encrypt(keys.node.seed + keys.recovery.seed + keys.genesis)
    return HEADER + base64.b64encode(salt + bytes(box)) + b"\n"


def open_backup(data: bytes, passphrase: str) -> Keys:
    """Raises `IdentityUnreadable` if it is no backup, is damaged, or has another passphrase."""
    try:
        if len(data) > FILE_LIMIT or not data.startswith((HEADER, HEADER_1)):
            raise ValueError("header")
        raw = base64.b64decode(data[len(HEADER) :].strip(), validate=True)
    except (ValueError, binascii.Error) as error:
        raise IdentityUnreadable(
            "this is no backup of a node's keys", hint="opengateway key backup"
        ) from error
    salt, box = raw[: argon2id.SALTBYTES], raw[argon2id.SALTBYTES :]
    try:
        seeds = _box(passphrase, salt).decrypt(box)
        if len(seeds) < 2 * SEED_BYTES or (data.startswith(HEADER_1) and len(seeds) > 2 * SEED_BYTES):
            raise ValueError("length")
    except (CryptoError, ValueError) as error:
        raise IdentityUnreadable(
            "the passphrase is not the one of this backup, or the file is damaged", hint="try again"
        ) from error
    node, recovery, genesis = seeds[:SEED_BYTES], seeds[SEED_BYTES : 2 * SEED_BYTES], seeds[2 * SEED_BYTES :]
    return Keys(Identity(node), Identity(recovery), genesis)


def _box(passphrase: str, salt: bytes) -> SecretBox:
    key = argon2id.kdf(
        SecretBox.KEY_SIZE,
        passphrase.encode(),
        salt,
        opslimit=argon2id.OPSLIMIT_MODERATE,
        memlimit=argon2id.MEMLIMIT_MODERATE,
    )
    return SecretBox(key)


def write_key(path: Path, identity: Identity) -> bool:
    """Puts the key where it belongs; False if it is there already. Raises `SetupError` rather than
    overwrite another key, `IdentityUnreadable` if what is there cannot be read."""
    if path.exists():
        if Identity.load_or_create(path).node_id == identity.node_id:
            return False
        raise SetupError(
            f"{path} holds another key", hint="move it away first, if it is really no longer wanted"
        )
    draft = path.with_name(f"{path.name}.{os.getpid()}.new")
    try:
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(base64.b32encode(identity.seed) + b"\n")
            file.flush()
            os.fsync(file.fileno())
        os.link(draft, path)
    finally:
        with contextlib.suppress(FileNotFoundError):
            draft.unlink()
    return True
