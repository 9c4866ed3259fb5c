"""What came of a suite at each subject, and the table of it."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

BARE, OURS = "bare engine", "two nodes"


@dataclass
class Outcome:
    passed: set[str] = field(default_factory=set)
    skipped: set[str] = field(default_factory=set)
    failed: dict[str, str] = field(default_factory=dict)
    """Test -> the first line of why."""

    def __str__(self) -> str:
        return f"{len(self.passed)} of {len(self.passed) + len(self.failed)}"


Found = dict[str, dict[str, Outcome]]
"""Suite -> subject -> what came of it."""


def read(report: Path) -> Outcome:
    """Of a JUnit report. A test may stand twice in it, once for what its end failed with."""
    outcome = Outcome()
    for case in ET.parse(report).iter("testcase"):
        name = f"{str(case.get('classname')).rpartition('.')[2]}.{case.get('name')}"
        bad = case.find("failure")
        bad = bad if bad is not None else case.find("error")
        if bad is not None:
            message = (bad.get("message") or "").strip().splitlines()
            outcome.failed.setdefault(name, (message or ["?"])[0][:300])
        elif case.find("skipped") is not None:
            outcome.skipped.add(name)
        else:
            outcome.passed.add(name)
    outcome.passed -= outcome.failed.keys()
    return outcome


def table(found: Found) -> str:
    lines = [f"| suite | {BARE} | {OURS} | passes there and not here |", "|---|---:|---:|---|"]
    for suite, outcomes in found.items():
        bare, ours = outcomes[BARE], outcomes[OURS]
        lost = Counter(_plain(why) for name, why in ours.failed.items() if name in bare.passed)
        reasons = "; ".join(f"{count}: {why}" for why, count in lost.most_common())
        lines.append(f"| {suite} | {bare} | {ours} | {reasons or 'none'} |")
    return "\n".join(lines)


def reasons(found: Found) -> str:
    """Why what fails fails, and at how many tests."""
    lines = []
    for suite, outcomes in found.items():
        for subject, outcome in outcomes.items():
            lines += [f"{suite} | {subject} | {name}: {why}" for name, why in outcome.failed.items()]
    return "\n".join(lines)


def _plain(why: str) -> str:
    """Without the client's own words around what the server said."""
    return re.sub(r"^openai\.\w+: Error code: (\d+) - ", r"\1 ", why)
