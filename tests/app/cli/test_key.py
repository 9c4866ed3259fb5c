"""key backup and key restore, as an owner types them."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from cli_lab import Run

from opengateway.home import Home
from opengateway.identity import Identity, base32, network_id
from opengateway.ledger.book import Book


@pytest.fixture(autouse=True)
def _passphrase(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENGATEWAY_PASSPHRASE", "correct horse battery staple")


@pytest.fixture
def owner(home: Home) -> Identity:
    """Somebody with a ledger."""
    home.path.mkdir(parents=True, exist_ok=True)
    me = Identity.load_or_create(home.identity_key)
    Book(home.ledger_db, me, network_id("x"), now_ms=lambda: 5).close()
    return me


def test_a_lost_key_comes_back_to_its_ledger(run: Run, home: Home, owner: Identity, tmp_path: Path) -> None:
    copy = tmp_path / "keys.txt"
    code, out, err = run("key", "backup", str(copy))
    assert code == 0 and base32(owner.node_id) in out and "passphrase" in err
    assert copy.stat().st_mode & 0o777 == 0o600
    recovery = home.ledger_db.with_name("recovery.key")
    before = recovery.read_bytes()
    home.identity_key.unlink()
    recovery.unlink()
    code, out, _ = run("key", "restore", str(copy), "--json")
    assert (code, json.loads(out)) == (0, {"id": base32(owner.node_id), "restored": True})
    assert Identity.load_or_create(home.identity_key).node_id == owner.node_id
    assert recovery.read_bytes() == before
    code, out, _ = run("key", "restore", str(copy), "--json")
    assert (code, json.loads(out)["restored"]) == (0, False)


def test_a_key_without_its_ledger_is_not_restored(
    run: Run, home: Home, owner: Identity, tmp_path: Path
) -> None:
    copy = tmp_path / "keys.txt"
    assert run("key", "backup", str(copy))[0] == 0
    shutil.rmtree(home.path)
    home.path.mkdir()
    code, _, err = run("key", "restore", str(copy))
    assert code == 1 and "fraud" in err and "ledger.db.mark" in err
    assert not home.identity_key.exists()
    Book(home.ledger_db, Identity.generate(), network_id("x"), now_ms=lambda: 5).close()
    code, _, err = run("key", "restore", str(copy))
    assert code == 1 and "not that of this key" in err


@pytest.mark.usefixtures("owner")
def test_an_existing_file_and_a_wrong_passphrase_are_refused(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy = tmp_path / "keys.txt"
    assert run("key", "backup", str(copy))[0] == 0
    code, _, err = run("key", "backup", str(copy))
    assert code == 1 and "already" in err
    monkeypatch.setenv("OPENGATEWAY_PASSPHRASE", "something else")
    assert run("key", "restore", str(copy))[0] == 1
    monkeypatch.setenv("OPENGATEWAY_PASSPHRASE", "short")
    assert run("key", "backup", str(tmp_path / "other"))[0] == 1


def test_without_a_key_there_is_nothing_to_back_up(run: Run, tmp_path: Path) -> None:
    code, _, err = run("key", "backup", str(tmp_path / "x"))
    assert code == 1 and "no key yet" in err
