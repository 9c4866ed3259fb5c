"""key rotate and ledger repair: the node goes on with a new key, and its accounts with it."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from opengateway.app.cli import session
from opengateway.app.cli.key import Backup, recovery_of
from opengateway.app.cli.lifecycle import Json
from opengateway.app.cli.output import emit_json, facts, note, say
from opengateway.errors import SetupError
from opengateway.home import Home
from opengateway.units import NetworkId, show_credits

if TYPE_CHECKING:
    from opengateway.ledger.rotation import Rotation

Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]


def rotate(
    *,
    lost: Annotated[
        bool,
        typer.Option("--lost", help="The key is lost, or somebody else has it: the recovery key is enough."),
    ] = False,
    backup: Backup = None,
    yes: Yes = False,
    as_json: Json = False,
) -> None:
    """Give up this node's key and go on with a new one. Its accounts follow.

    Needs the recovery key: `recovery.key` in the home folder, or `--from BACKUP`."""
    from opengateway.app import key_change
    from opengateway.app.repair import standing

    home = session.home()
    net = _network(home)
    _require_not_begun(home)
    keys = recovery_of(home, backup)
    if not lost and not home.identity_key.exists():
        raise SetupError("the key of this node is not here", hint="opengateway key rotate --lost")
    found = standing(home.ledger_db)
    rows = [
        ("Accounts", f"{found.accounts}, all of which go over to the new key"),
        ("Owed to us", show_credits(found.owed_to_us)),
        ("We owe", show_credits(found.owed_by_us)),
        ("The old key", "gives itself up, and is refused by everybody who hears of it" if not lost else ""),
        (
            "The old key",
            "is refused by everybody who hears of it; what a thief spent with it until then is gone"
            if lost
            else "",
        ),
    ]
    if not found.entries:
        rows = [("Accounts", "the ledger is not here: what others owe is asked of them as they are met")]
    _ask("Give up this node's key?", rows, yes=yes)
    with _stopped(home), home.hold():
        if lost:
            key_change.begin_lost(home, net, keys.recovery, _now_ms, keys.genesis)
        else:
            key_change.begin_planned(home, net, keys.recovery, _now_ms)
        done = key_change.finish(home, net, _now_ms)
    _told(done, as_json=as_json)


def repair(
    *,
    accept: Annotated[
        str,
        typer.Option(
            "--accept", metavar="PEER", help="Take a disputed account as this peer shows it, and no more."
        ),
    ] = "",
    now: Annotated[
        bool, typer.Option("--now", help="Do not wait for what peers may still give back.")
    ] = False,
    backup: Backup = None,
    yes: Yes = False,
    as_json: Json = False,
) -> None:
    """Mend a ledger that signs nothing any more, because an old copy of it was put back, or it is damaged.

    The node goes on with a new key. What its old key signed in either history is owed to those who hold it,
    what others owe stays owed, and nobody gives the new key credit for what came before."""
    if accept:
        found = session.node().post("/node/ledger/accept", {"peer": accept})
        emit_json(found) if as_json else say(f"The account with {accept} is taken as it is shown there.")
        return
    home = session.home()
    net = _network(home)
    _require_not_begun(home)
    done: Rotation | None = None
    if home.running_pid() is None or _sick(session.node().get("/node/ledger/balance")):
        with _stopped(home):
            done = _repair(home, net, backup, now=now, yes=yes)
    if done is not None:
        _told(done, as_json=as_json)
    elif as_json:
        emit_json({"repaired": False})
    else:
        say("Nothing is wrong with this ledger.")


def _sick(balance: dict[str, Any]) -> bool:
    return bool(balance["witnesses"]["read_only"]) or bool(balance["accused"])


def _repair(home: Home, net: NetworkId, backup: Path | None, *, now: bool, yes: bool) -> Rotation | None:
    """None: there was nothing to do."""
    from opengateway.app import key_change
    from opengateway.app.repair import diagnose

    with home.hold():
        what = diagnose(home, net, _now_ms)
    if not what.why:
        return None
    if what.heals and not now:
        raise SetupError(
            f"{what.why}: peers may still have what is missing",
            hint="opengateway start, with them in reach; if it stays so: opengateway ledger repair --now",
        )
    keys = recovery_of(home, backup)
    _ask("Repair it?", [("Why", what.why), ("What happens", what.consequence)], yes=yes)
    with home.hold():
        if what.excuse:
            return key_change.excuse_before(home, net, keys.recovery, what.first, _now_ms)
        key_change.begin_lost(home, net, keys.recovery, _now_ms, keys.genesis, what.first)
        return key_change.finish(home, net, _now_ms)


def _told(done: Rotation | None, *, as_json: bool) -> None:
    from opengateway.identity import base32

    assert done is not None
    if as_json:
        emit_json({"old": base32(done.old), "new": base32(done.new), "repaired": bool(done.accident)})
        return
    say(f"This node is now {base32(done.new)}.")
    note("  hint: make a new backup now (opengateway key backup); the old one holds the old key")


def _network(home: Home) -> NetworkId:
    from opengateway.config import load
    from opengateway.identity import network_id

    network = load(home).network
    return network_id(network.name, network.secret)


def _require_not_begun(home: Home) -> None:
    if (home.path / "rotation" / "papers").exists():
        raise SetupError("a change of keys was begun and not finished", hint="opengateway start finishes it")


def _ask(question: str, rows: list[tuple[str, str]], *, yes: bool) -> None:
    """Raises `WrongUsage` where there is nobody to ask, `typer.Exit` if the answer is no."""
    if yes:
        return
    facts(rows)
    if not sys.stdin.isatty():
        raise session.WrongUsage("there is nobody to ask whether to go on", hint="say --yes")
    if not typer.confirm(question, err=True):
        note("nothing has happened")
        raise typer.Exit(1)


@contextmanager
def _stopped(home: Home) -> Iterator[None]:
    """The node does not run meanwhile. One that ran before runs afterwards, whatever came of it."""
    from opengateway.app import daemon

    ran = home.running_pid() is not None
    if ran:
        daemon.configure(home, {})  # a mistake in the settings must not cost the running node
        daemon.stop(home)
    try:
        yield
    finally:
        if ran:
            daemon.start(home, {}, tell=note)


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
