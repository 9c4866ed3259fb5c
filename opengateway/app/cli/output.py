"""What the command line prints: tables and facts for people, JSON for programs.

On a terminal Rich draws; anywhere else lines are plain and whole (no colour, no box, nothing cut at
80 columns), so that `grep`, `awk` and `head` work. Text that came from the network is stripped of
control characters first: a peer's name must not move the reader's cursor or retitle the window.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import textwrap
import unicodedata
from collections.abc import Sequence
from typing import Any, Final, TextIO

from opengateway.app.cli.tables import Column, drawn, plain
from opengateway.errors import OpenGatewayError

KEPT_CONTROLS: Final = "\n\t"


def clean(text: object) -> str:
    """`text` without control, format and direction characters; newlines and tabs stay."""
    shown = str(text)
    if shown.isprintable():
        return shown
    return "".join(
        char for char in shown if char in KEPT_CONTROLS or unicodedata.category(char)[0] != "C" or char == "‍"
    )


def is_terminal(stream: TextIO | None = None) -> bool:
    stream = stream or sys.stdout
    return stream.isatty() and os.environ.get("TERM") != "dumb"


def say(text: str = "", *, style: str = "") -> None:
    """One line on stdout."""
    if style and is_terminal():
        from rich.console import Console
        from rich.text import Text

        Console(highlight=False).print(Text(clean(text), style=style), soft_wrap=True)
    else:
        print(clean(text))


def note(text: str) -> None:
    """One line on stderr: what is going on, never a result."""
    print(wrapped(clean(text), sys.stderr, indent="  "), file=sys.stderr, flush=True)


def emit_json(value: Any) -> None:
    print(json.dumps(value, indent=2, ensure_ascii=False))


def facts(rows: Sequence[tuple[str, str]], *, style: dict[str, str] | None = None) -> None:
    """`Label: value` lines; a value may have several lines, and "" leaves its label out.

    `style`: Rich styles of values by label.
    """
    shown = [(label, clean(value)) for label, value in rows if value]
    if not is_terminal():
        for label, value in shown:
            print(f"{label}: {value.replace(chr(10), chr(10) + '  ')}")
        return
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    grid = Table.grid(padding=(0, 1))
    grid.add_column(no_wrap=True)
    grid.add_column(overflow="fold")
    for label, value in shown:
        grid.add_row(Text(f"{label}:", style="bold"), Text(value, style=(style or {}).get(label, "")))
    Console(highlight=False).print(grid)


def table(columns: Sequence[Column], rows: Sequence[Sequence[object]], *, empty: str) -> None:
    """A table; `empty` is the line to show instead of one without rows."""
    if not rows:
        say(empty)
        return
    cells = as_cells(rows)
    if is_terminal():
        from rich.console import Console

        console = Console(highlight=False)
        for line in drawn(columns, cells, console.width):
            console.print(line, soft_wrap=True)
    else:
        print("\n".join(plain(columns, cells)))


def as_cells(rows: Sequence[Sequence[object]]) -> list[list[str]]:
    """Clean one-line texts."""
    return [[clean(cell).replace("\n", " ") for cell in row] for row in rows]


def wrapped(text: str, stream: TextIO, *, indent: str = "") -> str:
    """`text` with the window's line breaks between words, further lines indented; as it is off a terminal."""
    if not is_terminal(stream):
        return text
    width = max(40, shutil.get_terminal_size().columns)
    lines = (
        textwrap.wrap(line, width, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False)
        for line in text.split("\n")
    )
    return "\n".join("\n".join(line) for line in lines)


def complain(error: OpenGatewayError, *, as_json: bool) -> None:
    """The error on stderr: what happened, and what to type next."""
    if as_json:
        described = {"message": error.message, "hint": error.hint, "code": error.code}
        print(json.dumps({"error": described}, ensure_ascii=False), file=sys.stderr)
        return
    bold, dim, end = ("\x1b[1;31m", "\x1b[2m", "\x1b[0m") if is_terminal(sys.stderr) else ("", "", "")
    told = wrapped(f"error: {clean(error.message)}", sys.stderr, indent="  ").removeprefix("error:")
    print(f"{bold}error:{end}{told}", file=sys.stderr)
    if error.hint:
        told = wrapped(f"  hint: {clean(error.hint)}", sys.stderr, indent="  ")
        print(f"{dim}{told}{end}", file=sys.stderr)


def seconds(value: float | None) -> str:
    """`75` -> "1m 15s"; None -> ""."""
    if value is None:
        return ""
    whole = int(value)
    if whole < 60:
        return f"{whole}s"
    if whole < 3600:
        return f"{whole // 60}m {whole % 60}s"
    if whole < 86400:
        return f"{whole // 3600}h {whole % 3600 // 60}m"
    return f"{whole // 86400}d {whole % 86400 // 3600}h"


def gigabytes(amount: int) -> str:
    """Decimal, as disks and model needs are sold: 25276510208 -> "25.2 GB"; under 1 GB in MB."""
    return f"{amount // 10**8 / 10:g} GB" if amount >= 10**9 else f"{amount // 10**6} MB"


def number(value: float | None, digits: int = 1) -> str:
    return "" if value is None else f"{value:.{digits}f}"


def parts(value: dict[str, int]) -> str:
    """`{"lan": 2, "world": 1}` -> "2 lan, 1 world"."""
    return ", ".join(f"{count} {name}" for name, count in value.items() if count)
