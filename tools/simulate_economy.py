#!/usr/bin/env python3
"""The economy under attack: the node's own admission code over a thousand nodes.

    python tools/simulate_economy.py [--attack KIND] [--nodes N] [--rounds N] [--seed N] [--png FILE] [--json]

Prints what each kind of attacker took beside its bound and what honest nodes got with and without it.
The same seed gives the same numbers. Exit code 1 if a bound was broken or money was made.
What is simulated, and what is not: docs/ECONOMY.md. Needs the installed project; --png also matplotlib.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict
from pathlib import Path

sys.path[0] = str(Path(__file__).resolve().parent.parent)

from tools.economy.attacks import ATTACKS  # noqa: E402
from tools.economy.scenario import Outcome, Setting, run  # noqa: E402
from tools.economy.table import name, text  # noqa: E402

CYCLE = "cycle"
CYCLES = ((3, 0), (3, 1), (3, 2), (4, 1), (4, 2))
"""Classes, and nodes that transfers may go through: a cycle of n needs n - 2."""
FEWEST = 20
"""Nodes: a ring serves ten, and a class of a cycle of four should have more than one to ask."""


def settings(arguments: argparse.Namespace) -> list[Setting]:
    base = Setting(arguments.nodes, arguments.rounds, arguments.seed, middles=arguments.middles)
    kinds = arguments.attack or [*ATTACKS, CYCLE]
    chosen = [base._replace(attack=kind) for kind in ATTACKS if kind == "none" or kind in kinds]
    if CYCLE in kinds:
        chosen += [base._replace(classes=classes, middles=middles) for classes, middles in CYCLES]
    return chosen


def run_all(chosen: Sequence[Setting], jobs: int, say: Callable[[str], None]) -> list[Outcome]:
    """In `jobs` processes, the outcomes in the order of the settings."""
    if jobs == 1:
        return [timed(setting, say) for setting in chosen]
    began = time.monotonic()
    with ProcessPoolExecutor(min(jobs, len(chosen))) as pool:
        futures = {pool.submit(run, setting): setting for setting in chosen}
        for future in as_completed(futures):
            say(f"{time.monotonic() - began:6.1f} s  {name(futures[future])}")
    outcomes = {futures[future]: future.result() for future in futures}
    return [outcomes[setting] for setting in chosen]


def timed(setting: Setting, say: Callable[[str], None]) -> Outcome:
    began = time.monotonic()
    outcome = run(setting)
    say(f"{time.monotonic() - began:6.1f} s  {name(setting)}")
    return outcome


def as_json(chosen: Sequence[Setting], outcomes: Sequence[Outcome]) -> str:
    runs = [
        {"name": name(setting), "setting": setting._asdict() | {"policy": asdict(setting.policy)}}
        | asdict(outcome)
        | {"rate": outcome.rate, "at_the_end": outcome.at_the_end, "held": outcome.holds}
        for setting, outcome in zip(chosen, outcomes, strict=True)
    ]
    return json.dumps(runs, indent=2)


def main(words: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    kinds = [*list(ATTACKS)[1:], CYCLE]
    add = parser.add_argument
    add(
        "--attack",
        action="append",
        choices=kinds,
        metavar="KIND",
        help=f"{', '.join(kinds)}; may be repeated (all)",
    )
    add("--nodes", type=int, default=Setting().nodes, help="honest nodes (%(default)s)")
    add("--rounds", type=int, default=Setting().rounds, help="of 10 minutes (%(default)s)")
    add("--seed", type=int, default=Setting().seed, help="(%(default)s)")
    add(
        "--middles",
        type=int,
        choices=(0, 1, 2),
        default=Setting().middles,
        help="nodes that a transfer may go through",
    )
    add("--jobs", type=int, default=os.cpu_count() or 1, help="processes (%(default)s)")
    add("--json", action="store_true", help="every figure, round by round, not the table")
    add("--png", type=Path, metavar="FILE", help="draw it (needs matplotlib)")
    arguments = parser.parse_args(words)
    if arguments.nodes < FEWEST or arguments.rounds < 8 or arguments.jobs < 1:
        parser.error(f"at least {FEWEST} nodes, 8 rounds and 1 process")
    if arguments.png and not _can_draw():
        parser.error("--png needs matplotlib: pip install matplotlib")
    chosen = settings(arguments)
    outcomes = run_all(chosen, arguments.jobs, lambda line: print(line, file=sys.stderr, flush=True))
    runs = list(zip(chosen, outcomes, strict=True))
    print(as_json(chosen, outcomes) if arguments.json else text(runs))
    if arguments.png:
        from tools.economy.picture import draw

        draw(runs, arguments.png)
    return 0 if all(outcome.holds and outcome.conserved for outcome in outcomes) else 1


def _can_draw() -> bool:
    try:
        import matplotlib  # noqa: F401, ICN001
    except ImportError:
        return False
    return True


if __name__ == "__main__":
    # Nothing here lies in circles, and looking for them among millions of pair records took 20 % of the time.
    gc.disable()
    sys.exit(main())
