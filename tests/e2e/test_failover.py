"""Workers are killed with -9, or frozen, in the middle of answers, and the readers do not notice.

Real nodes, the pocket model, greedy: every text must be the one that nobody interrupted, to the letter, with
its usage and its finish reason; both
workers are paid what was vouched for, and strangers find nothing wrong with the books.

    OPENGATEWAY_KILLS=1000 OPENGATEWAY_SEED=7 .venv/bin/pytest -m slow tests/e2e/test_failover.py -s
"""

from __future__ import annotations

import os
import random
import time
from pathlib import Path

import pytest
from failover_lab import ASKED, How, Network, Told, chosen

HOW: tuple[How, ...] = ("engine", "freeze", *("node",) * 10)
"""In turn. An engine that is killed again and again is started ever later, so most are whole nodes."""
FEW = 3
LONG = 2.0
"""Seconds to the next token; what took longer is shown."""


def p95_of(broken: list[Told]) -> float:
    return sorted(told.next_token for told in broken)[len(broken) * 95 // 100]


def waits(broken: list[Told]) -> str:
    found = sorted(told.next_token for told in broken)
    half = found[len(found) // 2]
    return (
        f"{len(broken)} answers of two workers or more; next token after {half:.2f} s at p50, "
        f"{p95_of(broken):.2f} s at p95, {found[-1]:.2f} s at most"
    )


def kill(folder: Path, kills: int, seed: int, workers: int) -> list[Told]:
    """So many answers that two workers gave, or more."""
    chance = random.Random(seed)
    with Network(folder, workers) as network:
        wholes = [network.tell(body) for body in ASKED]
        wholes.append(hedged(network, wholes[0]))
        answers: list[Told] = []
        broken: list[Told] = []
        while len(broken) < kills:
            at = chance.randrange(len(ASKED))
            whole, token = wholes[at], chosen(chance, wholes[at])
            how = HOW[len(broken) % len(HOW)]
            network.ready(2)
            told = network.tell(ASKED[at], token, how)
            network.thaw()
            told_of = f"answer {len(answers)}, {how} struck at token {token}: seed {seed}"
            assert told.text == whole.text, told_of
            assert (told.finish, told.usage) == (whole.finish, whole.usage), told_of
            answers.append(told)
            if told.next_token > LONG:
                trace = network.asking.get(f"/node/trace/{told.stats['request_id']}")
                print(f"{told.next_token:.1f} s for the next token: {trace['events']}", flush=True)
            if len(told.places) > 1:
                broken.append(told)
                if len(broken) % 10 == 0:
                    print(f"{waits(broken)}, all whole so far", flush=True)
            assert len(answers) < 20 + 5 * kills, "hardly an answer is still going on when its worker dies"
        network.settle_up([*wholes, *answers])
        counts = network.asking.get("/node/status")["jobs"]["failover"]
        assert counts["broken_off"] >= len(broken)
        assert counts["lost"] == 0
    return broken


def hedged(network: Network, whole: Told) -> Told:
    """The engine that answered last time stands still, behind a node that is well: the other one answers."""
    with network.stopped_engine(whole.places[-1]):
        told = network.tell(ASKED[0])
    assert (told.text, told.finish, told.usage) == (whole.text, whole.finish, whole.usage)
    assert len(told.places) == 1
    assert told.places != whole.places
    counts = network.asking.get("/node/status")["jobs"]["failover"]
    assert counts["hedged"] == counts["hedges_won"]  # 0 if it went to the other one in the first place
    return told


@pytest.mark.timeout(600)
def test_an_answer_whose_worker_is_killed_is_the_one_that_nobody_interrupted(tmp_path: Path) -> None:
    broken = kill(tmp_path, FEW, seed=3, workers=2)
    assert {len(told.places) for told in broken} >= {2}


@pytest.mark.slow
@pytest.mark.timeout(4 * 3600)
def test_a_thousand_kills_and_every_text_is_whole(tmp_path: Path) -> None:
    seed = int(os.environ.get("OPENGATEWAY_SEED", "0")) or random.SystemRandom().randrange(1, 10**6)
    kills, started = int(os.environ.get("OPENGATEWAY_KILLS", "1000")), time.monotonic()
    broken = kill(tmp_path, kills, seed, workers=3)
    print(
        f"\nseed {seed}: {waits(broken)}, all equal to the uninterrupted; {time.monotonic() - started:.0f} s"
    )
    assert p95_of(broken) <= LONG
