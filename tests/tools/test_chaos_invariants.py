"""Each invariant holds on a history in which all went well, and fails on one that was forged."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from tools.chaos import invariants
from tools.chaos.history import Asked, Ending, Gone, Held, History, Struck, Violation, Whole
from tools.chaos.invariants import INVARIANTS, LIMIT_S, MOST, RECOVERY_S, before, violations
from tools.chaos.plan import Fault

WHOLE = Whole("1, 2, 3.", "stop", (9, 5))
HELD = Held(0.0, 1, 75.0, 40, 20, 2, 16)


def answer(sent_s: float = 10.0, took_s: float = 1.0, **changes: object) -> Asked:
    told = Asked("caller0", 0, sent_s, sent_s + took_s, "answer", 200, WHOLE.text, WHOLE.finish, WHOLE.tokens)
    return replace(told, **changes)  # type: ignore[arg-type]


def struck(kind: str, began_s: float, ended_s: float, node: str = "caller0", actor: str = "") -> Struck:
    fault = Fault(began_s, kind, (node,), actor=actor)
    return Struck(fault, began_s, ended_s, recovered_s=0.3 if kind == "crash" else None)


def well() -> History:
    """A run of two nodes in which nothing that must hold was violated, although much was broken."""
    return History(
        asked=[
            answer(1.0),
            answer(2.0, ending="error", status=200, text="1, 2", code="worker_lost", said="it was lost"),
            answer(5.2, ending="cut", status=200, text="1,", said="reset"),
            answer(6.0, ending="down", status=0, text=""),
            answer(41.0, took_s=LIMIT_S + 4.0),
        ],
        wholes=[WHOLE],
        struck=[
            struck("kill", 5.5, 8.0),
            struck("crash", 15.0, 15.3, "worker0", "ledger"),
            struck("memory", 20.0, 25.0, "worker0"),
            struck("freeze", 42.0, 47.0),
        ],
        gone=[Gone("worker0", 21.0, -6, "out of memory")],
        held={"caller0": [HELD, HELD], "worker0": [HELD, replace(HELD, rss_mib=90.0)]},
        met={"caller0": {"worker0": "down"}},
        absent=("worker0",),
        met_again={"caller0": {"worker0": "up"}, "worker0": {"caller0": "up"}},
        served_again_s={"caller0": 0.4},
        nets={"caller0": {"worker0": -7}, "worker0": {"caller0": 7}},
        holds={"caller0": 0, "worker0": 0},
        audits={"caller0": (0, "VALID"), "worker0": (1, "VALID, a receipt is on its way")},
        actors_down={"caller0": [], "worker0": []},
        left_behind={"caller0": [], "worker0": []},
        ended_s=90.0,
    )


def test_a_run_in_which_all_was_kept_has_no_violations() -> None:
    assert violations(well()) == []


def forged(change: Callable[[History], object]) -> list[Violation]:
    history = well()
    change(history)
    return violations(history)


def bad(ending: Ending, **changes: object) -> Callable[[History], object]:
    return lambda history: history.asked.append(answer(ending=ending, **changes))  # type: ignore[arg-type]


FORGERIES: dict[str, tuple[str, Callable[[History], object]]] = {
    "an answer that never came": ("answered_once", bad("hung", said="silent")),
    "a second answer": ("answered_once", bad("unclear", said="after the end")),
    "a connection cut while nothing was broken": ("answered_once", bad("cut", text="1,")),
    "a node down while nothing was broken": ("answered_once", bad("down", text="")),
    "an answer that took too long": ("answered_once", bad("answer", took_s=LIMIT_S + 1)),
    "an error that says nothing": ("answered_once", bad("error", text="", status=500, code="", said="")),
    "a doubled token": ("whole_texts", bad("answer", text="1, 2, 2, 3.")),
    "a lost token": ("whole_texts", bad("answer", text="1, 3.")),
    "a lost end": ("whole_texts", bad("answer", text="1, 2")),
    "another finish reason": ("whole_texts", bad("answer", finish="length")),
    "a token that was counted twice": ("whole_texts", bad("answer", tokens=(9, 6))),
    "a doubled token before an error": ("whole_texts", bad("error", text="1, 1", code="lost", said="lost")),
    "a process that ended by itself": (
        "stayed_up",
        lambda history: history.gone.append(Gone("worker0", 30.0, 1, "the node gives up")),
    ),
    "an actor that came back too late": (
        "recovered",
        lambda history: setattr(history.struck[1], "recovered_s", RECOVERY_S + 0.1),
    ),
    "an actor that did not come back": (
        "recovered",
        lambda history: setattr(history.struck[1], "recovered_s", None),
    ),
    "a caller that is never served again": (
        "served_again",
        lambda history: history.served_again_s.update(caller0=None),
    ),
    "a caller that is served late": (
        "served_again",
        lambda history: history.served_again_s.update(caller0=99.0),
    ),
    "a ghost": ("no_ghosts", lambda history: history.met["caller0"].update(worker0="up")),
    "one who is back and not seen": (
        "no_ghosts",
        lambda history: history.met_again["caller0"].update(worker0="down"),
    ),
    "one whom nobody knows any more": ("no_ghosts", lambda history: history.met_again["worker0"].clear()),
    "a credit that one side does not know of": (
        "books_agree",
        lambda history: history.nets["worker0"].update(caller0=8),
    ),
    "an account that only one side has": ("books_agree", lambda history: history.nets["worker0"].clear()),
    "an account with nobody": (
        "books_agree",
        lambda history: history.nets["worker0"].update(stranger=0),
    ),
    "a hold that is never released": ("books_agree", lambda history: history.holds.update(caller0=3)),
    "a tampered ledger": ("audits_clean", lambda history: history.audits.update(worker0=(2, "TAMPERED"))),
    "a ledger that could not be had": (
        "audits_clean",
        lambda history: history.audits.update(worker0=(-1, "")),
    ),
    "a moment with too much memory": (
        "bounded",
        lambda history: history.held["worker0"].insert(1, replace(HELD, rss_mib=MOST["rss_mib"] + 1)),
    ),
    "memory that grew": (
        "bounded",
        lambda history: history.held["worker0"].append(replace(HELD, rss_mib=140)),
    ),
    "descriptors that leaked": (
        "bounded",
        lambda history: history.held["worker0"].append(replace(HELD, descriptors=90)),
    ),
    "threads that leaked": (
        "bounded",
        lambda history: history.held["worker0"].append(replace(HELD, threads=40)),
    ),
    "an engine too many": (
        "bounded",
        lambda history: history.held["worker0"].append(replace(HELD, processes=3)),
    ),
    "files that pile up": (
        "bounded",
        lambda history: history.held["worker0"].append(replace(HELD, files=500)),
    ),
    "an actor that is down in the end": (
        "tidy",
        lambda history: history.actors_down["worker0"].append("registry"),
    ),
    "a process that outlived its node": (
        "tidy",
        lambda history: history.left_behind["worker0"].append("17 llama"),
    ),
}


@pytest.mark.parametrize("name", FORGERIES)
def test_what_must_not_be_is_found(name: str) -> None:
    invariant, change = FORGERIES[name]
    found = forged(change)
    assert {one.invariant for one in found} == {invariant}
    assert all(one.says for one in found)


def test_every_invariant_can_fail() -> None:
    assert {invariant for invariant, _ in FORGERIES.values()} == {check.__name__ for check in INVARIANTS}


def test_the_table_in_the_docstring_names_every_invariant() -> None:
    rows = [line.split("|")[1].strip() for line in (invariants.__doc__ or "").splitlines() if "|" in line]
    assert rows[2:] == [check.__name__ for check in INVARIANTS]


def test_only_ones_own_node_excuses_a_lost_connection() -> None:
    found = forged(lambda history: history.asked.append(answer(21.0, ending="cut", text="")))
    assert [one.invariant for one in found] == ["answered_once"], "the memory of worker0 is no excuse"


def test_a_gateway_that_crashed_excuses_its_callers_and_another_actor_does_not() -> None:
    def cut_by(actor: str) -> list[Violation]:
        def change(history: History) -> None:
            history.struck.append(struck("crash", 50.2, 50.5, "caller0", actor))
            history.asked.append(answer(50.0, ending="cut", text=""))

        return forged(change)

    assert not cut_by("gateway")
    assert cut_by("ledger")


def test_without_descriptors_a_connection_may_be_closed_but_an_answer_may_not() -> None:
    def cut(status: int) -> list[Violation]:
        def change(history: History) -> None:
            history.struck.append(struck("files", 50.0, 55.0))
            history.asked.append(answer(51.0, ending="cut", text="", status=status))

        return forged(change)

    assert not cut(0)
    assert cut(200)


def test_limits_about_speed_grow_with_how_slow_the_machine_is() -> None:
    history = well()
    history.asked.append(answer(took_s=2 * LIMIT_S))
    history.struck[1].recovered_s = 2 * RECOVERY_S
    assert {one.invariant for one in violations(history)} == {"answered_once", "recovered"}
    assert violations(history, slow=2.5) == []


def test_a_violation_is_told_with_the_fault_before() -> None:
    history = well()
    assert before(history, Violation("tidy", 16.0, "")) is history.struck[1]
    assert before(history, Violation("tidy", 1.0, "")) is None
    history.struck[1].skipped = "it had ended"
    assert before(history, Violation("tidy", 16.0, "")) is history.struck[0]
