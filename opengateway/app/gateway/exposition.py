"""The Prometheus text format: what /metrics answers.

Names follow OpenTelemetry's conventions for generative AI where they exist (dots become underscores, the unit
goes to the end); the rest begins with `opengateway_`, or with `process_` as in every Prometheus client.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

import psutil

from opengateway import __version__
from opengateway.app.gateway.meter import Histogram, Meter, Side

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"
PROVIDER: Final = {"gen_ai_provider_name": "opengateway"}

_process = psutil.Process()

Label = Mapping[str, str]


class Page:
    """Families in the order in which they are added, each with its HELP and TYPE."""

    def __init__(self) -> None:
        self._lines: list[str] = []

    def text(self) -> str:
        return "\n".join(self._lines) + "\n"

    def add(self, kind: str, name: str, explained: str, samples: Iterable[tuple[Label, float]]) -> None:
        """A counter or a gauge."""
        self._head(kind, name, explained)
        self._lines += [f"{name}{_labels(labels)} {_number(value)}" for labels, value in samples]

    def one(self, kind: str, name: str, explained: str, value: float) -> None:
        self.add(kind, name, explained, [({}, value)])

    def histogram(self, name: str, explained: str, series: Iterable[tuple[Label, Histogram]]) -> None:
        self._head("histogram", name, explained)
        for labels, found in series:
            below = 0
            for bound, count in zip((*found.bounds, float("inf")), found.counts, strict=True):
                below += count
                le = "+Inf" if bound == float("inf") else f"{bound:g}"
                self._lines.append(f"{name}_bucket{_labels({**labels, 'le': le})} {below}")
            self._lines.append(f"{name}_sum{_labels(labels)} {found.total:.6f}")
            self._lines.append(f"{name}_count{_labels(labels)} {below}")

    def _head(self, kind: str, name: str, explained: str) -> None:
        self._lines += [f"# HELP {name} {explained}", f"# TYPE {name} {kind}"]


def exposition(
    meter: Meter,
    *,
    jobs: Mapping[str, Any],
    wire: Mapping[str, Any],
    me: Mapping[str, Any],
    credit: Mapping[str, Any],
    actors: Iterable[Any],
    turned_away: Mapping[str, int] | None = None,
) -> str:
    """`me`: what the Registry says of this node; `actors`: rows of the supervision tree; `turned_away`:
    connections of the HTTP port that came to nothing, by why."""
    page = Page()
    _answers(page, meter)
    _node(page, jobs, me)
    page.add(
        "counter",
        "opengateway_http_turned_away_total",
        "Connections to the HTTP port that came to nothing: slow, malformed, or too many.",
        _counted("reason", turned_away or {}),
    )
    _credit(page, credit)
    _wire(page, wire, me)
    _actors(page, list(actors))
    _program(page)
    return page.text()


def _answers(page: Page, meter: Meter) -> None:
    client, server = meter.client, meter.server
    page.add(
        "counter",
        "opengateway_requests_total",
        "Requests of this node's own users, by where they were answered and how they ended.",
        [({"ring": ring, "outcome": end}, count) for (ring, end), count in sorted(meter.answers.items())],
    )
    tokens = [
        (_genai(labels) | {"gen_ai_token_type": kind}, found)
        for kind, series in (("input", client.tokens_in), ("output", client.tokens_out))
        for labels, found in sorted(series.items())
    ]
    page.histogram("gen_ai_client_token_usage", "Tokens of answers to this node's users.", tokens)
    page.histogram(
        "gen_ai_client_operation_duration_seconds",
        "From a user's request to the end of its answer, wherever that was made.",
        _durations(client),
    )
    for name, explained, series in (
        ("gen_ai_client_operation_time_to_first_chunk", "From a user's request to its first token.",
         client.first_token),
        ("gen_ai_client_operation_time_per_output_chunk", "Between two tokens of an answer to a user.",
         client.per_token),
        ("gen_ai_server_time_to_first_token", "From a request at this node to its engine's first token.",
         server.first_token),
        ("gen_ai_server_time_per_output_token", "Between two tokens of this node's engines.",
         server.per_token),
    ):  # fmt: skip
        found = [(_genai(labels), histogram) for labels, histogram in sorted(series.items())]
        page.histogram(f"{name}_seconds", explained, found)
    page.histogram(
        "gen_ai_server_request_duration_seconds",
        "From a request at this node to the end of its engine's answer, for users and peers.",
        _durations(server),
    )
    served = [
        (_genai(labels) | {"gen_ai_token_type": kind}, found.total)
        for kind, series in (("input", server.tokens_in), ("output", server.tokens_out))
        for labels, found in sorted(series.items())
    ]
    page.add("counter", "opengateway_served_tokens_total", "Tokens of this node's engines.", served)


def _durations(side: Side) -> list[tuple[Label, Histogram]]:
    return [
        (_genai((operation, model)) | ({"error_type": error} if error else {}), found)
        for (operation, model, error), found in sorted(side.duration.items())
    ]


def _genai(labels: tuple[str, str]) -> dict[str, str]:
    operation, model = labels
    return {**PROVIDER, "gen_ai_operation_name": operation, "gen_ai_request_model": model}


def _node(page: Page, jobs: Mapping[str, Any], me: Mapping[str, Any]) -> None:
    states = [({"state": name}, jobs.get(name, 0)) for name in ("running", "queued")]
    page.add("gauge", "opengateway_jobs", "Requests in flight at this node.", states)
    failover = [({"what": name}, count) for name, count in (jobs.get("failover") or {}).items()]
    page.add("counter", "opengateway_failover_total", "Answers that broke off or began late.", failover)
    page.one("gauge", "opengateway_slots", "What this node's engines take at once.", jobs.get("slots", 0))
    page.one("gauge", "opengateway_slots_busy", "How many of them are taken.", jobs.get("busy", 0))
    for name, label, explained, key in (
        ("opengateway_peers", "ring", "Peers with a session, by how far they are.", "by_ring"),
        ("opengateway_peers_by_path", "path", "Peers with a session, by how they are reached.", "by_path"),
    ):
        page.add("gauge", name, explained, _counted(label, me.get(key, {})))


def _credit(page: Page, credit: Mapping[str, Any]) -> None:
    if not credit:
        return
    kinds = ("balance", "held", "owed_to_us", "owed_by_us")
    page.add(
        "gauge",
        "opengateway_credit_microcredits",
        "Credit now: earned less spent, held for requests in flight, and what is owed.",
        [({"kind": kind}, credit.get(kind, 0)) for kind in kinds],
    )
    for kind in ("earned", "spent"):
        name = f"opengateway_credit_{kind}_microcredits_total"
        page.one("counter", name, f"Credit that was {kind} since the ledger began.", credit.get(kind, 0))
    page.one("counter", "opengateway_ledger_entries_total", "Signed entries.", credit.get("entries", 0))


def _wire(page: Page, wire: Mapping[str, Any], me: Mapping[str, Any]) -> None:
    events = _counted("event", wire.get("counters", {}))
    page.add("counter", "opengateway_wire_total", "What happened on the wire, refusals by name.", events)
    reasons = _counted("reason", me.get("refused", {}))
    page.add("counter", "opengateway_hearsay_refused_total", "What peers said of others in vain.", reasons)
    page.one(
        "counter",
        "opengateway_places_disproved_total",
        "Claims of a place that a round trip disproved.",
        me.get("places", {}).get("total", 0),
    )


def _actors(page: Page, rows: list[Any]) -> None:
    for kind, name, explained, read in (
        ("gauge", "opengateway_actor_up", "1 while the actor runs.", lambda r: int(r.state == "running")),
        ("gauge", "opengateway_actor_mailbox", "Messages that wait.", lambda r: r.mailbox),
        ("counter", "opengateway_actor_messages_total", "Messages handled.", lambda r: r.handled),
        ("counter", "opengateway_actor_lost_total", "Messages refused or discarded.", lambda r: r.lost),
        ("counter", "opengateway_actor_lives_total", "Starts, the first one included.", lambda r: r.life),
    ):
        page.add(kind, name, explained, [({"actor": row.name}, read(row)) for row in rows])


def _program(page: Page) -> None:
    page.add("gauge", "opengateway_build_info", "The version.", [({"version": __version__}, 1)])
    with _process.oneshot():
        times = _process.cpu_times()
        page.one("counter", "process_cpu_seconds_total", "User and system time.", times.user + times.system)
        page.one("gauge", "process_resident_memory_bytes", "Memory in use.", _process.memory_info().rss)
        page.one("gauge", "process_start_time_seconds", "Since 1970, UTC.", _process.create_time())


def _counted(label: str, counts: Mapping[str, float]) -> list[tuple[Label, float]]:
    return [({label: value}, count) for value, count in sorted(counts.items())]


def _labels(labels: Label) -> str:
    if not labels:
        return ""
    return "{" + ",".join(f'{name}="{_escaped(value)}"' for name, value in labels.items()) + "}"


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def _number(value: float) -> str:
    return str(int(value)) if value == int(value) else repr(float(value))
