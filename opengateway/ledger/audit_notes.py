"""Checkpoints as an auditor meets them: C2SP signed notes over the size and root of a ledger's tree, signed
by its author, cosigned by witnesses.

    opengateway/<network, hex>/<author, hex>
    <size>
    <root, base64>

    — opengateway/<network, hex>/<author, hex> <base64(key hash (4) || signature (64))>
    — opengateway/<witness, hex> <base64(key hash (4) || seconds (8) || signature (64))>

Key hash: first 4 bytes of SHA-256(name || "\\n" || kind || key), kind 1 for the author's signature over the
text, kind 4 for a cosignature over "cosignature/v1\\ntime <seconds>\\n" || text (c2sp.org/signed-note,
tlog-checkpoint, tlog-cosignature). Signatures by other keys are passed over, as signed-note demands.
The origin names the network, because one key may have a ledger in each of several: without it a checkpoint of
one, shown in another, would be the proof of a second history there.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from dataclasses import dataclass, field

from opengateway.identity import verify

NOTE_LIMIT = 64 << 10
"""Bytes of a note: 300 cosignatures."""
_NAME = re.compile(r"opengateway/([0-9a-f]{64})")
_ORIGIN = re.compile(r"opengateway/([0-9a-f]{16})/([0-9a-f]{64})")
_SIZE = re.compile(r"0|[1-9][0-9]{0,18}")
_SIGNATURE, _COSIGNATURE = 1, 4


@dataclass(slots=True)
class Note:
    author: bytes
    net: bytes
    size: int
    root: bytes
    text: bytes
    """What is signed."""
    signature: bytes = b""
    """The author's; empty if there is no good one."""
    cosigned: list[tuple[bytes, int, bytes]] = field(default_factory=list)
    """Witness, seconds since 1970, signature; good ones only."""
    bad: list[bytes] = field(default_factory=list)
    """Witnesses named by a cosignature that is not theirs."""


def read_note(text: str) -> Note:
    """A checkpoint with every signature checked. Raises `ValueError` if it is none."""
    head, gap, tail = text.rpartition("\n\n")
    lines = head.split("\n")
    if len(text) > NOTE_LIMIT or not gap or not tail.endswith("\n") or "\r" in text or "" in lines:
        raise ValueError("not a signed note")
    named = _ORIGIN.fullmatch(lines[0])
    if len(lines) < 3 or named is None or not _SIZE.fullmatch(lines[1]):
        raise ValueError("not a checkpoint of a ledger")
    root = _decode(lines[2])
    if len(root) != 32:
        raise ValueError("a root has 32 bytes")
    net, author = bytes.fromhex(named[1]), bytes.fromhex(named[2])
    note = Note(author, net, int(lines[1]), root, f"{head}\n".encode())
    for line in tail[:-1].split("\n"):
        words = line.split(" ")
        if len(words) != 3 or words[0] != "—":
            raise ValueError("not a signature line")
        data = _decode(words[2])
        if len(data) < 5:
            raise ValueError("not a signature")
        _take(note, words[1], data)
    return note


def _take(note: Note, name: str, data: bytes) -> None:
    if name == origin(note.net, note.author):
        known = len(data) == 68 and data[:4] == key_hash(name, _SIGNATURE, note.author)
        if known and verify(note.author, note.text, data[4:]):
            note.signature = data[4:]
        return
    witness = _NAME.fullmatch(name)
    key = bytes.fromhex(witness[1]) if witness else b""
    if witness and len(data) == 76 and data[:4] == key_hash(name, _COSIGNATURE, key):
        seconds = int.from_bytes(data[4:12], "big")
        if verify(key, cosigned_text(seconds, note.text), data[12:]):
            note.cosigned.append((key, seconds, data[12:]))
        else:
            note.bad.append(key)


def origin(net: bytes, author: bytes) -> str:
    """First line of a checkpoint, and the name of its author's key: which ledger it is of."""
    return f"opengateway/{net.hex()}/{author.hex()}"


def key_hash(name: str, kind: int, key: bytes) -> bytes:
    return hashlib.sha256(name.encode() + b"\n" + bytes([kind]) + key).digest()[:4]


def cosigned_text(seconds: int, text: bytes) -> bytes:
    return f"cosignature/v1\ntime {seconds}\n".encode() + text


def _decode(text: str) -> bytes:
    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise ValueError("not base64") from error
    if base64.b64encode(data).decode() != text:
        raise ValueError("another base64 of the same bytes")
    return data
