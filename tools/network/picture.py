"""The day as a picture. Only this needs matplotlib."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from opengateway.routing.placement import RINGS

COLOURS = ("#000000", "#009E73", "#56B4E9", "#0072B2", "#E69F00", "#D55E00")
"""Told apart by the colour-blind too (Okabe and Ito, 2008)."""


def draw(figures: dict[str, Any], path: Path) -> None:
    """Raises `ImportError` without matplotlib, `OSError` where `path` cannot be written."""
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    style: Any = {"font.size": 11, "axes.spines.top": False, "axes.spines.right": False, "axes.grid": True}
    style["axes.axisbelow"] = True  # bars stand before the grid
    with plt.style.context("default"), mpl.rc_context(style):
        figure, panels = plt.subplots(2, 2, figsize=(13, 9), layout="constrained")
        figure.suptitle(f"{figures['nodes']:,} nodes, {figures['answered']:,} answers of one day")
        rings = panels[0][0]
        rings.bar(RINGS, [100 * figures["rings"][ring] for ring in RINGS], color=COLOURS)
        rings.set(title="Where answers came from", ylabel="% of answers")
        hours = panels[0][1]
        hours.plot(
            [100 * share for share in figures["utilisation_by_hour"]], color="#0072B2", label="slots busy"
        )
        hours.plot([100 * share for share in figures["far_by_hour"]], color="#D55E00", label="from abroad")
        hours.set(title="Over the day", xlabel="hour, UTC", ylabel="%", ylim=(0, None))
        hours.legend(frameon=False)
        waits = panels[1][0]
        names = [name.replace(" than", "\nthan").replace(" nor", "\nnor") for name in figures["waiting"]]
        waits.bar(names, [row["mean_s"] for row in figures["waiting"].values()], color="#009E73")
        waits.set(title="Waiting by balance", ylabel="seconds, mean")
        fair = panels[1][1]
        tenths = range(1, len(figures["fairness"]) + 1)
        for what, colour in (("earned", "#0072B2"), ("received", "#E69F00")):
            fair.plot(
                tenths, [row[what] / 1e6 for row in figures["fairness"]], "o-", color=colour, label=what
            )
        fair.set(title="Serving nodes by what they earned", xlabel="tenth", ylabel="credits a node")
        fair.legend(frameon=False)
        figure.savefig(path, dpi=110)
        plt.close(figure)
