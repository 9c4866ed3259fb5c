"""actors: the supervision tree of the running node."""

from __future__ import annotations

import time
from typing import Annotated, Any, Final

import typer

from opengateway.app.cli import session
from opengateway.app.cli.lifecycle import Json
from opengateway.app.cli.output import as_cells, emit_json, is_terminal, say, seconds, table
from opengateway.app.cli.tables import Column, drawn

LOOK_S: Final = 1.0

COLUMNS = (
    Column("ACTOR", style="cyan"),
    Column("STATE"),
    Column("LIFE", "right", drop=2),
    Column("UP", "right", drop=3),
    Column("HANDLED", "right", drop=4),
    Column("MAIL", "right", drop=1),
    Column("PEAK", "right", drop=5),
    Column("LOST", "right"),
    Column("DOING", squeeze=True),
    Column("LAST ERROR", squeeze=True),
)


def actors(
    *,
    watch: Annotated[
        bool, typer.Option("--watch", "-w", help="Look again every second, until Ctrl-C.")
    ] = False,
    stack: Annotated[
        str | None, typer.Option("--stack", metavar="NAME", help="Where this actor's thread is.")
    ] = None,
    as_json: Json = False,
) -> None:
    """The node's actors: state, mail, what each is doing. Exit code 1 if one has failed."""
    client = session.node()
    if stack is not None:
        answer = client.get("/node/actors/stack", name=stack)
        emit_json(answer) if as_json else say(answer["stack"])
        return
    if watch:
        _watch(as_json=as_json)
        return
    answer = client.get("/node/actors")
    if as_json:
        emit_json(answer)
    else:
        table(COLUMNS, rows(answer["actors"]), empty="no actors")
    if answer.get("failed"):
        raise typer.Exit(1)


def rows(found: list[dict[str, Any]]) -> list[tuple[object, ...]]:
    """One row per actor; the first cell draws the tree."""
    return [
        (
            tree + str(actor["name"]).rpartition("/")[2],
            actor["state"],
            actor["life"],
            seconds(actor["uptime_s"]),
            actor["handled"],
            actor["mailbox"],
            actor["peak"],
            actor["lost"],
            actor.get("doing") or "",
            actor.get("error") or "",
        )
        for tree, actor in zip(branches([int(actor["depth"]) for actor in found]), found, strict=True)
    ]


def branches(depths: list[int]) -> list[str]:
    """The tree's lines before each name, from the depths in tree order: `["", "├─ ", "│  └─ ", "└─ "]`."""
    drawn_lines = []
    for index, depth in enumerate(depths):
        line = ""
        for level in range(1, depth + 1):
            goes_on = _has_later_sibling(depths, index, level)
            if level == depth:
                line += "├─ " if goes_on else "└─ "
            else:
                line += "│  " if goes_on else "   "
        drawn_lines.append(line)
    return drawn_lines


def _has_later_sibling(depths: list[int], index: int, level: int) -> bool:
    for later in depths[index + 1 :]:
        if later < level:
            return False
        if later == level:
            return True
    return False


def _watch(*, as_json: bool) -> None:
    """Until Ctrl-C, which is how it is meant to end."""
    try:
        if is_terminal() and not as_json:
            _watch_screen()
            return
        while True:
            answer = session.node().get("/node/actors")
            emit_json(answer) if as_json else table(COLUMNS, rows(answer["actors"]), empty="no actors")
            print(flush=True)
            time.sleep(LOOK_S)
    except KeyboardInterrupt:
        return


def _watch_screen() -> None:
    from rich.console import Console, Group
    from rich.live import Live

    console = Console(highlight=False)
    with Live(console=console, screen=True, auto_refresh=False) as live:
        while True:
            found = rows(session.node().get("/node/actors")["actors"])
            lines = drawn(COLUMNS, as_cells(found), console.width)
            live.update(Group(*lines), refresh=True)
            time.sleep(LOOK_S)
