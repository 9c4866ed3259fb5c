"""What a run showed, for people and for programs."""

from __future__ import annotations

import os
import platform
import statistics
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from tools.chaos.history import History, Violation
from tools.chaos.invariants import AGAIN_S, GHOST_S, INVARIANTS, LIMIT_S, RECOVERY_S, before
from tools.chaos.plan import KINDS, LEAVE


@dataclass(frozen=True, slots=True)
class Settings:
    seed: int
    nodes: int
    seconds: float
    faults: str = ""
    """Empty: all kinds."""
    slow: float = 1.0
    missing: Mapping[str, str] = field(default_factory=dict)

    @property
    def again(self) -> str:
        words = f"--seed {self.seed} --nodes {self.nodes} --seconds {self.seconds:g}"
        return f"python -m tools.chaos {words}" + (f" --faults {self.faults}" if self.faults else "")


def as_json(settings: Settings, history: History, found: Sequence[Violation]) -> dict[str, Any]:
    """Everything but the texts of the answers."""
    answers = [one for one in history.asked if one.ending == "answer"]
    return {
        "command": settings.again,
        "settings": asdict(settings) | {"missing": dict(settings.missing)},
        "machine": machine(),
        "faults": dict(Counter(one.fault.kind for one in history.struck if not one.skipped)),
        "skipped": [{"fault": str(one.fault), "why": one.skipped} for one in history.struck if one.skipped],
        "requests": {
            "asked": len(history.asked),
            "endings": dict(Counter(one.ending for one in history.asked)),
            "errors": dict(Counter(one.code for one in history.asked if one.ending == "error")),
            "said": {one.code: one.said for one in history.asked if one.ending == "error"},
            "two_places": sum(len(one.places) > 1 for one in answers),
            "first_token_s": quantiles([one.first_s for one in answers]),
            "answer_s": quantiles([one.ended_s - one.sent_s for one in answers]),
        },
        "recovery_s": quantiles([one.recovered_s for one in history.struck if one.recovered_s is not None]),
        "held": {
            name: {"first": asdict(samples[0]), "last": asdict(samples[-1])}
            for name, samples in history.held.items()
        },
        "logged": history.logged,
        "gone": [asdict(one) for one in history.gone],
        "violations": [
            asdict(one) | {"after": str(last.fault).strip() if (last := before(history, one)) else ""}
            for one in found
        ],
    }


def as_text(settings: Settings, history: History, found: Sequence[Violation]) -> str:
    """Markdown."""
    told = as_json(settings, history, found)
    asked = told["requests"]
    rows = [f"| {kind} | {_rule(kind)} | {count} |" for kind, count in sorted(told["faults"].items())]
    lines = [
        "# Chaos",
        "",
        f"`{settings.again}` on {machine()}.",
        _limits(settings),
        "",
        "| fault | what it is | times |",
        "|---|---|---:|",
        *rows,
        "",
        *[f"Left out: {kind}, {why}." for kind, why in settings.missing.items()],
        *[f"Skipped: {one['fault']} ({one['why']})." for one in told["skipped"]],
        "",
        f"{asked['asked']} requests: {_counts(asked['endings'])}.",
        f"Errors: {_counts(asked['errors']) or 'none'}.",
        *[f"- {code}, for example: {said}" for code, said in asked["said"].items()],
        "",
        f"{asked['two_places']} answers were given by two nodes or more.",
        f"First token {_spread(asked['first_token_s'])}; whole answer {_spread(asked['answer_s'])}.",
        f"A crashed actor ran again after {_spread(told['recovery_s'])}.",
        "",
        "| node | MiB first, last | descriptors | threads | processes | files |",
        "|---|---:|---:|---:|---:|---:|",
    ]
    for name, held in told["held"].items():
        cells = [
            f"{held['first'][what]:.0f}, {held['last'][what]:.0f}"
            for what in ("rss_mib", "descriptors", "threads", "processes", "files")
        ]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    if told["logged"]:
        lines += ["", "Errors in the nodes' logs that are not our own crashes:", ""]
        lines += [f"- {count} x {words}" for words, count in told["logged"].items()]
    lines += ["", f"## {len(found)} violations of {len(INVARIANTS)} invariants", ""]
    lines += [
        f"- {one['at_s']:.1f} s, {one['invariant']}: {one['says']} (after {one['after'] or 'nothing'})"
        for one in told["violations"]
    ]
    return "\n".join(lines).rstrip() + "\n"


def machine() -> str:
    return f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores, {platform.python_version()}"


def quantiles(seconds: Sequence[float]) -> dict[str, float]:
    """p50, p95 and the longest; empty without values."""
    if not seconds:
        return {}
    ordered = sorted(seconds)
    return {
        "p50": statistics.median(ordered),
        "p95": ordered[min(len(ordered) - 1, len(ordered) * 95 // 100)],
        "max": ordered[-1],
    }


def _limits(settings: Settings) -> str:
    return (
        f"An answer or an error within {LIMIT_S:.0f} s, a crashed actor back within {RECOVERY_S:.0f} s, "
        f"callers served within {AGAIN_S:.0f} s of the last fault, no ghosts after {GHOST_S:.0f} s; all of "
        f"these times {settings.slow:.1f}, the highest load average per core."
    )


def _rule(kind: str) -> str:
    return KINDS[kind].says if kind != LEAVE else "kill -9 of a worker that stays away until it is forgotten"


def _counts(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{count} {name}" for name, count in sorted(counts.items(), key=lambda one: -one[1]))


def _spread(values: Mapping[str, float]) -> str:
    if not values:
        return "never"
    return f"{values['p50']:.2f} s at p50, {values['p95']:.2f} s at p95, {values['max']:.2f} s at most"
