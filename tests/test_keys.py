"""Backups of keys: what comes back, what does not open, and what is never overwritten."""

from __future__ import annotations

import base64
from pathlib import Path

import pytest
from nacl.pwhash import argon2id

from opengateway import keys
from opengateway.errors import IdentityUnreadable, SetupError
from opengateway.identity import Identity
from opengateway.keys import Keys, open_backup, seal, write_key

WORDS = "correct horse battery staple"


@pytest.fixture(autouse=True)
def _cheap(monkeypatch: pytest.MonkeyPatch) -> None:
    """As little as libsodium allows: 0.7 s for each of 100 guesses is for thieves."""
    monkeypatch.setattr(keys.argon2id, "OPSLIMIT_MODERATE", keys.argon2id.OPSLIMIT_MIN)
    monkeypatch.setattr(keys.argon2id, "MEMLIMIT_MODERATE", keys.argon2id.MEMLIMIT_MIN)


def some() -> Keys:
    return Keys(Identity(b"\x01" * 32), Identity(b"\x02" * 32), b"the first entry")


def test_both_keys_come_back_with_the_passphrase() -> None:
    found = open_backup(seal(some(), WORDS), WORDS)
    assert [key.seed for key in found[:2]] == [b"\x01" * 32, b"\x02" * 32]
    assert found.genesis == b"the first entry"


def test_a_backup_of_the_first_version_opens() -> None:
    salt = bytes(argon2id.SALTBYTES)
    box = bytes(keys._box(WORDS, salt).encrypt(b"\x01" * 32 + b"\x02" * 32))
    found = open_backup(b"opengateway keys 1\n" + base64.b64encode(salt + box) + b"\n", WORDS)
    assert [key.seed for key in found[:2]] == [b"\x01" * 32, b"\x02" * 32] and not found.genesis


def test_a_backup_shows_neither_key_and_is_never_the_same_twice() -> None:
    first, second = seal(some(), WORDS), seal(some(), WORDS)
    assert first != second and b"\x01" * 8 not in first


def test_another_passphrase_opens_nothing() -> None:
    with pytest.raises(IdentityUnreadable, match="passphrase"):
        open_backup(seal(some(), WORDS), WORDS + " ")


def test_no_flipped_byte_opens() -> None:
    good = seal(some(), WORDS)
    for place in range(0, len(good) - 1, 7):
        with pytest.raises(IdentityUnreadable):
            open_backup(good[:place] + bytes([good[place] ^ 1]) + good[place + 1 :], WORDS)
    for bad in (b"", good[:40], good + good, b"x" * 10_000):
        with pytest.raises(IdentityUnreadable):
            open_backup(bad, WORDS)


def test_a_short_passphrase_is_refused() -> None:
    with pytest.raises(SetupError, match="protects nothing"):
        seal(some(), "secret")


def test_another_key_is_never_overwritten(tmp_path: Path) -> None:
    path, (node, other, _) = tmp_path / "identity.key", some()
    assert write_key(path, node) and not write_key(path, node)
    assert path.stat().st_mode & 0o777 == 0o600
    with pytest.raises(SetupError, match="another key"):
        write_key(path, other)
    assert Identity.load_or_create(path).seed == node.seed
    assert [each.name for each in tmp_path.iterdir()] == ["identity.key"]
