"""The screen of `top`. Only this module imports Textual: nothing else of the command line waits for it."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import ClassVar

from rich.text import Text
from textual import work
from textual.app import App, ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical
from textual.theme import Theme
from textual.widgets import DataTable, Footer, Sparkline, Static

from opengateway.app.cli import top_picture
from opengateway.app.cli.top_picture import Picture, Row
from opengateway.errors import OpenGatewayError

REMEMBERED = 120
"""Looks that the credit line goes back."""
NUMBERS = {
    "RTT ms",
    "SLOTS",
    "OWES US",
    "FIRST ms",
    "AGE s",
    "LIFE",
    "HANDLED",
    "MAIL",
    "LOST",
    "SERVED",
    "CONSUMED",
}
GOOD, BAD = {"up", "running", "answering"}, {"down", "gone", "failed", "abandoned", "backoff"}
FLYING = {"waiting", "asked", "answering"}
"""What a job is while it is in flight, if it has no place in the queue; other words are why it failed."""
LONGEST_NAME = 24

CHART = Theme(
    name="opengateway",
    primary="#ff9159",
    accent="#ff9159",
    success="#71cb9d",
    warning="#e6b85c",
    error="#ff8585",
    foreground="#ece8dc",
    background="#0f1512",
    surface="#161e1a",
    panel="#1c2621",
    dark=True,
)


class Rows(DataTable[Text]):
    """A table that keeps its cursor and its scroll while its rows change under it."""

    def __init__(self, title: str, titles: tuple[str, ...]) -> None:
        super().__init__(cursor_type="row", zebra_stripes=False, id=title.lower())
        self.border_title = title
        self._titles = titles

    def on_mount(self) -> None:
        for title in self._titles:
            self.add_column(Text(title, style="dim", justify="right" if title in NUMBERS else "left"))

    def show_rows(self, rows: list[Row]) -> None:
        cursor, scroll = self.cursor_row, self.scroll_y
        self.clear()
        for row in rows:
            cells = zip(self._titles, row, strict=True)
            self.add_row(*(_cell(title, text, job=self.id == "jobs") for title, text in cells))
        self.border_subtitle = str(len(rows))
        self.move_cursor(row=min(cursor, max(0, len(rows) - 1)), scroll=False)
        self.scroll_to(y=scroll, animate=False)


class TopScreen(App[None]):
    TITLE = "opengateway top"
    ENABLE_COMMAND_PALETTE = False
    HORIZONTAL_BREAKPOINTS = [(0, "-narrow"), (110, "-wide")]  # noqa: RUF012 - declared so by Textual
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("q", "quit", "Quit"),
        Binding("p", "pause", "Pause"),
        Binding("tab", "app.focus_next", "Next table", show=True),
        Binding("z", "zoom", "Zoom"),
    ]
    CSS = """
    Screen { layout: vertical; }
    #title { text-style: bold; color: $primary; padding: 0 1; }
    #line { padding: 0 1; }
    #warnings { padding: 0 1; color: $warning; display: none; }
    #paused { padding: 0 1; color: $accent; text-style: reverse; width: auto; display: none; }
    Horizontal { height: 1fr; }
    #left { width: 3fr; } #right { width: 2fr; }
    Rows { height: 1fr; border: round $panel; border-title-color: $primary; background: $background; }
    Rows:focus { border: round $primary; }
    #money { height: 5; border: round $panel; border-title-color: $primary; padding: 0 1; }
    Sparkline { height: 1; } Sparkline > .sparkline--max-color { color: $success; }
    Sparkline > .sparkline--min-color { color: $primary; }
    .-narrow Horizontal { layout: vertical; }
    .-narrow #left { width: 100%; height: 2fr; } .-narrow #right { width: 100%; height: 1fr; }
    .-narrow #accounts, .-narrow #curve { display: none; }
    .-narrow #money { height: 1; border: none; }
    """

    def __init__(self, look: Callable[[], Picture], interval: float) -> None:
        """`look` is called in a thread; it may raise `OpenGatewayError`."""
        super().__init__()
        self._look, self._interval = look, interval
        self._paused = self._looking = False
        self._balances: deque[float] = deque(maxlen=REMEMBERED)

    def compose(self) -> ComposeResult:
        yield Static("looking …", id="title")
        yield Static("", id="line")
        yield Static("paused: p goes on", id="paused")
        yield Static("", id="warnings")
        with Horizontal():
            with Vertical(id="left"):
                yield Rows("Peers", top_picture.PEERS)
                yield Rows("Jobs", top_picture.JOBS)
            with Vertical(id="right"):
                with Vertical(id="money"):
                    yield Static("", id="credit")
                    yield Sparkline([], id="curve")
                yield Rows("Accounts", top_picture.ACCOUNTS)
                yield Rows("Actors", top_picture.ACTORS)
        yield Footer()

    def on_mount(self) -> None:
        self.register_theme(CHART)
        self.theme = CHART.name
        self.query_one("#money").border_title = "Credit"
        self.look_again()
        self.set_interval(self._interval, self.look_again)

    def look_again(self) -> None:
        if not self._paused and not self._looking:
            self._looking = True
            self._take()

    @work(thread=True)
    def _take(self) -> None:
        try:
            picture = self._look()
        except OpenGatewayError as error:
            self.call_from_thread(self._missed, error)
        else:
            self.call_from_thread(self._draw, picture)

    def _missed(self, error: OpenGatewayError) -> None:
        """The node went away; it may come back."""
        self._looking = False
        self.query_one("#line", Static).update(Text(f"{error.message}: {error.hint}", style="bold red"))

    def _draw(self, picture: Picture) -> None:
        self._looking = False
        self.query_one("#title", Static).update(Text(picture.title))
        self.query_one("#line", Static).update(Text(picture.line))
        warnings = self.query_one("#warnings", Static)
        warnings.display = bool(picture.warnings)
        warnings.update(Text("\n".join(f"! {text}" for text in picture.warnings)))
        self._balances.append(float(picture.balance))
        self.query_one("#credit", Static).update(Text(picture.credit))
        lowest = min(self._balances)
        self.query_one("#curve", Sparkline).data = [one - lowest for one in self._balances]
        for name in ("peers", "jobs", "accounts", "actors"):
            self.query_one(f"#{name}", Rows).show_rows(getattr(picture, name))

    def action_pause(self) -> None:
        self._paused = not self._paused
        self.query_one("#paused", Static).display = self._paused
        if not self._paused:
            self.look_again()

    def action_zoom(self) -> None:
        """The table with the focus alone, and back."""
        if self.screen.maximized is not None:
            self.screen.minimize()
        elif isinstance(self.focused, Rows):
            self.screen.maximize(self.focused)


def _cell(title: str, text: str, *, job: bool = False) -> Text:
    style = "green" if text in GOOD else "red" if text in BAD else ""
    if job and title == "STATE" and text not in FLYING and not text.startswith("place "):
        style = "red"
    if title in ("PEER", "FOR", "AT") and len(text) > LONGEST_NAME:
        text = text[: LONGEST_NAME - 1] + "…"
    return Text(text, style=style, justify="right" if title in NUMBERS else "left", no_wrap=True)
