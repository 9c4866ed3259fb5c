"""The simulated network, small: the unchanged routing code finds near places and asks few."""

from __future__ import annotations

import json

import pytest

from tools import simulate_network
from tools.network.run import Run, Setting


@pytest.fixture(scope="module")
def figures() -> dict[str, object]:
    return Run(Setting(nodes=400, seconds=60.0, load=0.5, seed=3)).run().as_json()


def test_nearly_everybody_is_answered_and_mostly_from_near(figures: dict[str, object]) -> None:
    assert isinstance(figures["answered"], int)
    assert figures["answered"] > 150
    assert float(str(figures["refused_share"])) < 0.1
    rings = figures["rings"]
    assert isinstance(rings, dict)
    assert rings["local"] + rings["lan"] + rings["nearest"] > 0.5
    assert rings["continent"] + rings["world"] > 0.01
    assert sum(rings.values()) == pytest.approx(1.0)


def test_few_quotes_are_asked_for(figures: dict[str, object]) -> None:
    assert float(str(figures["quotes_p95"])) <= simulate_network.MOST_QUOTES


def test_the_same_seed_gives_the_same_day() -> None:
    def day(seed: int) -> dict[str, object]:
        found = Run(Setting(nodes=80, seconds=30.0, seed=seed)).run().as_json()
        return {name: value for name, value in found.items() if not name.startswith("cpu")}

    assert day(5) == day(5)
    assert day(5) != day(6)


def test_nothing_is_left_open_when_the_day_is_over() -> None:
    run = Run(Setting(nodes=150, seconds=30.0, load=1.5, seed=4))
    figures = run.run()
    assert all(not worker.running and not worker.waiting for worker in run._workers.values())
    assert all(not any(one.waiting.values()) for one in run._requesters.values())
    assert sum(figures.refused.values()) + sum(figures.rings.values()) == len(figures.quotes)
    earned = sum(node.earned for node in run.world.nodes)
    assert earned == sum(node.spent for node in run.world.nodes) > 0


def test_the_command_prints_the_figures(capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--nodes", "60", "--seconds", "20"]
    assert simulate_network.main(words) in (0, 1)
    assert "quotes a request" in capsys.readouterr().out
    simulate_network.main([*words, "--json"])
    assert json.loads(capsys.readouterr().out)["nodes"] == 60
