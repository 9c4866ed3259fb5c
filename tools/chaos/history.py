"""What was done and what was seen, as data: the invariants and the report are made of this alone.

All moments are seconds since the first request of the load.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from tools.chaos.plan import Fault

Ending: TypeAlias = Literal["answer", "error", "cut", "down", "hung", "unclear"]
"""answer: whole, with its finish reason and one end. error: said, with code and message, as a status or in
the stream. cut: the connection ended, and nothing said why. down: nobody took the request. hung: given up
on. unclear: something came that is none of these."""


@dataclass(slots=True)
class Asked:
    """One request, as its caller saw it."""

    node: str
    prompt: int
    """Its number in load.PROMPTS."""
    sent_s: float
    ended_s: float = 0.0
    ending: Ending = "cut"
    status: int = 0
    text: str = ""
    finish: str = ""
    tokens: tuple[int, int] = (0, 0)
    """Prompt, completion."""
    first_s: float = 0.0
    """To the first token; 0 if none came."""
    code: str = ""
    said: str = ""
    places: tuple[str, ...] = ()
    """Short ids of those who answered."""


@dataclass(frozen=True, slots=True)
class Whole:
    """What a prompt is answered when nothing is broken."""

    text: str
    finish: str
    tokens: tuple[int, int]


@dataclass(slots=True)
class Struck:
    """A fault, as it came about."""

    fault: Fault
    began_s: float
    ended_s: float
    """Taken back; of a killed node: ready again."""
    skipped: str = ""
    """Why it was not done."""
    recovered_s: float | None = None
    """Of `crash`: until the actor ran again. None if it was not seen to."""


@dataclass(frozen=True, slots=True)
class Gone:
    """A node's process ended although nobody asked it to."""

    node: str
    at_s: float
    code: int
    last_words: str


@dataclass(frozen=True, slots=True)
class Held:
    """What a node holds at one moment."""

    at_s: float
    pid: int
    rss_mib: float
    descriptors: int
    threads: int
    processes: int
    """Its own and those it started."""
    files: int
    """In its home."""


@dataclass(slots=True)
class History:
    asked: list[Asked] = field(default_factory=list)
    wholes: list[Whole] = field(default_factory=list)
    struck: list[Struck] = field(default_factory=list)
    gone: list[Gone] = field(default_factory=list)
    held: dict[str, list[Held]] = field(default_factory=dict)
    """By node, in order of time. The last sample is taken at rest, after everything."""
    met: dict[str, dict[str, str]] = field(default_factory=dict)
    """Node -> peer -> state, when the wait for the ghosts to go was over; only nodes that run ask."""
    absent: tuple[str, ...] = ()
    """Who did not run then."""
    met_again: dict[str, dict[str, str]] = field(default_factory=dict)
    """The same once everybody was back."""
    served_again_s: dict[str, float | None] = field(default_factory=dict)
    """Node -> seconds from the end of the faults to an answer."""
    nets: dict[str, dict[str, int]] = field(default_factory=dict)
    """Node -> peer -> net balance (ucr), at the end."""
    holds: dict[str, int] = field(default_factory=dict)
    """Node -> ucr still held for requests that are over."""
    audits: dict[str, tuple[int, str]] = field(default_factory=dict)
    """Node -> exit code of opengateway-audit, and what it found."""
    actors_down: dict[str, list[str]] = field(default_factory=dict)
    left_behind: dict[str, list[str]] = field(default_factory=dict)
    """Node -> processes that its end left."""
    logged: dict[str, int] = field(default_factory=dict)
    """Errors in all logs, the commonest first."""
    ended_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Violation:
    invariant: str
    at_s: float
    says: str


def errors_in(lines: Iterable[str], most: int = 20) -> dict[str, int]:
    """What ended each traceback, and how often; without those that we have provoked."""
    found: Counter[str] = Counter()
    within = False
    for line in lines:
        if line.startswith("Traceback (most recent call last)"):
            within = True
        elif within and not line.startswith((" ", "\t", "\n")):
            within = False
            found[line.strip()[:160]] += "chaos on" not in line
    return {words: count for words, count in found.most_common(most) if count}


def ids_to_names(ids: Mapping[str, str], rows: Mapping[str, int]) -> dict[str, int]:
    """Rows by node id, by name where the id is known."""
    return {ids.get(node_id, node_id): value for node_id, value in rows.items()}
