"""The runs as a picture. Only this needs matplotlib."""

from __future__ import annotations

from itertools import accumulate
from pathlib import Path
from typing import Any

from opengateway.units import CREDIT
from tools.economy.scenario import HOUR_MS, ROUND_MS
from tools.economy.table import Runs, name

COLOURS = {
    "none": "#555555", "free-riders": "#0072B2", "whitewash": "#E69F00", "ring": "#D55E00",
    "long-con": "#009E73",
}  # fmt: skip
"""Told apart by the colour-blind too (Okabe and Ito, 2008)."""
DASHES = {"whitewash": "--"}
CYCLES = {
    (3, 0): ("#D55E00", "-"), (3, 1): ("#0072B2", "-"), (3, 2): ("#56B4E9", "--"),
    (4, 1): ("#000000", ":"), (4, 2): ("#009E73", "-"),
}  # fmt: skip
"""By classes and nodes in between. Of lines that lie on each other, the upper one is dashed."""
BOUND = "#333333"
HOURS = ROUND_MS / HOUR_MS
SMOOTH = 12
"""Rounds, 2 hours: single rounds of some hundred requests jitter by 1 %."""


def draw(runs: Runs, path: Path) -> None:
    """Raises `ImportError` without matplotlib, `OSError` where `path` cannot be written."""
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    style: Any = {
        "font.size": 11, "axes.titlesize": 12.5, "axes.titleweight": "bold", "axes.titlelocation": "left",
        "axes.spines.top": False, "axes.spines.right": False, "axes.grid": True, "axes.axisbelow": True,
        "grid.color": "#E4E4E4", "figure.constrained_layout.w_pad": 0.15,
        "figure.constrained_layout.h_pad": 0.12, "legend.frameon": False, "legend.fontsize": 10,
        "axes.titlepad": 10,
    }  # fmt: skip
    with plt.style.context("default"), mpl.rc_context(style):
        figure, panels = plt.subplots(2, 2, figsize=(13, 9), layout="constrained")
        attacks = [run for run in runs if run[0].attack != "none"]
        _taken(panels[0][0], attacks)
        _backed(panels[0][1], attacks)
        panels[1][0].set_title("Honest nodes, with and without an attack")
        _got(panels[1][0], [run for run in runs if run[0].classes == 1])
        panels[1][1].set_title("Honest nodes in a cycle, nobody attacks")
        _got(panels[1][1], [run for run in runs if run[0].classes > 1])
        figure.savefig(path, dpi=120, facecolor="white")
        plt.close(figure)


def _taken(axes: Any, runs: Runs) -> None:
    axes.set_title("What attackers took, and the most that they could")
    for setting, outcome in runs:
        hours = [HOURS * (i + 1) for i in range(setting.rounds)]
        taken = [x / 1000 for x in accumulate(outcome.taken_by_round)]
        colour, dashes = COLOURS[setting.attack], DASHES.get(setting.attack, "-")
        axes.plot(hours, taken, color=colour, ls=dashes, lw=2, label=name(setting))
    if runs:
        setting = runs[0][0]
        hours = [HOURS * i for i in range(setting.rounds + 1)]
        policy = setting.policy
        pools = [policy.pool + policy.pool_refill_per_hour * hour for hour in hours]
        bound = [setting.nodes * pool / CREDIT / 1000 for pool in pools]
        axes.plot(hours, bound, color=BOUND, lw=1.5, ls="--", label="bound: all pools together")
        axes.set_ylim(0, max(bound) * 1.1)
        axes.set_xlim(0, hours[-1])
        axes.legend(loc="lower right")
    axes.set_xlabel("hours")
    axes.set_ylabel("thousand credits")


def _backed(axes: Any, runs: Runs) -> None:
    axes.set_title("Beyond the pools: at most 1.25 times what they served")
    given = [run for run in runs if run[1].contributed]
    for place, (setting, outcome) in enumerate(given):
        axes.barh(place, outcome.backed / outcome.contributed, 0.45, color=COLOURS[setting.attack])
        said = f"{outcome.contributed:,.1f} credits served, {outcome.backed:,.1f} taken for it"
        axes.annotate(said, (0.03, place), va="center", color="white", fontweight="bold")
    axes.axvline(1.25, color=BOUND, lw=1.5, ls="--")
    axes.annotate("bound", (1.26, 0.96), xycoords=("data", "axes fraction"), va="top", color=BOUND)
    axes.set_yticks(range(len(given)), [name(setting) for setting, _ in given])
    axes.set_ylim(len(given) - 0.4, -0.6)
    axes.set_xlim(0, 1.5)
    axes.set_xlabel("credits taken for one served, without the pools")
    axes.grid(visible=False, axis="y")


def _got(axes: Any, runs: Runs) -> None:
    for setting, outcome in runs:
        rounds = range(SMOOTH, setting.rounds + 1, max(1, SMOOTH // 4))
        shares = [100 * outcome.worth(i - SMOOTH, i) for i in rounds]
        colour, dashes = COLOURS[setting.attack], DASHES.get(setting.attack, "-")
        if setting.classes > 1:
            colour, dashes = CYCLES[setting.classes, setting.middles]
        axes.plot([HOURS * i for i in rounds], shares, color=colour, lw=2, ls=dashes, label=name(setting))
        axes.set_xlim(0, HOURS * setting.rounds)
    axes.set_ylim(0, 104)
    axes.set_xlabel("hours")
    axes.set_ylabel("% of the credits that they asked for")
    if runs:
        axes.legend(loc="center right" if runs[0][0].classes > 1 else "lower left")
