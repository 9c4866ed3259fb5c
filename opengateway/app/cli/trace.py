"""trace: what became of a request, step by step."""

from __future__ import annotations

import datetime as dt
from typing import Annotated, Any, Final

import typer

from opengateway.app.cli import session
from opengateway.app.cli.lifecycle import Json
from opengateway.app.cli.output import emit_json, facts, table
from opengateway.app.cli.tables import Column
from opengateway.units import show_credits

STEPS: Final = {
    "sent": "sent to",
    "queued": "waits",
    "asked": "asked for a slot",
    "quoted": "quoted",
    "not_quoted": "gave no quote",
    "failed": "failed, next try",
    "broke": "broke off, goes on elsewhere",
    "continued": "goes on from what was shown",
    "repeated": "begins anew",
    "broken": "broke off",
    "late": "its first token is late, asked elsewhere too",
    "slow": "slow, tried elsewhere too",
    "answered": "answered",
    "refused": "refused",
}
"""What a step is called for people; a step that is not here has its own name."""


def trace(
    request: Annotated[
        str, typer.Argument(metavar="[REQUEST]", help="Its id, or an end of it; the newest if left out.")
    ] = "last",
    *,
    listing: Annotated[bool, typer.Option("--list", help="The requests that the node remembers.")] = False,
    as_json: Json = False,
) -> None:
    """Show how a request found its answer: rings, quotes, choices, failures, cost.

    The id is in every answer (`x-opengateway-request-id`) and in `opengateway prompt --stats`.
    """
    client = session.node()
    found = client.get("/node/trace", limit=50) if listing else client.get(f"/node/trace/{request}")
    if as_json:
        emit_json(found)
    elif listing:
        _list(found["requests"])
    else:
        _timeline(found)


def _list(requests: list[dict[str, Any]]) -> None:
    columns = (Column("Request"), Column("When"), Column("Kind"), Column("Model", squeeze=True))
    rows = [
        [
            one["request"],
            _clock(one["at_ms"]),
            one["kind"],
            one["model"] or "default",
            _step(one["last"]),
            _ms(one["ms"]),
        ]
        for one in requests
    ]
    table((*columns, Column("Last step"), Column("After", "right")), rows, empty="Nothing was asked yet.")


def _timeline(found: dict[str, Any]) -> None:
    events, several = found["events"], found["parts"] > 1
    cost = sum(event.get("cost", 0) for event in events)
    rings: dict[str, int] = {}
    for event in events:
        if event["what"] == "sent":
            rings[event["ring"]] = rings.get(event["ring"], 0) + 1
    told = [
        ("Request", found["request"]),
        ("When", _clock(found["at_ms"])),
        ("Asked for", f"{found['kind']} by {found['model'] or 'the default model'}, {found['scope']}"),
        ("Parts", str(found["parts"]) if several else ""),
        ("Went to", ", ".join(f"{ring} {count}" for ring, count in rings.items())),
        ("Cost", f"{show_credits(cost)} credits" if cost else "nothing"),
        ("Left out", f"{found['events_left_out']} steps" if found["events_left_out"] else ""),
    ]
    facts(told)
    columns = [Column("After", "right"), Column("Step"), Column("Ring"), Column("Node"), Column("", fold=24)]
    rows = []
    for event in events:
        row = [_ms(event["ms"]), _step(event["what"]), event.get("ring", ""), _node(event), _more(event)]
        rows.append([row[0], f"{event.get('part', '')}", *row[1:]] if several else row)
    if several:
        columns.insert(1, Column("Part", "right"))
    table(columns, rows, empty="Nothing has happened yet.")


def _step(what: str) -> str:
    return STEPS.get(what, what.replace("_", " "))


def _node(event: dict[str, Any]) -> str:
    return str(event.get("name") or event.get("node") or "")


def _more(event: dict[str, Any]) -> str:
    """What else is known of a step, in words."""
    match event["what"]:
        case "sent":
            return "it holds the conversation" if event.get("home") else ""
        case "asked":
            return f"{event['slots']} wanted"
        case "quoted" if event["held"]:
            return f"{event['held']} held of {event['free']} free"
        case "quoted":
            return f"full: {event['position']} wait, the next in {event['start_s']:.1f} s"
        case "answered":
            cost = f", {show_credits(event['cost'])} credits" if event.get("cost") else ""
            return f"{event['prompt']} tokens in, {event['tokens']} out{cost}"
        case "broke":
            return f"after {event['tokens']} tokens: {event['why']}"
        case "continued" | "repeated":
            return f"{event['tokens']} pieces were shown"
        case "slow" | "late":
            return f"running for {event['ms_running'] / 1000:.1f} s"
        case _:
            return str(event.get("why") or event.get("code") or "")


def _ms(value: float) -> str:
    return f"{value:.1f} ms" if value < 1000 else f"{value / 1000:.2f} s"


def _clock(ms: int) -> str:
    return dt.datetime.fromtimestamp(ms / 1000).astimezone().strftime("%Y-%m-%d %H:%M:%S")
