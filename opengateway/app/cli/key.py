"""key backup and key restore: the node's identity, outside the node."""

from __future__ import annotations

import os
import sqlite3
import sys
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from opengateway.app.cli import session
from opengateway.app.cli.lifecycle import Json
from opengateway.app.cli.output import emit_json, note, say
from opengateway.errors import OpenGatewayError, SetupError
from opengateway.home import Home

if TYPE_CHECKING:
    from opengateway.keys import Keys

PASSPHRASE = "OPENGATEWAY_PASSPHRASE"  # noqa: S105 - the name of one
"""Environment variable for scripts; people are asked."""


Backup = Annotated[
    Path | None,
    typer.Option("--from", metavar="BACKUP", help="Take the recovery key from what `key backup` wrote."),
]


def backup(
    file: Annotated[Path, typer.Argument(help="Where to write the encrypted keys.")],
    *,
    old: Backup = None,
    as_json: Json = False,
) -> None:
    """Write the node's key and its recovery key into FILE, encrypted with a passphrase."""
    from opengateway.identity import Identity, base32
    from opengateway.keys import seal

    home = session.home()
    if not home.identity_key.exists():
        raise SetupError("this node has no key yet", hint="opengateway start, or opengateway key show")
    keys = recovery_of(home, old)._replace(
        node=Identity.load_or_create(home.identity_key), genesis=_genesis(home.ledger_db)
    )
    sealed = seal(keys, _passphrase(twice=True))
    path = file.expanduser().absolute()
    try:
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as out:
            out.write(sealed)
            out.flush()
            os.fsync(out.fileno())
    except FileExistsError as error:
        raise OpenGatewayError(f"{path} is there already", hint="choose another name") from error
    except OSError as error:
        raise OpenGatewayError(
            f"cannot write {path}: {error.strerror}", hint="choose another place"
        ) from error
    if as_json:
        emit_json({"file": str(path), "id": base32(keys.node.node_id)})
        return
    say(f"Wrote the keys of {base32(keys.node.node_id)} to {path}.")
    note("  hint: keep it off this machine, and the passphrase elsewhere; without both nobody can help")


def restore(
    file: Annotated[Path, typer.Argument(help="What `key backup` wrote.")], *, as_json: Json = False
) -> None:
    """Put the keys in FILE back into this home, whose ledger is still there."""
    from opengateway.identity import base32
    from opengateway.keys import open_backup, write_key

    path = file.expanduser().absolute()
    try:
        data = path.read_bytes()
    except OSError as error:
        raise OpenGatewayError(f"cannot read {path}: {error.strerror}") from error
    keys = open_backup(data, _passphrase(twice=False))
    home = session.home()
    _require_ledger(home, keys.node.node_id)
    made = write_key(home.identity_key, keys.node)
    made = write_key(home.ledger_db.with_name("recovery.key"), keys.recovery) or made
    if as_json:
        emit_json({"id": base32(keys.node.node_id), "restored": made})
    else:
        say(f"This node is {base32(keys.node.node_id)}{'' if made else ', as it was'}.")


def recovery_of(home: Home, backup: Path | None) -> Keys:
    """The recovery key, and what a backup holds besides. Raises `OpenGatewayError`."""
    from opengateway.identity import Identity
    from opengateway.keys import Keys, open_backup

    path = home.ledger_db.with_name("recovery.key")
    if backup is not None:
        try:
            data = backup.expanduser().absolute().read_bytes()
        except OSError as error:
            raise OpenGatewayError(f"cannot read {backup}: {error.strerror}") from error
        return open_backup(data, _passphrase(twice=False, what="Passphrase of the backup"))
    if not path.exists() and home.ledger_db.exists():
        raise SetupError(
            f"the recovery key is not here ({path})",
            hint="put it back for a moment, or take it from a backup: --from BACKUP",
        )
    if not path.exists() and not home.identity_key.exists():
        raise SetupError("there is no recovery key here", hint="take it from a backup: --from BACKUP")
    recovery = Identity.load_or_create(path)
    return Keys(recovery, recovery)


def _genesis(ledger_db: Path) -> bytes:
    import cbor2

    if not ledger_db.exists():
        return b""
    try:
        with closing(sqlite3.connect(f"file:{ledger_db}?mode=ro", uri=True)) as db:
            row = db.execute("SELECT body, sig FROM entries WHERE seq = 0").fetchone()
    except sqlite3.Error as error:
        raise SetupError(f"the ledger in {ledger_db} cannot be read: {error}") from error
    return cbor2.dumps(list(row)) if row else b""


def _require_ledger(home: Home, node_id: bytes) -> None:
    """A key whose old ledger is left behind would begin a second one, and that is proof of fraud for ever."""
    hint = (
        "copy ledger.db, ledger.db-wal and ledger.db.mark from the old home into this one first; if they are "
        "lost: opengateway key rotate --lost --from BACKUP"
    )
    if not home.ledger_db.exists():
        raise SetupError(
            "the ledger of this key is not here, and beginning a second one would count as fraud", hint=hint
        )
    try:
        db = sqlite3.connect(f"file:{home.ledger_db}?mode=ro", uri=True)
        try:
            row = db.execute("SELECT peer FROM entries WHERE seq = 0").fetchone()
        finally:
            db.close()
    except sqlite3.Error as error:
        raise SetupError(f"the ledger in {home.ledger_db} cannot be read: {error}", hint=hint) from error
    if row is None or row[0] != node_id:
        raise SetupError(f"the ledger in {home.ledger_db} is not that of this key", hint=hint)


def _passphrase(*, twice: bool, what: str = "Passphrase") -> str:
    given = os.environ.get(PASSPHRASE)
    if given is not None:
        return given
    if not sys.stdin.isatty():
        raise session.WrongUsage("there is nobody to ask for a passphrase", hint=f"set {PASSPHRASE}")
    text: str = typer.prompt(what, hide_input=True, confirmation_prompt=twice, err=True)
    return text
