"""The economy under attack, small: the bounds, and that nothing comes from nowhere."""

from __future__ import annotations

import json
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

from opengateway.ledger.admission import Policy
from tools.economy.attacks import ATTACKS
from tools.economy.scenario import Network, Outcome, Setting, run
from tools.simulate_economy import main

ROOT = Path(__file__).resolve().parents[2]
ATTACKERS = [kind for kind in ATTACKS if kind != "none"]
SMALL = Setting(nodes=60, rounds=120, seed=3)


@cache
def outcome(kind: str = "none", classes: int = 1, middles: int = 2) -> Outcome:
    return run(SMALL._replace(attack=kind, classes=classes, middles=middles))


@pytest.mark.parametrize("kind", ATTACKERS)
def test_attackers_get_the_pools_and_a_quarter_more_than_they_served_at_most(kind: str) -> None:
    got = outcome(kind)
    assert 0 < got.from_pools <= got.pools_bound
    assert got.backed <= 1.25 * got.contributed
    assert got.taken == pytest.approx(got.backed + got.from_pools)
    assert got.taken == pytest.approx(sum(got.taken_by_round))


@pytest.mark.parametrize("kind", ATTACKS)
def test_no_money_is_made_or_lost_under_any_attack(kind: str) -> None:
    assert outcome(kind).sum_of_pairs == 0
    assert outcome(kind).disagreements == 0


def test_a_ring_of_fifty_that_served_100_credits_gets_125_and_the_pools_whatever_it_mints() -> None:
    got = outcome("ring")
    assert got.identities == 51
    assert got.contributed == 100
    assert got.backed <= 125
    assert got.backed > 100, "an attack that leaves its own credit lying about tests nothing"
    assert 0 < got.claimed <= 100, "the fakes come by their leader's claims on others, and by no more"


def test_with_pools_closed_the_ring_gets_125_credits_and_not_a_ucr_more() -> None:
    network = Network(SMALL._replace(attack="ring"))
    for number in range(SMALL.rounds):
        if number == SMALL.begins:
            # From now on nobody gives anything on trust; honest people have their credit by then.
            closed = Policy(stranger_line=0, pool=0, pool_refill_per_hour=0)
            network.market.policy = closed
        network._round(number)
        network.market.now_ms += 600_000
    network._account()
    assert 0 < network.outcome.taken <= 125


def test_free_riders_and_new_keys_get_nothing_where_nothing_is_given_on_trust() -> None:
    strict = Policy(stranger_line=0, pool=0)
    for kind in ("free-riders", "whitewash"):
        assert run(SMALL._replace(attack=kind, rounds=16, policy=strict)).taken == 0


def test_a_new_key_for_every_answer_gets_no_more_than_fifty_that_stay() -> None:
    stayed, changed = outcome("free-riders"), outcome("whitewash")
    assert changed.identities > 5 * stayed.identities
    assert changed.taken == pytest.approx(stayed.taken, rel=0.1)


def test_honest_nodes_want_the_same_with_and_without_an_attack() -> None:
    for kind in ATTACKERS:
        assert outcome(kind).asked == outcome().asked
        assert outcome(kind).wanted_by_round == outcome().wanted_by_round


def test_honest_nodes_are_served_through_every_attack() -> None:
    assert outcome().rate > 0.97
    for kind in ATTACKERS:
        assert outcome(kind).rate > 0.9


@pytest.mark.parametrize(("classes", "needs"), [(3, 1), (4, 2)])
def test_who_only_owes_in_a_circle_is_served_by_transfers_through_enough_nodes(
    classes: int, needs: int
) -> None:
    enough = outcome(classes=classes, middles=needs)
    short = outcome(classes=classes, middles=needs - 1)
    assert enough.at_the_end > 0.9
    assert short.at_the_end < 0.3
    assert short.moved == 0
    assert enough.conserved


def test_the_same_seed_gives_the_same_numbers_and_another_seed_others() -> None:
    tiny = Setting(nodes=30, rounds=16, seed=5, attack="long-con")
    assert run(tiny) == run(tiny)
    assert run(tiny) != run(tiny._replace(seed=6))


def test_the_same_seed_gives_the_same_numbers_in_another_process() -> None:
    command = [sys.executable, str(ROOT / "tools/simulate_economy.py"), "--nodes=25", "--rounds=12"]
    command += ["--attack=ring", "--attack=whitewash", "--json"]
    said = [
        subprocess.run(
            [*command, f"--jobs={jobs}"],
            env={"PYTHONHASHSEED": seed, "PYTHONPATH": str(ROOT)},
            capture_output=True,
            check=True,
            timeout=50,
        ).stdout
        for jobs, seed in ((1, "1"), (2, "2"))
    ]
    assert said[0] == said[1]
    runs = json.loads(said[0])
    assert [one["name"] for one in runs] == ["nobody attacks", "whitewash", "ring"]
    assert all(one["held"] and one["sum_of_pairs"] == 0 for one in runs)


def test_the_table_says_what_was_taken_and_that_the_bounds_held(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--nodes=25", "--rounds=12", "--jobs=1"]) == 0
    said = capsys.readouterr().out
    assert said.count("held") == len(ATTACKERS)
    assert "BROKEN" not in said
    assert "Sum over all pairs in 10 runs: 0 ucr. Pairs whose two sides disagree: 0." in said
    assert "a cycle of four, through one or two" in said


def test_too_small_a_network_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        main(["--nodes=5"])
    assert left.value.code == 2
    assert "at least 20 nodes" in capsys.readouterr().err


def test_the_picture_is_a_png(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    picture = tmp_path / "economy.png"
    command = [sys.executable, str(ROOT / "tools/simulate_economy.py"), "--nodes=25", "--rounds=24"]
    subprocess.run([*command, f"--png={picture}"], capture_output=True, check=True, timeout=50)
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert picture.stat().st_size > 20_000
