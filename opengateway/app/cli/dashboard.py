"""dashboard: the page at the node's address, signed in."""

from __future__ import annotations

import os
import sys
from typing import Annotated, Any

import typer

from opengateway.app.cli import session
from opengateway.app.cli.lifecycle import Json
from opengateway.app.cli.output import emit_json, is_terminal, note, say


def dashboard(
    *,
    print_only: Annotated[
        bool, typer.Option("--print", help="Print the address and open no browser.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Open the node's page in a browser, signed in. The address works once, within two minutes."""
    found = session.node().post("/node/dashboard")
    if as_json:
        emit_json(found)
        return
    say(found["url"])
    if not print_only and is_terminal() and has_display() and _open(found["url"]):
        note("opened in your browser; the address works once")
    else:
        note(f"open it in a browser on this machine within {found['expires_s']:.0f} s; it works once")


def has_display() -> bool:
    """Whether a browser that is opened here would be seen."""
    return sys.platform == "darwin" or bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))


def _open(url: str) -> bool:
    import webbrowser

    browser: Any = None
    try:
        browser = webbrowser.get()
    except webbrowser.Error:
        return False
    return bool(browser.open(url))
