"""top: the node at work, in the terminal."""

from __future__ import annotations

import time
from typing import Annotated

import typer

from opengateway.app.cli import session, top_picture
from opengateway.app.cli.output import is_terminal, say
from opengateway.app.cli.tables import Column, plain

SHOWN = 10
"""Rows of each kind in plain lines."""


def top(
    *,
    interval: Annotated[
        float,
        typer.Option("--interval", "-i", metavar="SECONDS", min=0.2, max=60.0, help="Between two looks."),
    ] = 1.0,
    count: Annotated[
        int,
        typer.Option("--count", "-n", metavar="N", min=0, help="Looks to print in plain lines; 0 goes on."),
    ] = 0,
    plain_lines: Annotated[
        bool, typer.Option("--plain", help="Plain lines, as where there is no terminal.")
    ] = False,
) -> None:
    """Watch peers, jobs, actors and credit live. Without a terminal: plain lines, look after look."""
    client = session.node()
    if is_terminal() and not plain_lines and not count:
        # 0.3 s of imports, for this command alone.
        from opengateway.app.cli.top_screen import TopScreen

        TopScreen(lambda: top_picture.take(session.node()), interval).run()
        return
    looks = 0
    try:
        while True:
            say("\n".join(lines(top_picture.take(client))))
            looks += 1
            if looks == count:
                return
            print(flush=True)
            time.sleep(interval)
            client = session.node()
    except KeyboardInterrupt:
        return


def lines(picture: top_picture.Picture) -> list[str]:
    """One look as plain lines: the node, then tables of what there is."""
    found = [picture.title, picture.line, picture.credit, *(f"warning: {text}" for text in picture.warnings)]
    for titles, rows in (
        (top_picture.PEERS, picture.peers),
        (top_picture.JOBS, picture.jobs),
        (top_picture.ACCOUNTS, picture.accounts),
        (top_picture.ACTORS, picture.actors),
    ):
        if rows:
            most = len(rows) if titles is top_picture.ACTORS else SHOWN
            found += ["", *plain([Column(title) for title in titles], rows[:most])]
            if len(rows) > most:
                found.append(f"and {len(rows) - most} more")
    return found
