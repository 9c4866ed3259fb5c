"""What must hold whatever is broken. Each is a function of the history that returns where it was violated.

| invariant | what it says |
|---|---|
| answered_once | an accepted request gets one answer or one clear error, within LIMIT_S |
| whole_texts   | an answer is the uninterrupted one, a broken one its beginning: nothing doubled or lost |
| stayed_up     | no process ends by itself, unless it was refused memory |
| recovered     | a crashed actor runs again within RECOVERY_S |
| served_again  | every caller is answered within AGAIN_S of the last fault |
| no_ghosts     | GHOST_S after the end nobody lists who is gone, and everybody lists who is there |
| books_agree   | both sides of every pair have the same balance, and nothing is held |
| audits_clean  | opengateway-audit finds nothing wrong with any export |
| bounded       | memory, descriptors, threads, processes and files stay within bounds |
| tidy          | every actor runs in the end, and nothing outlives a node |

Limits about our own speed are multiplied by how much slower the machine is than an idle one (`slow`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Final, TypeAlias

from tools.chaos.history import Asked, History, Struck, Violation

LIMIT_S: Final = 30.0
"""For an answer: the 15 s that a request may wait for a slot in these runs, and as long again."""
RECOVERY_S: Final = 5.0
AGAIN_S: Final = 10.0
GHOST_S: Final = 30.0
MOST_RSS_MIB: Final = 400.0
MOST_DESCRIPTORS: Final = 600
MOST_THREADS: Final = 120
MOST_PROCESSES: Final = 4
MOST_FILES: Final = 120
GROWS_RSS_MIB: Final = 48.0
"""From the first sample of a node to the last, at rest: caches of a young node fill."""
GROWS_DESCRIPTORS: Final = 40
GROWS_THREADS: Final = 12

TAKES_DOWN: Final = frozenset({"kill", "restart", "memory", "leave"})
"""Faults in which a node's callers lose their connection without a word."""
TAKES_GATEWAY: Final = frozenset({"gateway", "node"})
OK, WARNINGS = 0, 1
"""Exit codes of opengateway-audit: warnings are receipts still on their way."""


Check: TypeAlias = Callable[[History, float], list[Violation]]
"""By the history, and by how much slower the machine is than an idle one."""


def violations(history: History, slow: float = 1.0, checks: Sequence[Check] | None = None) -> list[Violation]:
    """All of them, in order of time."""
    found: list[Violation] = []
    for check in INVARIANTS if checks is None else checks:
        found += check(history, slow)
    return sorted(found, key=lambda one: one.at_s)


def answered_once(history: History, slow: float) -> list[Violation]:
    found = []
    for asked in history.asked:
        took = asked.ended_s - asked.sent_s - _stopped_s(history.struck, asked)
        if asked.ending in ("hung", "unclear"):
            found.append(_of(asked, "answered_once", f"{asked.ending}: {asked.said}"))
        elif asked.ending in ("cut", "down") and not _excused(history.struck, asked, slow):
            found.append(_of(asked, "answered_once", f"{asked.ending} without a reason: {asked.said}"))
        elif took > LIMIT_S * slow:
            found.append(_of(asked, "answered_once", f"took {took:.1f} s of {LIMIT_S * slow:.0f} s"))
        elif asked.ending == "error" and not (asked.code and asked.said):
            found.append(_of(asked, "answered_once", f"status {asked.status} without code or message"))
    return found


def whole_texts(history: History, _slow: float) -> list[Violation]:
    found = []
    for asked in history.asked:
        whole = history.wholes[asked.prompt]
        if asked.ending == "answer":
            if asked.text != whole.text:
                found.append(_of(asked, "whole_texts", f"said {asked.text!r} instead of {whole.text!r}"))
            elif (asked.finish, asked.tokens) != (whole.finish, whole.tokens):
                ours, theirs = (asked.finish, *asked.tokens), (whole.finish, *whole.tokens)
                found.append(_of(asked, "whole_texts", f"ended as {ours} instead of {theirs}"))
        elif not whole.text.startswith(asked.text):
            found.append(_of(asked, "whole_texts", f"broke off after {asked.text!r}, not in {whole.text!r}"))
    return found


def stayed_up(history: History, _slow: float) -> list[Violation]:
    return [
        Violation("stayed_up", gone.at_s, f"{gone.node} ended with exit {gone.code}: {gone.last_words}")
        for gone in history.gone
        if not _acting(history.struck, gone.node, gone.at_s, gone.at_s, {"memory"})
    ]


def recovered(history: History, slow: float) -> list[Violation]:
    found = []
    for one in history.struck:
        if one.fault.kind == "crash" and not one.skipped:
            took = one.recovered_s
            if took is None or took > RECOVERY_S * slow:
                what = "did not run again" if took is None else f"ran again after {took:.1f} s only"
                where = f"{one.fault.actor} of {one.fault.targets[0]}"
                found.append(Violation("recovered", one.began_s, f"{where} {what}"))
    return found


def served_again(history: History, slow: float) -> list[Violation]:
    return [
        Violation(
            "served_again",
            history.ended_s,
            f"{node} got no answer" if took is None else f"{node} got an answer after {took:.1f} s only",
        )
        for node, took in history.served_again_s.items()
        if took is None or took > AGAIN_S * slow
    ]


def no_ghosts(history: History, _slow: float) -> list[Violation]:
    """The wait before `met` was read is GHOST_S at most, and in `History` as it was found."""
    says: list[str] = []
    for seen, absent in ((history.met, set(history.absent)), (history.met_again, set[str]())):
        for node, peers in seen.items():
            ghosts = sorted(other for other in absent if peers.get(other) == "up")
            says += [f"{node} lists {other}, who is gone" for other in ghosts]
            lost = sorted(other for other in set(seen) - {node} if peers.get(other) != "up")
            says += [f"to {node}, {other} is {peers.get(other, 'not known')}" for other in lost]
    return [Violation("no_ghosts", history.ended_s, one) for one in says]


def books_agree(history: History, _slow: float) -> list[Violation]:
    says: list[str] = []
    nets = history.nets
    for one in sorted(nets):
        for other in sorted(nets):
            ours, theirs = nets[one].get(other, 0), nets[other].get(one, 0)
            if one < other and ours + theirs:
                says.append(f"{one} has {ours} with {other}, which has {theirs}")
        strangers = sorted(set(nets[one]) - set(nets))
        says += [f"{one} has an account with {stranger}, who is nobody" for stranger in strangers]
    if total := sum(sum(rows.values()) for rows in nets.values()):
        says.append(f"all balances together are {total} ucr, not 0")
    says += [
        f"{node} still holds {held} ucr for requests that are over"
        for node, held in history.holds.items()
        if held
    ]
    return [Violation("books_agree", history.ended_s, one) for one in says]


def audits_clean(history: History, _slow: float) -> list[Violation]:
    return [
        Violation("audits_clean", history.ended_s, f"{node}: exit {code}: {said}")
        for node, (code, said) in history.audits.items()
        if code not in (OK, WARNINGS)
    ]


def bounded(history: History, _slow: float) -> list[Violation]:
    found = []
    for node, samples in history.held.items():
        for what, most in MOST.items():
            worst = max(samples, key=lambda one, w=what: float(getattr(one, w)))  # type: ignore[misc]
            if getattr(worst, what) > most:
                says = f"{node}: {what} {getattr(worst, what):g}, more than {most:g}"
                found.append(Violation("bounded", worst.at_s, says))
        for what, most in GROWS.items():
            first, last = getattr(samples[0], what), getattr(samples[-1], what)
            if last - first > most:
                says = f"{node}: {what} grew from {first:g} to {last:g}, by more than {most:g}"
                found.append(Violation("bounded", samples[-1].at_s, says))
    return found


def tidy(history: History, _slow: float) -> list[Violation]:
    found = [
        Violation("tidy", history.ended_s, f"{node}: {', '.join(down)} does not run")
        for node, down in history.actors_down.items()
        if down
    ]
    return found + [
        Violation("tidy", history.ended_s, f"{node} left behind: {'; '.join(left)}")
        for node, left in history.left_behind.items()
        if left
    ]


MOST: Final[dict[str, float]] = {
    "rss_mib": MOST_RSS_MIB,
    "descriptors": MOST_DESCRIPTORS,
    "threads": MOST_THREADS,
    "processes": MOST_PROCESSES,
    "files": MOST_FILES,
}
GROWS: Final[dict[str, float]] = {
    "rss_mib": GROWS_RSS_MIB,
    "descriptors": GROWS_DESCRIPTORS,
    "threads": GROWS_THREADS,
    "processes": 0,
}
INVARIANTS: Final[Sequence[Check]] = (
    answered_once,
    whole_texts,
    stayed_up,
    recovered,
    served_again,
    no_ghosts,
    books_agree,
    audits_clean,
    bounded,
    tidy,
)
WHILE: Final[Sequence[Check]] = (answered_once, whole_texts, stayed_up)
"""What can be told of the newest part of a history while it goes on."""


def before(history: History, violation: Violation) -> Struck | None:
    """The last fault that had begun by then."""
    begun = [one for one in history.struck if not one.skipped and one.began_s <= violation.at_s]
    return max(begun, key=lambda one: one.began_s, default=None)


def _of(asked: Asked, invariant: str, says: str) -> Violation:
    return Violation(invariant, asked.ended_s, f"{asked.node} asked prompt {asked.prompt}: {says}")


def _excused(struck: Sequence[Struck], asked: Asked, slow: float) -> bool:
    """Its own node was taken down while the request was under way, or was not back yet; a moment is allowed
    for between the fault and its record."""
    moment = 0.5 * slow
    since, until = asked.sent_s - moment, asked.ended_s + moment
    if not asked.status and _acting(struck, asked.node, since, until, {"files"}):
        return True  # without a descriptor to take the connection with, it is closed: nothing was accepted
    return _acting(struck, asked.node, since, until, TAKES_DOWN) or any(
        one.fault.kind == "crash" and one.fault.actor in TAKES_GATEWAY
        for one in _during(struck, asked.node, since, until)
    )


def _stopped_s(struck: Sequence[Struck], asked: Asked) -> float:
    """Seconds of this request in which its own node stood still."""
    return sum(
        min(one.ended_s, asked.ended_s) - max(one.began_s, asked.sent_s)
        for one in _during(struck, asked.node, asked.sent_s, asked.ended_s)
        if one.fault.kind == "freeze"
    )


def _acting(struck: Sequence[Struck], node: str, since: float, until: float, kinds: Iterable[str]) -> bool:
    return any(one.fault.kind in kinds for one in _during(struck, node, since, until))


def _during(struck: Sequence[Struck], node: str, since: float, until: float) -> list[Struck]:
    return [
        one
        for one in struck
        if not one.skipped and node in one.fault.targets and one.began_s <= until and one.ended_s >= since
    ]
