"""What chaos says of a run, and how it reads the answers that it got."""

from __future__ import annotations

import json
import threading
from itertools import count

import pytest

from tools.chaos.history import Asked, Held, History, Struck, Violation, Whole, errors_in
from tools.chaos.load import Busy, read_stream
from tools.chaos.plan import Fault
from tools.chaos.report import Settings, as_json, as_text, quantiles

SETTINGS = Settings(7, 5, 60.0, "", 2.0, {"disk": "file systems cannot be mounted here"})


def history() -> History:
    held = Held(0.0, 1, 75.0, 40, 20, 2, 16)
    return History(
        asked=[
            Asked("caller0", 0, 1.0, 1.5, "answer", 200, "4", "stop", (9, 2), 0.1, places=("a", "b")),
            Asked("caller0", 0, 2.0, 4.0, "answer", 200, "4", "stop", (9, 2), 0.3, places=("a",)),
            Asked("caller0", 0, 3.0, 3.1, "error", 503, code="all_busy", said="no slot"),
        ],
        wholes=[Whole("4", "stop", (9, 2))],
        struck=[
            Struck(Fault(2.0, "crash", ("worker0",), actor="ledger"), 2.0, 2.2, recovered_s=0.2),
            Struck(Fault(2.5, "kill", ("worker1",), 3.0), 2.5, 2.5, skipped="worker1 does not run"),
        ],
        held={"worker0": [held, held]},
    )


def test_the_report_says_how_to_repeat_the_run_what_was_done_and_what_came_of_it() -> None:
    text = as_text(SETTINGS, history(), [])
    assert "`python -m tools.chaos --seed 7 --nodes 5 --seconds 60`" in text
    assert "| crash | one actor raises at its next message | 1 |" in text
    assert "| kill |" not in text, "it was skipped"
    assert "Skipped:     2.5 s  kill      worker1 for 3.0 s (worker1 does not run)." in text
    assert "Left out: disk, file systems cannot be mounted here." in text
    assert "3 requests: 2 answer, 1 error." in text
    assert "Errors: 1 all_busy." in text
    assert "1 answers were given by two nodes or more." in text
    assert "0 violations of 10 invariants" in text


def test_a_violation_is_told_with_its_moment_and_the_fault_before() -> None:
    found = [Violation("whole_texts", 2.1, "caller0 said 44")]
    text = as_text(SETTINGS, history(), found)
    assert "1 violations of" in text
    assert "- 2.1 s, whole_texts: caller0 said 44 (after 2.0 s  crash     worker0 ledger)" in text
    assert as_json(SETTINGS, history(), found)["violations"][0]["after"].endswith("worker0 ledger")


def test_the_report_for_programs_is_json_with_percentiles() -> None:
    told = json.loads(json.dumps(as_json(SETTINGS, history(), [])))
    assert told["requests"]["answer_s"] == {"p50": 1.25, "p95": 2.0, "max": 2.0}
    assert told["faults"] == {"crash": 1}
    assert told["settings"]["seed"] == 7


def test_a_run_of_some_faults_is_repeated_with_those() -> None:
    assert Settings(7, 5, 60.0, "kill,crash").again.endswith("--seconds 60 --faults kill,crash")


def test_the_report_counts_the_errors_in_the_logs_that_were_not_ordered() -> None:
    log = [
        "2026-11-25 ERROR actors.kernel: gauge failed",
        "Traceback (most recent call last):",
        '  File "actors/gauge.py", line 38, in __init__',
        "OSError: [Errno 24] Too many open files: '/proc/stat'",
        "2026-11-25 INFO actors.kernel: gauge restarted, life 3",
        "Traceback (most recent call last):",
        '  File "actors/kernel/actor.py", line 9, in _live',
        "RuntimeError: chaos on object",
    ] * 2
    assert errors_in(log) == {"OSError: [Errno 24] Too many open files: '/proc/stat'": 2}
    told = history()
    told.logged = errors_in(log)
    assert "- 2 x OSError: [Errno 24]" in as_text(SETTINGS, told, [])


def test_percentiles_of_nothing_are_nothing() -> None:
    assert quantiles([]) == {}
    assert quantiles([3.0]) == {"p50": 3.0, "p95": 3.0, "max": 3.0}


def piece(text: str = "", finish: str = "") -> str:
    return "data: " + json.dumps({"choices": [{"delta": {"content": text}, "finish_reason": finish or None}]})


USAGE = 'data: {"choices": [], "usage": {"prompt_tokens": 9, "completion_tokens": 2}}'
ERROR = 'data: {"error": {"code": "worker_lost", "message": "it was lost"}}'
DONE = "data: [DONE]"


def read(*lines: str) -> Asked:
    asked, clock = Asked("caller0", 0, 0.0), count(1)
    read_stream(asked, iter([f"{line}\n" for line in lines]), lambda: float(next(clock)))
    return asked


def test_a_whole_answer_has_its_text_its_end_and_its_count() -> None:
    asked = read(": waiting", piece("4"), "", piece(".", "stop"), USAGE, DONE)
    assert (asked.ending, asked.text, asked.finish, asked.tokens) == ("answer", "4.", "stop", (9, 2))
    assert asked.first_s == 1.0


@pytest.mark.parametrize(
    ("lines", "ending"),
    [
        ((piece("4"), piece("", "stop"), DONE, piece("4")), "unclear"),
        ((piece("4"), piece("", "stop"), DONE, DONE), "unclear"),
        ((piece("4"), ERROR, piece("4")), "unclear"),
        ((piece("4"), ERROR, DONE), "error"),
        ((piece("4"), ERROR), "error"),
        ((piece("4"), piece("", "stop")), "cut"),
        ((piece("4"), DONE), "cut"),
        ((), "cut"),
    ],
)
def test_what_is_not_one_answer_is_called_what_it_is(lines: tuple[str, ...], ending: str) -> None:
    assert read(*lines).ending == ending


def test_a_fault_waits_until_its_node_is_in_the_middle_of_an_answer() -> None:
    busy = Busy()
    assert not busy.wait("a", 0.0)
    found: list[bool] = []
    waiting = threading.Thread(target=lambda: found.append(busy.wait("a", 20.0)))
    waiting.start()
    busy.begins("b")
    busy.begins("a")
    waiting.join()
    assert found == [True]
    busy.ends("a")
    assert not busy.wait("a", 0.0)
