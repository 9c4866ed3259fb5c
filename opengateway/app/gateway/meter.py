"""Counts for /metrics, kept on the I/O loop: plain numbers, added up where things happen.

Names follow OpenTelemetry's GenAI conventions where they exist. Labels have few values by construction:
a peer or a user cannot make new ones.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from opengateway.engines.stream import Stream

BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
"""Seconds."""


@dataclass(slots=True)
class Histogram:
    counts: list[int] = field(default_factory=lambda: [0] * (len(BUCKETS) + 1))
    total: float = 0.0

    def add(self, seconds: float) -> None:
        self.counts[bisect_left(BUCKETS, seconds)] += 1
        self.total += seconds

    def lines(self, name: str) -> Iterator[str]:
        running = 0
        for bound, count in zip((*BUCKETS, float("inf")), self.counts, strict=True):
            running += count
            label = "+Inf" if bound == float("inf") else f"{bound:g}"
            yield f'{name}_bucket{{le="{label}"}} {running}'
        yield f"{name}_sum {self.total:.6f}"
        yield f"{name}_count {running}"


@dataclass(slots=True)
class Meter:
    answers: Counter[tuple[str, str]] = field(default_factory=Counter)
    """(ring, outcome)."""
    prompt_tokens: int = 0
    completion_tokens: int = 0
    first_token: Histogram = field(default_factory=Histogram)
    duration: Histogram = field(default_factory=Histogram)

    def answered(self, stream: Stream) -> None:
        """One answer to a user of this node has ended."""
        ring = stream.route.ring if stream.route else "none"
        outcome = "ok" if stream.finished else stream.error.code if stream.error else "cancelled"
        self.answers[ring, outcome] += 1
        if stream.finished:
            self.prompt_tokens += stream.finished.prompt_tokens
            self.completion_tokens += stream.finished.completion_tokens
        if stream.first_at is not None:
            self.first_token.add(stream.first_at - stream.created)
        if stream.ended_at is not None:
            self.duration.add(stream.ended_at - stream.created)

    def text(self, jobs: Mapping[str, Any], wire: Mapping[str, Any], me: Mapping[str, Any]) -> str:
        """The Prometheus text format. `me`: what the Registry says of this node."""
        lines = ["# TYPE opengateway_requests_total counter"]
        for (ring, outcome), count in sorted(self.answers.items()):
            lines.append(f'opengateway_requests_total{{ring="{ring}",outcome="{outcome}"}} {count}')
        lines += [
            "# TYPE gen_ai_client_token_usage_total counter",
            f'gen_ai_client_token_usage_total{{gen_ai_token_type="input"}} {self.prompt_tokens}',
            f'gen_ai_client_token_usage_total{{gen_ai_token_type="output"}} {self.completion_tokens}',
            "# TYPE gen_ai_server_time_to_first_token_seconds histogram",
            *self.first_token.lines("gen_ai_server_time_to_first_token_seconds"),
            "# TYPE gen_ai_server_request_duration_seconds histogram",
            *self.duration.lines("gen_ai_server_request_duration_seconds"),
            "# TYPE opengateway_jobs gauge",
            *(f'opengateway_jobs{{state="{name}"}} {jobs.get(name, 0)}' for name in ("running", "queued")),
            f"opengateway_slots {jobs.get('slots', 0)}",
            f"opengateway_slots_busy {jobs.get('busy', 0)}",
            *_each("opengateway_peers", "gauge", "ring", me.get("by_ring", {})),
            *_each("opengateway_peers_by_path", "gauge", "path", me.get("by_path", {})),
            *_each("opengateway_hearsay_refused_total", "counter", "reason", me.get("refused", {})),
            "# TYPE opengateway_places_disproved_total counter",
            f"opengateway_places_disproved_total {me.get('places', {}).get('total', 0)}",
            "# TYPE opengateway_wire_total counter",
        ]
        for name, value in sorted(wire.get("counters", {}).items()):
            lines.append(f'opengateway_wire_total{{event="{name}"}} {value}')
        return "\n".join(lines) + "\n"


def _each(name: str, kind: str, label: str, counts: Mapping[str, int]) -> Iterator[str]:
    yield f"# TYPE {name} {kind}"
    for value, count in sorted(counts.items()):
        yield f'{name}{{{label}="{value}"}} {count}'
