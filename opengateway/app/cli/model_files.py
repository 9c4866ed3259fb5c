"""models: list, pull, rm, import."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from opengateway.app.cli import session
from opengateway.app.cli.lifecycle import Json
from opengateway.app.cli.output import emit_json, gigabytes, is_terminal, note, number, parts, say, table
from opengateway.app.cli.tables import Column
from opengateway.errors import BadRequest

app = typer.Typer(help="What this node serves, and what the network does.", invoke_without_command=True)

IMPORT_LIMIT_S = 600.0
"""Copying a file of hundreds of gigabytes."""

ModelName = Annotated[str, typer.Argument(help="Such as llama3.2:3b.")]


@app.callback()
def _default(context: typer.Context, *, as_json: Json = False) -> None:
    if context.invoked_subcommand is None:
        show(as_json=as_json)


@app.command("list")
def show(*, as_json: Json = False) -> None:
    """The models of this node and of the network."""
    answer = session.node().get("/node/models")
    if as_json:
        emit_json(answer)
        return
    rows = [_local_row(model) for model in answer["local"]]
    here = {model["name"] for model in answer["local"]}
    rows += [_network_row(model) for model in answer["network"] if model["name"] not in here]
    columns = (
        Column("MODEL", style="cyan"),
        Column("WHERE", squeeze=True),
        Column("PARAMS", "right", drop=2),
        Column("QUANT", drop=3),
        Column("CONTEXT", "right", drop=1),
        Column("SIZE", "right", drop=4),
        Column("TOKENS/s", "right"),
    )
    table(columns, rows, empty="no models: this node has none, and knows nobody who has")


@app.command()
def pull(name: ModelName, *, as_json: Json = False) -> None:
    """Fetch a model into this node's engine."""
    last: dict[str, Any] = {}
    for last in session.node().records("/node/models/pull", {"name": name}):
        if as_json:
            continue
        text = str(last.get("status", ""))
        if total := last.get("total"):
            text += f" {100 * int(last.get('completed') or 0) // int(total)} % of {gigabytes(int(total))}"
        _progress(text)
    _progress("")
    if as_json:
        emit_json({"name": name, "status": last.get("status", "")})
    else:
        say(f"{name} is here")


@app.command()
def rm(name: ModelName, *, as_json: Json = False) -> None:
    """Remove a model from this node's engine."""
    answer = session.node().post("/node/models/rm", {"name": name})
    emit_json(answer) if as_json else say(f"{name} is removed")


@app.command("import")
def import_file(
    file: Annotated[Path, typer.Argument(help="A model file, FILE.gguf.")],
    name: Annotated[str, typer.Option(help="What to call it; its file name otherwise.")] = "",
    *,
    as_json: Json = False,
) -> None:
    """Serve a GGUF file of yours."""
    path = file.expanduser().absolute()
    if not path.is_file():
        raise BadRequest(f"there is no file {path}", hint="give the path of a .gguf file")
    body = {"path": str(path)} | ({"name": name} if name else {})
    answer = session.node().post("/node/models/import", body, limit_s=IMPORT_LIMIT_S)
    emit_json(answer) if as_json else say(f"{answer['name']} is served from now on")


def _local_row(model: dict[str, Any]) -> tuple[object, ...]:
    where = f"here, {model.get('engine', '')}" + (
        " (demo: not offered to strangers)" if model.get("demo") else ""
    )
    return (
        model["name"],
        where,
        _parameters(float(model["parameters"])) if model.get("parameters") else "",
        model.get("quantisation", ""),
        model.get("context") or "",
        gigabytes(int(model["size"])) if model.get("size") else "",
        "",
    )


def _parameters(billions: float) -> str:
    """`3.21` -> "3.2 B"; the pocket model's `0.00116` -> "1.2 M"."""
    return f"{billions:.3g} B" if billions >= 1 else f"{billions * 1000:.3g} M"


def _network_row(model: dict[str, Any]) -> tuple[object, ...]:
    nodes = int(model.get("nodes", 0))
    rings = parts(model.get("rings") or {})
    where = f"{nodes} node{'' if nodes == 1 else 's'}" + (f": {rings}" if rings else "")
    return (model["name"], where, "", "", "", "", number(model.get("generate_tps")))


_shown = ""


def _progress(text: str) -> None:
    """The state in one line that replaces itself; without a terminal, one line per change of words."""
    global _shown
    import sys

    if is_terminal(sys.stderr):
        print(f"\r\x1b[K{text}", end="", file=sys.stderr, flush=True)
    elif text and text.split(" ", maxsplit=1)[0] != _shown.split(" ", maxsplit=1)[0]:
        note(text)
    _shown = text
