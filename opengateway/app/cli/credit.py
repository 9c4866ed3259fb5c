"""ledger and audit."""

from __future__ import annotations

import datetime as dt
import sys
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any

import typer

from opengateway.app.cli import session
from opengateway.app.cli.lifecycle import Json
from opengateway.app.cli.output import emit_json, facts, say, table
from opengateway.app.cli.tables import Column
from opengateway.errors import OpenGatewayError
from opengateway.units import CREDIT, show_credits

app = typer.Typer(help="Credit: what this node earned and spent.", invoke_without_command=True)

HISTORY = (
    Column("SEQ", "right"),
    Column("WHEN"),
    Column("WHAT"),
    Column("PEER", style="cyan"),
    Column("NAME", squeeze=True, drop=3),
    Column("MODEL", squeeze=True, drop=2),
    Column("TOKENS", "right", drop=1),
    Column("CREDITS", "right"),
)

WHAT = {
    "genesis": "begun",
    "open": "asked",
    "settle": "paid",
    "earn": "earned",
    "adj": "transferred",
    "void": "not used",
    "rotate": "key given up",
    "carry": "carried over",
    "follow": "went over",
}
"""What the kinds of entries mean to whom they belong."""


@app.callback()
def _default(context: typer.Context, *, as_json: Json = False) -> None:
    if context.invoked_subcommand is None:
        balance(as_json=as_json)


@app.command()
def balance(*, as_json: Json = False) -> None:
    """What this node has, and who owes whom."""
    node = session.node()
    found = node.get("/node/ledger/balance")
    if as_json:
        emit_json(found)
        return
    accounts = node.get("/node/ledger/peers")["peers"]
    names = ("balance", "earned", "spent", "held")
    hour = [show_credits(int(found.get(key, 0))) for key in ("earned_last_hour", "spent_last_hour")]
    facts(
        [
            *((name.capitalize(), show_credits(int(found[name]))) for name in names),
            ("Last hour", f"earned {hour[0]}, spent {hour[1]}"),
            ("Owed to us", _owed(accounts, found.get("owed_to_us", 0), 1)),
            ("We owe", _owed(accounts, found.get("owed_by_us", 0), -1)),
            ("Entries", str(found["entries"])),
            ("Witnesses", _witnesses(found.get("witnesses") or {})),
        ]
    )


def _witnesses(found: dict[str, Any]) -> str:
    """Who stands by our newest checkpoint."""
    if found.get("read_only"):
        return f"nothing is signed: {found['read_only']}"
    by = found.get("cosigned_by") or []
    if not by:
        return "none yet: peers cosign a checkpoint within a minute of meeting"
    return f"{len(by)} cosigned the first {found['checkpoint']:,} entries ({', '.join(by[:3])})"


def _owed(accounts: list[dict[str, Any]], total: int, sign: int) -> str:
    """The sum, and the three who make most of it."""
    most = sorted((a for a in accounts if sign * int(a["net"]) > 0), key=lambda a: -sign * int(a["net"]))
    who = ", ".join(f"{a['name']} {show_credits(sign * int(a['net']))}" for a in most[:3])
    more = f" and {len(most) - 3} more" if len(most) > 3 else ""
    return show_credits(int(total)) + (f" ({'by' if sign > 0 else 'to'} {who}{more})" if who else "")


@app.command()
def history(
    *,
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, max=10_000, help="How many entries.")] = 20,
    as_json: Json = False,
) -> None:
    """The latest entries of this node's ledger: what every prompt cost or earned."""
    found = session.node().get("/node/ledger/history", limit=limit)
    if as_json:
        emit_json(found)
    else:
        table(HISTORY, [_entry(entry) for entry in found["entries"]], empty="the ledger is empty")


@app.command()
def peers(*, as_json: Json = False) -> None:
    """Who served whom, and who owes whom."""
    found = session.node().get("/node/ledger/peers")
    if as_json:
        emit_json(found)
        return
    columns = (
        Column("ID", style="cyan"),
        Column("NAME", squeeze=True),
        Column("WE SERVED", "right"),
        Column("WE USED", "right"),
        Column("NET", "right"),
        Column("IN FLIGHT", "right", drop=1),
        Column("UNPAID", "right", drop=2),
        Column("STATE", drop=3),
    )
    rows = [
        (
            peer["short"],
            peer["name"],
            *(show_credits(int(peer[key])) for key in ("served", "consumed", "net")),
            show_credits(int(peer.get("holding", 0)) + int(peer.get("reserved", 0))),
            show_credits(int(peer.get("unpaid", 0))),
            _state(peer),
        )
        for peer in found["peers"]
    ]
    table(columns, rows, empty="no dealings with anyone yet")


@app.command()
def export(
    file: Annotated[str, typer.Argument(help='Where to write the ledger; "-" is stdout.')],
    *,
    tiles: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="Also as tlog-tiles, for other tools.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Write the signed ledger into a file that `opengateway audit FILE` checks."""
    if file == "-" and tiles is not None:
        raise session.WrongUsage(
            "tiles are made from a file", hint="opengateway ledger export FILE --tiles FOLDER"
        )
    pieces = session.node().download("/node/ledger/export")
    if file == "-":
        for piece in pieces:
            sys.stdout.buffer.write(piece)
        sys.stdout.buffer.flush()
        return
    path = Path(file).expanduser().absolute()
    # Beside it first: an export that breaks off leaves no half ledger under the name that was asked for.
    draft = path.with_name(f".{path.name}.part")
    try:
        with draft.open("wb") as out:
            size = sum(out.write(piece) for piece in pieces)
        draft.replace(path)
    except OSError as error:
        raise OpenGatewayError(
            f"cannot write {path}: {(error.strerror or str(error)).lower()}", hint="choose another place"
        ) from error
    finally:
        draft.unlink(missing_ok=True)
    if tiles is not None:
        _write_tiles(path, tiles.expanduser().absolute())
    if as_json:
        emit_json({"file": str(path), "bytes": size})
    else:
        say(f"Wrote {size} bytes to {path}; check them with: opengateway audit {file}")


def _write_tiles(export: Path, folder: Path) -> None:
    from opengateway.ledger.ogwl import Torn, Unreadable
    from opengateway.ledger.tiles import write_tiles

    try:
        write_tiles(export, folder)
    except (OSError, Unreadable, Torn) as error:
        why = (error.strerror or str(error)).lower() if isinstance(error, OSError) else str(error)
        raise OpenGatewayError(
            f"cannot write tiles to {folder}: {why}", hint="choose another folder"
        ) from error


@app.command()
def transfer(
    amount: Annotated[str, typer.Argument(help="Credits, for example 1.5.")],
    *,
    debtor: Annotated[str, typer.Option("--from", metavar="PEER", help="Who owes this node now.")],
    to: Annotated[str, typer.Option("--to", metavar="PEER", help="Who shall owe it instead.")],
    over: Annotated[
        str, typer.Option("--over", metavar="PEER", help="Who owes the first and is owed by the second.")
    ] = "",
    as_json: Json = False,
) -> None:
    """Credit held at one peer becomes credit at another, which owes the first."""
    try:
        ucr = Decimal(amount) * CREDIT
    except ArithmeticError:
        ucr = Decimal(0)
    if not ucr.is_finite() or ucr <= 0 or ucr != ucr.to_integral_value() or ucr >= 1 << 62:
        raise session.WrongUsage(
            f"{amount} is no amount of credits", hint="above 0, with at most six decimals"
        )
    body = {"amount": int(ucr), "from": debtor, "over": over, "to": to}
    found = session.node().post("/node/ledger/transfer", body)
    if as_json:
        emit_json(found)
    else:
        say(f"{to} now owes this node {show_credits(found['moved'])} credits, and {debtor} that much less.")


def audit(context: typer.Context) -> None:
    """Check an exported ledger FILE; needs no node. More with `audit --help`."""
    if not context.args:
        raise session.WrongUsage(
            "which ledger?", hint="opengateway audit FILE; more with `opengateway audit --help`"
        )
    from opengateway.ledger import audit_cli

    raise typer.Exit(audit_cli.main(context.args))


def _entry(entry: dict[str, Any]) -> tuple[object, ...]:
    when = dt.datetime.fromtimestamp(int(entry["t_ms"]) / 1000, tz=dt.UTC).astimezone()
    tokens = [entry.get("prompt_tokens"), entry.get("completion_tokens")]
    return (
        entry["seq"],
        when.strftime("%Y-%m-%d %H:%M:%S"),
        WHAT.get(entry["type"], entry["type"]),
        str(entry.get("peer") or "")[:10],
        entry.get("name") or "",
        entry.get("model") or "",
        "+".join(str(count) for count in tokens if count is not None),
        _signed(entry),
    )


def _state(peer: dict[str, Any]) -> str:
    """Of an account that went over to a new key and is not agreed on yet."""
    if peer.get("disputed"):
        return f"disputed: {show_credits(int(peer['disputed']))}"
    return "moving" if peer.get("moving") else ""


def _signed(entry: dict[str, Any]) -> str:
    """What this did to the balance; of a request under way what it holds."""
    amount, hold = int(entry.get("amount") or 0), int(entry.get("hold") or 0)
    if entry["type"] == "open":
        return f"({show_credits(hold)} held)" if hold else ""
    return ("-" if entry["type"] == "settle" and amount else "") + (show_credits(amount) if amount else "0")
