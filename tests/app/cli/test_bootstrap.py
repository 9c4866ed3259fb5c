"""bootstrap make, sign, verify and key, join and start --invite, as an owner types them; no node runs."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest
from cli_lab import Run

from opengateway.config import load
from opengateway.discovery.invitation import Invitation, write
from opengateway.home import Home
from opengateway.identity import Identity, base32

NODE = Identity(bytes(range(32))).node_id
SECRET = "correct horse battery staple"


@pytest.fixture
def line() -> str:
    soon = int(time.time() * 1000) + 60_000
    return write(Invitation("family", SECRET, soon, ((NODE, "tcp://8.8.4.4:11436"),), ("8.8.4.4:11437",)))


def test_a_document_is_made_signed_and_verified(run: Run, tmp_path: Path) -> None:
    file, key = tmp_path / "list.json", tmp_path / "publisher.key"
    mine = json.loads(run("key", "show", "--json")[1])["id"]
    other = run("bootstrap", "key", str(key))[1].strip()
    assert key.stat().st_mode & 0o777 == 0o600
    node = f"{base32(NODE)}@8.8.4.4:11436"
    code, out, _ = run("bootstrap", "make", str(file), "--node", node, "--dht", "8.8.4.4:11437")
    assert (code, "1 nodes, 1 DHT entries, valid for 90 days" in out) == (0, True)
    trusted = ["--publisher", mine, "--publisher", other, "--needed", "2"]

    def verify() -> tuple[int, str]:
        code, out, err = run("bootstrap", "verify", str(file), *trusted)
        return code, out + err

    assert verify()[0] == 1 and "nobody has signed it" in verify()[1]
    assert run("bootstrap", "sign", str(file))[0] == 0
    assert verify()[0] == 1 and "1 of the trusted publishers signed it, and 2 must" in verify()[1]
    assert run("bootstrap", "sign", str(file), "--key", str(key))[0] == 0
    assert verify()[0] == 0 and "is good" in verify()[1]
    file.write_bytes(file.read_bytes().replace(b"8.8.4.4", b"6.6.6.6"))
    assert verify()[0] == 1 and "it was altered" in verify()[1]
    assert run("bootstrap", "verify", str(file))[2].count("no publisher is trusted here") == 1


@pytest.mark.parametrize(
    ("args", "code", "said"),
    [
        (("make", "OUT", "--node", "8.8.4.4:1"), 2, "does not say who answers there"),
        (("make", "OUT", "--node", f"{'a' * 52}@example.org:1"), 2, "--node ID@ADDRESS:PORT"),
        (("make", "OUT", "--node", "someone@8.8.4.4:1"), 2, "--node ID@ADDRESS:PORT"),
        (("make", "OUT"), 1, "no node is running"),
        (("sign", "MISSING"), 1, "there is no key"),
        (("verify", "MISSING"), 1, "cannot read"),
        (("verify", "JUNK", "--publisher", "x"), 1, "it is not one"),
    ],
)
def test_what_cannot_be_done_is_said(
    run: Run, tmp_path: Path, args: tuple[str, ...], code: int, said: str
) -> None:
    (tmp_path / "JUNK").write_text("{}")
    paths = {name: str(tmp_path / name) for name in ("OUT", "MISSING", "JUNK")}
    got, _, err = run("bootstrap", *(paths.get(arg, arg) for arg in args))
    assert got == code
    assert said in err
    assert "Traceback" not in err


def test_a_fresh_home_joins_by_an_invitation(run: Run, home: Home, line: str) -> None:
    code, out, err = run("join", line)
    assert (code, out) == (0, "This node belongs to the network family now.\n")
    assert SECRET not in out + err
    config = load(home)
    assert (config.network.name, config.network.secret) == ("family", SECRET)
    assert config.wire.bootstrap == (f"{base32(NODE)}@8.8.4.4:11436",)
    assert config.dht.entries == ("8.8.4.4:11437",)
    assert home.config.stat().st_mode & 0o777 == 0o600


def test_a_second_invitation_to_the_same_network_adds_entries(run: Run, home: Home, line: str) -> None:
    run("join", line)
    run("config", "set", "dht.entries", "9.9.9.9:1")
    run("connect", line)
    assert load(home).dht.entries == ("9.9.9.9:1", "8.8.4.4:11437")
    assert len(load(home).wire.bootstrap) == 1


def test_settings_that_have_nothing_to_do_with_it_stay(run: Run, home: Home, line: str) -> None:
    run("config", "set", "http.port", "0")
    run("join", line)
    assert load(home).http.port == 0


@pytest.mark.parametrize("spoil", [lambda text: text[:-4], lambda text: text[:30] + text[31:]])
def test_a_mistyped_invitation_changes_nothing(run: Run, home: Home, line: str, spoil: object) -> None:
    code, _, err = run("join", spoil(line))  # type: ignore[operator]
    assert code == 1
    assert "this invitation is damaged" in err
    assert not home.config.exists()


def test_an_expired_invitation_says_so(run: Run, home: Home) -> None:
    code, _, err = run("start", "--invite", write(Invitation("family", SECRET, 1, (), ())))
    assert code == 1
    assert "this invitation has expired" in err
    assert SECRET not in err
    assert not home.config.exists()


def test_a_home_with_a_ledger_of_another_network_is_left_alone(run: Run, home: Home, line: str) -> None:
    home.path.mkdir(parents=True)
    home.ledger_db.touch()
    code, _, err = run("join", line)
    assert code == 1
    assert "this home belongs to the network 'opengateway'" in err
    assert f"--home {home.path}-family start --invite" in err
    assert not home.config.exists()
