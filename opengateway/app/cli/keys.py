"""keys: who else may use this node's HTTP port, and how much."""

from __future__ import annotations

import time
from dataclasses import asdict
from decimal import Decimal, InvalidOperation
from typing import Annotated, Any

import typer

from opengateway.app.cli import session
from opengateway.app.cli.lifecycle import Json
from opengateway.app.cli.output import emit_json, facts, note, say, table
from opengateway.app.cli.session import WrongUsage
from opengateway.app.cli.tables import Column
from opengateway.units import CREDIT, show_credits

app = typer.Typer(help="API keys: who else may use this node's port.", invoke_without_command=True)

COLUMNS = (
    Column("KEY", style="cyan"),
    Column("NAME", squeeze=True),
    Column("MADE"),
    Column("MODELS", squeeze=True, drop=1),
    Column("TOKENS", "right"),
    Column("CREDITS", "right"),
    Column("PER"),
    Column("RATE", "right", drop=2),
)
NAME_LIMIT = 64


@app.callback()
def _default(context: typer.Context, *, as_json: Json = False) -> None:
    if context.invoked_subcommand is None:
        list_keys(as_json=as_json)


@app.command()
def add(
    name: Annotated[str, typer.Argument(help="Who it is for; shown in the list.")],
    model: Annotated[
        list[str] | None, typer.Option(help="A model that it may ask for; may be given again. Default: all.")
    ] = None,
    tokens: Annotated[int, typer.Option(help="Tokens, prompt and answer together; 0 is without limit.")] = 0,
    credit: Annotated[str, typer.Option("--credits", help="Credits that its requests may cost.")] = "0",
    *,
    per: Annotated[str, typer.Option(help="What the two are for: day, month or ever.")] = "ever",
    rate: Annotated[int, typer.Option(help="Requests a minute; 0: as for everybody.")] = 0,
    as_json: Json = False,
) -> None:
    """Make a key. It is shown this once, and kept as a hash only."""
    from opengateway.app.gateway.api_keys import PERIODS, KeyFile

    if not name.strip() or len(name) > NAME_LIMIT or not name.isprintable():
        raise WrongUsage(f"a name has 1 to {NAME_LIMIT} characters on one line")
    if per not in PERIODS:
        raise WrongUsage(f"--per is one of {', '.join(PERIODS)}, not {per}")
    if min(tokens, rate) < 0:
        raise WrongUsage("--tokens and --rate are whole numbers from 0")
    secret, made = KeyFile(session.home().api_keys).add(
        name.strip(),
        models=tuple(model or ()),
        tokens=tokens,
        credits=_micro(credit),
        period=per,
        per_minute=rate,
    )
    if as_json:
        emit_json({"key": secret, "id": made.id, "name": made.name})
        return
    say(secret)
    note(f"  hint: give it to {made.name} now, it is not shown again")
    note(f"  hint: `opengateway keys revoke {made.id}` ends it")


@app.command("list")
def list_keys(*, as_json: Json = False) -> None:
    """The keys there are, with what they may use and have used."""
    from opengateway.app.gateway.api_keys import KeyFile, Usage

    home = session.home()
    usage = Usage(home.api_usage)
    usage.load()
    now = time.time()
    found = [(key, usage.of(key, now)) for key in KeyFile(home.api_keys).all()]
    if as_json:
        hidden = ("hash",)
        emit_json(
            {
                "keys": [
                    {name: value for name, value in asdict(key).items() if name not in hidden}
                    | {"used": {"tokens": used.tokens, "credits": used.credits, "requests": used.requests}}
                    for key, used in found
                ]
            }
        )
        return
    rows = [
        (
            key.id,
            key.name,
            time.strftime("%Y-%m-%d", time.localtime(key.created)),
            ", ".join(key.models) or "all",
            _of(str(used.tokens), str(key.tokens) if key.tokens else ""),
            _of(show_credits(used.credits), show_credits(key.credits) if key.credits else ""),
            key.period,
            f"{key.per_minute}/min" if key.per_minute else "",
        )
        for key, used in found
    ]
    table(COLUMNS, rows, empty="no API keys; `opengateway keys add NAME` makes one")


@app.command()
def revoke(
    which: Annotated[str, typer.Argument(metavar="NAME", help="Its name, or its first characters.")],
    *,
    as_json: Json = False,
) -> None:
    """End a key. A running node refuses it within a second."""
    from opengateway.app.gateway.api_keys import KeyFile

    gone = KeyFile(session.home().api_keys).revoke(which)
    if as_json:
        emit_json({"id": gone.id, "name": gone.name})
    else:
        facts([("Revoked", f"{gone.name} ({gone.id})")])


def _of(used: str, limit: str) -> Any:
    return f"{used} of {limit}" if limit else used


def _micro(text: str) -> int:
    try:
        amount = Decimal(text) * CREDIT
    except InvalidOperation:
        raise WrongUsage(f"--credits is a number such as 2.5, not {text}") from None
    if amount < 0 or amount != int(amount):
        raise WrongUsage("--credits is a number from 0 with at most six decimals")
    return int(amount)
