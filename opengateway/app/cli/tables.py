"""Tables that fit: whole lines for programs, the width of the window for people.

Rich's own tables shorten every column alike, ids and numbers first; here each column says what may
happen to it. In a narrow window the columns with the highest `drop` go first, then `squeeze` columns
are cut with an ellipsis, widest first, and `fold` columns go on below. Off a terminal nothing does.
"""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

if TYPE_CHECKING:
    from rich.text import Text

GAP: Final = "  "
LEAST_SQUEEZED: Final = 8

Cells = Sequence[Sequence[str]]


@dataclass(frozen=True, slots=True)
class Column:
    title: str
    align: Literal["left", "right"] = "left"
    style: str = ""
    squeeze: bool = False
    """May be cut where the window is narrow. Ids and numbers never are."""
    fold: int = 0
    """Goes on in the next line where the window is narrow, from this many characters on; 0 does not."""
    drop: int = 0
    """Left out where the window is too narrow for all, the highest first; 0 stays."""

    @property
    def least(self) -> int:
        """Characters below which it tells nothing; 0 where it is shown whole."""
        return self.fold or (LEAST_SQUEEZED if self.squeeze else 0)


def plain(columns: Sequence[Column], cells: Cells) -> list[str]:
    """Aligned whole lines, two spaces apart; an empty cell is "-", so that fields can be counted."""
    lines = [[column.title for column in columns], *([cell or "-" for cell in row] for row in cells)]
    widths = [max(len(line[index]) for line in lines) for index in range(len(columns))]
    return [
        GAP.join(
            cell.rjust(width) if column.align == "right" else cell.ljust(width)
            for column, cell, width in zip(columns, line, widths, strict=True)
        ).rstrip()
        for line in lines
    ]


def drawn(columns: Sequence[Column], cells: Cells, width: int) -> list[Text]:
    """Styled lines of at most `width` characters (more only where even what must be whole is wider)."""
    from rich.text import Text

    fitted = fit(columns, cells, width)
    lines = [_line([(columns[i], columns[i].title, w) for i, w in fitted], "bold")]
    lines.append(Text("─" * (sum(w for _, w in fitted) + len(GAP) * (len(fitted) - 1)), style="dim"))
    for row in cells:
        folded = {i: textwrap.wrap(row[i], w) for i, w in fitted if columns[i].fold}
        for depth in range(max([1, *(len(part) for part in folded.values())])):
            shown = [
                (columns[i], _at(folded[i], depth) if i in folded else (row[i] if depth == 0 else ""), w)
                for i, w in fitted
            ]
            lines.append(_line(shown))
    return lines


def fit(columns: Sequence[Column], cells: Cells, width: int) -> list[tuple[int, int]]:
    """Which columns are shown, by index, each with its width in characters."""
    from rich.cells import cell_len

    whole = [
        max([len(column.title), *(cell_len(row[index]) for row in cells)])
        for index, column in enumerate(columns)
    ]
    kept = [i for i in range(len(columns)) if any(row[i] for row in cells)]

    def needed(widths: dict[int, int]) -> int:
        return sum(widths.values()) + len(GAP) * (len(widths) - 1)

    least = {i: min(whole[i], columns[i].least or whole[i]) for i in kept}
    while needed(least) > width and (last := max(least, key=lambda i: columns[i].drop)) is not None:
        if columns[last].drop == 0:
            break
        del least[last]
    widths = {i: whole[i] for i in least}
    while needed(widths) > width:
        widest = max(widths, key=lambda i: widths[i] - least[i])
        if widths[widest] == least[widest]:
            break
        widths[widest] -= 1
    return list(widths.items())


def _line(parts: Sequence[tuple[Column, str, int]], style: str = "") -> Text:
    from rich.cells import cell_len
    from rich.text import Text

    line = Text()
    for number, (column, cell, width) in enumerate(parts):
        shown = Text(cell, style=style or column.style)
        if cell_len(cell) > width:
            shown.truncate(width, overflow="ellipsis")
        room = " " * (width - shown.cell_len)
        line.append(GAP if number else "")
        line.append_text(Text(room) + shown if column.align == "right" else shown + Text(room))
    line.rstrip()
    return line


def _at(lines: list[str], index: int) -> str:
    return lines[index] if index < len(lines) else ""
