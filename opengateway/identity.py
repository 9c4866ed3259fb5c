"""Who a node is: an Ed25519 key, and the networks it belongs to.

libsodium's rules decide what a valid signature is (it refuses small-order keys and non-canonical S,
which OpenSSL accepts), so one rule set holds for records, envelopes and the ledger alike.
"""

from __future__ import annotations

import base64
import hashlib
import os
from functools import lru_cache
from pathlib import Path

from nacl.bindings import crypto_sign, crypto_sign_BYTES, crypto_sign_open, crypto_sign_seed_keypair
from nacl.exceptions import CryptoError

from opengateway.errors import IdentityUnreadable
from opengateway.units import NetworkId, NodeId

SEED_BYTES = 32
SIGNATURE_BYTES = crypto_sign_BYTES
SHORT = 10
"""Characters of base32 that people see: 50 bits, enough to tell apart every node anyone will meet."""


class Identity:
    """A key pair. The seed never leaves this object except into its file."""

    __slots__ = ("_secret", "_seed", "node_id")

    def __init__(self, seed: bytes) -> None:
        public, self._secret = crypto_sign_seed_keypair(seed)
        self._seed = seed
        self.node_id = NodeId(public)

    def __repr__(self) -> str:
        return f"<Identity {short(self.node_id)}>"

    @property
    def seed(self) -> bytes:
        """For the key file and the key backup only."""
        return self._seed

    @classmethod
    def generate(cls) -> Identity:
        return cls(os.urandom(SEED_BYTES))

    @classmethod
    def load_or_create(cls, path: Path) -> Identity:
        """The key in `path`, made on first use. Raises `IdentityUnreadable`, and never overwrites."""
        try:
            return cls._load(path)
        except FileNotFoundError:
            pass
        fresh = cls.generate()
        draft = path.with_name(f"{path.name}.{os.getpid()}.new")
        try:
            with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
                file.write(base64.b32encode(fresh.seed) + b"\n")
                file.flush()
                os.fsync(file.fileno())
            os.link(draft, path)  # fails if somebody was faster: their key wins, none is lost
        except FileExistsError:
            return cls._load(path)
        finally:
            draft.unlink(missing_ok=True)
        return fresh

    @classmethod
    def _load(cls, path: Path) -> Identity:
        try:
            text = path.read_bytes()
        except FileNotFoundError:
            raise
        except OSError as error:
            raise IdentityUnreadable(
                f"cannot read the node's key {path}: {error.strerror}",
                hint=f"it must belong to you: chown $USER {path} && chmod 600 {path}",
            ) from error
        try:
            seed = base64.b32decode(text.strip())
        except ValueError:
            seed = b""
        if len(seed) != SEED_BYTES:
            raise IdentityUnreadable(
                f"{path} does not hold a node key",
                hint="restore it from your backup, or move it away to begin as a new node without its credit",
            )
        return cls(seed)

    def sign(self, message: bytes) -> bytes:
        """A detached Ed25519 signature, 64 bytes. Callers put a domain prefix before what they sign."""
        return crypto_sign(message, self._secret)[:SIGNATURE_BYTES]


def verify(node_id: bytes, message: bytes, signature: bytes) -> bool:
    """Whether `signature` over `message` is by `node_id`. Hostile input gives False, never an error."""
    if len(node_id) != 32 or len(signature) != SIGNATURE_BYTES:
        return False
    try:
        crypto_sign_open(signature + message, node_id)
    except (CryptoError, ValueError, TypeError):
        return False
    return True


def base32(node_id: bytes) -> str:
    """The whole id for people and URLs: 52 lower-case characters."""
    return base64.b32encode(node_id).decode().rstrip("=").lower()


@lru_cache(maxsize=1024)
def short(node_id: bytes) -> str:
    return base32(node_id)[:SHORT]


def from_base32(text: str) -> NodeId:
    """The id that `base32` wrote. Raises `ValueError`."""
    raw = base64.b32decode(text.strip().upper() + "====")
    if len(raw) != 32 or base32(raw) != text.strip().lower():
        raise ValueError(f"not a node id: {text!r}")
    return NodeId(raw)


def network_id(name: str, secret: str = "") -> NetworkId:
    """First 8 bytes of SHA-256 over the name and, in a private network, its secret."""
    hashed = hashlib.sha256(b"opengateway/1 network\n" + name.encode() + b"\n" + secret.encode())
    return NetworkId(hashed.digest()[:8])
