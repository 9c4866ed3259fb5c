"""key rotate and ledger repair: whole or not at all, and as an owner types them."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest
from cli_lab import Run
from rotation_lab import MEMORY

from opengateway.config import load
from opengateway.home import Home
from opengateway.identity import Identity, base32, network_id
from opengateway.ledger.accusations import Accusations
from opengateway.ledger.book import Book
from opengateway.units import NetworkId

KILLS = Path(__file__).parents[2] / "rotation_kills.py"


def kills(*more: str) -> int:
    with tempfile.TemporaryDirectory(dir=MEMORY) as folder:
        return _kills(folder, *more)


def _kills(folder: str, *more: str) -> int:
    done = subprocess.run(
        [sys.executable, str(KILLS), folder, *more],
        capture_output=True, text=True, check=False, timeout=300,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return int(done.stdout)


@pytest.mark.parametrize("how", ["planned", "lost"])
def test_killed_in_the_midst_of_it_the_node_is_the_old_one_or_the_new_one(how: str) -> None:
    assert kills(how, "6") > 30


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("how", ["planned", "lost"])
def test_killed_at_any_file_it_touches_and_again_while_it_finishes(how: str) -> None:
    assert kills(how, "1", "6") > 30


def now_ms() -> int:
    return time.time_ns() // 1_000_000


@pytest.fixture(autouse=True)
def _passphrase(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENGATEWAY_PASSPHRASE", "correct horse battery staple")


@pytest.fixture
def net(home: Home) -> NetworkId:
    network = load(home).network
    return network_id(network.name, network.secret)


@pytest.fixture
def owner(home: Home, net: NetworkId) -> Identity:
    """Somebody with a ledger."""
    home.prepare()
    me = Identity.load_or_create(home.identity_key)
    Book(home.ledger_db, me, net, now_ms=now_ms).close()
    return me


def key_of(home: Home) -> bytes:
    return Identity.load_or_create(home.identity_key).node_id


def test_a_key_is_changed_and_the_recovery_key_stays(run: Run, home: Home, owner: Identity) -> None:
    recovery = home.ledger_db.with_name("recovery.key").read_bytes()
    code, out, err = run("key", "rotate", "--yes")
    assert code == 0, err
    assert base32(key_of(home)) in out and "backup" in err
    assert key_of(home) != owner.node_id
    assert home.ledger_db.with_name("recovery.key").read_bytes() == recovery
    second = key_of(home)
    assert run("key", "rotate", "--yes")[0] == 0  # by the same recovery key
    assert key_of(home) not in {owner.node_id, second}


@pytest.mark.usefixtures("owner")
def test_nobody_is_rotated_without_being_asked(run: Run, home: Home) -> None:
    before = key_of(home)
    code, out, err = run("key", "rotate")
    assert code == 2 and "--yes" in err and "Owed to us" in out
    assert key_of(home) == before and not (home.path / "rotation").exists()


def test_the_recovery_key_may_be_in_a_backup_only(
    run: Run, home: Home, owner: Identity, tmp_path: Path
) -> None:
    copy, again = tmp_path / "keys.txt", tmp_path / "again.txt"
    assert run("key", "backup", str(copy))[0] == 0
    home.ledger_db.with_name("recovery.key").unlink()
    code, _, err = run("key", "rotate", "--yes")
    assert code == 1 and "--from BACKUP" in err and key_of(home) == owner.node_id
    assert run("key", "rotate", "--yes", "--from", str(copy))[0] == 0
    assert key_of(home) != owner.node_id
    assert run("key", "backup", str(again), "--from", str(copy))[0] == 0
    code, _, err = run("key", "restore", str(copy))
    assert code == 1 and "not that of this key" in err, "the old backup holds a key that was given up"


@pytest.mark.usefixtures("owner")
def test_another_recovery_key_changes_nothing(run: Run, home: Home) -> None:
    before = key_of(home)
    path = home.ledger_db.with_name("recovery.key")
    path.unlink()
    Identity.load_or_create(path)
    for words in (("rotate",), ("rotate", "--lost")):
        code, _, err = run("key", *words, "--yes")
        assert code == 1 and "not the recovery key" in err
        assert key_of(home) == before and not (home.path / "rotation" / "papers").exists()
    assert not damage_of(home)


def damage_of(home: Home) -> str:
    network = load(home).network
    book = Book(
        home.ledger_db,
        Identity.load_or_create(home.identity_key),
        network_id(network.name, network.secret),
        now_ms=now_ms,
    )
    try:
        return book.damage
    finally:
        book.close()


@pytest.mark.usefixtures("owner")
def test_a_lost_key_needs_lost(run: Run, home: Home) -> None:
    old = key_of(home)
    home.identity_key.unlink()
    code, _, err = run("key", "rotate", "--yes")
    assert code == 1 and "--lost" in err
    code, out, _ = run("key", "rotate", "--lost", "--yes", "--json")
    assert code == 0 and json.loads(out)["old"] == base32(old)
    assert key_of(home) != old


@pytest.mark.usefixtures("owner")
def test_a_sound_ledger_is_not_repaired(run: Run, home: Home) -> None:
    before = key_of(home)
    code, out, _ = run("ledger", "repair", "--yes")
    assert code == 0 and "Nothing is wrong" in out and key_of(home) == before


@pytest.mark.usefixtures("owner")
def test_an_accused_key_is_repaired_and_names_the_place(run: Run, home: Home) -> None:
    before = key_of(home)
    Accusations(home.ledger_db).add(3)
    code, _, err = run("ledger", "repair")
    assert code == 2 and "--yes" in err and key_of(home) == before
    code, out, _ = run("ledger", "repair", "--yes", "--json")
    assert code == 0 and json.loads(out)["repaired"] is True
    assert key_of(home) != before
    code, out, _ = run("ledger", "repair", "--yes")
    assert code == 0 and "Nothing is wrong" in out, "the accusation is of the old key"


@pytest.mark.usefixtures("owner")
def test_what_peers_may_still_give_back_is_waited_for_unless_told_not_to(run: Run, home: Home) -> None:
    before = key_of(home)
    mark = home.ledger_db.with_name("ledger.db.mark")
    mark.unlink()
    code, _, err = run("ledger", "repair", "--yes")
    assert code == 1 and "--now" in err and key_of(home) == before
    assert run("ledger", "repair", "--now", "--yes")[0] == 0
    assert key_of(home) != before and not damage_of(home)


@pytest.mark.usefixtures("owner")
def test_a_change_that_was_begun_is_finished_first(run: Run, home: Home, tmp_path: Path) -> None:
    shutil.copytree(home.path, tmp_path / "copy")
    assert run("key", "rotate", "--yes")[0] == 0
    (home.path / "rotation").mkdir()
    (home.path / "rotation" / "papers").write_bytes(b"half of it")
    for words in (("key", "rotate"), ("ledger", "repair")):
        code, _, err = run(*words, "--yes")
        assert code == 1 and "opengateway start" in err
