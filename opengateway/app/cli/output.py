"""What the command line prints: tables and facts for people, JSON for programs.

On a terminal Rich draws; anywhere else lines are plain and whole (no colour, no box, nothing cut at
80 columns), so that `grep`, `awk` and `head` work. Text that came from the network is stripped of
control characters first: a peer's name must not move the reader's cursor or retitle the window.
"""

from __future__ import annotations

import json
import os
import sys
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal, TextIO

from opengateway.errors import OpenGatewayError

KEPT_CONTROLS: Final = "\n\t"


@dataclass(frozen=True, slots=True)
class Column:
    title: str
    align: Literal["left", "right"] = "left"
    style: str = ""
    squeeze: bool = False
    """May be shortened where the terminal is narrow. Ids and numbers never are."""


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
    print(clean(text), file=sys.stderr, flush=True)


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
    cells = [[clean(cell).replace("\n", " ") for cell in row] for row in rows]
    if is_terminal():
        from rich.console import Console

        Console(highlight=False).print(drawn(columns, cells))
    else:
        print("\n".join(plain(columns, cells)))


def drawn(columns: Sequence[Column], cells: Sequence[Sequence[str]]) -> Any:
    """A Rich table, for a terminal."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    made = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False, header_style="bold")
    for column in columns:
        made.add_column(
            column.title,
            justify=column.align,
            no_wrap=True,
            overflow="ellipsis",
            min_width=6
            if column.squeeze
            else max((len(row[columns.index(column)]) for row in cells), default=0),
        )
    for row in cells:
        made.add_row(*(Text(cell, style=column.style) for column, cell in zip(columns, row, strict=True)))
    return made


def plain(columns: Sequence[Column], cells: Sequence[Sequence[str]]) -> list[str]:
    """Aligned lines of full width, two spaces between columns; an empty cell is "-" so that fields count."""
    lines = [[column.title for column in columns], *([cell or "-" for cell in row] for row in cells)]
    widths = [max(len(line[index]) for line in lines) for index in range(len(columns))]
    return [
        "  ".join(
            cell.rjust(width) if column.align == "right" else cell.ljust(width)
            for column, cell, width in zip(columns, line, widths, strict=True)
        ).rstrip()
        for line in lines
    ]


def complain(error: OpenGatewayError, *, as_json: bool) -> None:
    """The error on stderr: what happened, and what to type next."""
    if as_json:
        described = {"message": error.message, "hint": error.hint, "code": error.code}
        print(json.dumps({"error": described}, ensure_ascii=False), file=sys.stderr)
        return
    bold, dim, end = ("\x1b[1;31m", "\x1b[2m", "\x1b[0m") if is_terminal(sys.stderr) else ("", "", "")
    print(f"{bold}error:{end} {clean(error.message)}", file=sys.stderr)
    if error.hint:
        print(f"{dim}  hint: {clean(error.hint)}{end}", file=sys.stderr)


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
