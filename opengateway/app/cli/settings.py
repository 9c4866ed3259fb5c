"""config and key."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from opengateway.app.cli import session
from opengateway.app.cli.lifecycle import Json
from opengateway.app.cli.output import emit_json, facts, note, say, table
from opengateway.app.cli.tables import Column
from opengateway.schema import Value

config_app = typer.Typer(help="This node's settings.", invoke_without_command=True)
key_app = typer.Typer(help="This node's key: who it is.", no_args_is_help=True)

HIDDEN = "(set)"


@config_app.callback()
def _default(context: typer.Context, *, as_json: Json = False) -> None:
    if context.invoked_subcommand is None:
        get(as_json=as_json)


@config_app.command()
def get(
    key: Annotated[str | None, typer.Argument(help="Such as http.port; every key without one.")] = None,
    *,
    as_json: Json = False,
) -> None:
    """Show one setting, or all of them with what they are for."""
    from opengateway.config import KEYS, flat, known_key, load

    if key is not None:
        name = known_key(key).name
        value = flat(load(session.home()))[name]
        emit_json({name: value}) if as_json else say(show(value))
        return
    values = flat(load(session.home()))
    # Secrets are shown only to who asks for one by name: a listing ends up in a bug report.
    shown = {name: HIDDEN if KEYS[name].secret and value else value for name, value in values.items()}
    if as_json:
        emit_json(shown)
        return
    rows = [
        (name, show(value), "" if values[name] == KEYS[name].default else "*", KEYS[name].doc)
        for name, value in shown.items()
    ]
    columns = (
        Column("KEY", style="cyan"),
        Column("VALUE", squeeze=True),
        Column("SET", drop=2),
        Column("WHAT IT IS FOR", fold=30, drop=1),
    )
    table(columns, rows, empty="")


@config_app.command("set")
def put(
    key: Annotated[str, typer.Argument(help="Such as http.port.")],
    value: Annotated[str, typer.Argument(help='The value; a list is "a:1,b:2".')],
    *,
    as_json: Json = False,
) -> None:
    """Change one setting."""
    _change(key, value, as_json=as_json)


@config_app.command()
def unset(key: Annotated[str, typer.Argument(help="Such as http.port.")], *, as_json: Json = False) -> None:
    """Go back to a setting's default."""
    _change(key, None, as_json=as_json)


@config_app.command()
def check(*, as_json: Json = False) -> None:
    """Check config.json; every mistake is named at once."""
    from opengateway.config import load

    home = session.home()
    place = load(home).place
    there = home.config.exists()
    if as_json:
        emit_json({"ok": True, "file": str(home.config), "exists": there, "region": place.code})
    else:
        say(f"{home.config} is fine" if there else f"there is no {home.config}: everything has its default")


@config_app.command("keys", hidden=True)
def documentation() -> None:
    """The table of settings as Markdown, for the documentation."""
    from opengateway.config import KEYS

    print("| key | default | values | what it is for |\n|---|---|---|---|")
    for key in KEYS.values():
        default = show(key.default) or "(empty)"
        print(f"| `{key.name}` | {default} | {key.wants} | {key.doc} |")


def _change(name: str, text: str | None, *, as_json: bool) -> None:
    from opengateway.config import KEYS, change, flat, known_key

    home = session.home()
    key = known_key(name)
    config = change(home, name, text)
    value: Value = HIDDEN if KEYS[key.name].secret and text else flat(config)[key.name]
    if as_json:
        emit_json({key.name: value})
        return
    say(f"{key.name} = {show(value) or '(empty)'}")
    if home.running_pid() is not None:
        note("  hint: the running node keeps the old one until `opengateway restart`")


def show(value: Value) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return ",".join(value) if isinstance(value, tuple) else str(value)


@key_app.command("show")
def key_show(*, as_json: Json = False) -> None:
    """This node's id and where its key is; makes the key if there is none yet."""
    from opengateway.identity import Identity, base32, short
    from opengateway.ledger.look import stamped

    home = session.home()
    home.prepare()
    node_id = Identity.load_or_create(home.identity_key).node_id
    found: dict[str, Any] = {"id": base32(node_id), "short": short(node_id), "file": str(home.identity_key)}
    found["stamp"] = "made" if stamped(home.ledger_db, node_id) else "not made yet"
    if as_json:
        emit_json(found)
    else:
        facts([("Id", found["id"]), ("Short", found["short"]), ("File", found["file"])])
        facts([("Stamp", f"{found['stamp']} (what strangers want to see before they serve on trust)")])
        note("  hint: whoever has this file is this node, with its credit: keep a copy in a safe place")
