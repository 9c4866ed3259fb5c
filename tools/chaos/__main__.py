"""Breaks a network of real nodes under load, in an order drawn from a seed, and holds it to what it promises.

    python -m tools.chaos [--seconds 60] [--nodes 10] [--seed N] [--faults kill,crash] [--report FILE.md]
    python -m tools.chaos --plan --seed N

Exit code 1 if an invariant was violated (docs/CHAOS.md). As root the nodes live in network namespaces, with
small disks of their own; else on loopback, and the report says what was left out.
"""

from __future__ import annotations

import argparse
import json
import random
import signal
import sys
import tempfile
from pathlib import Path

from tools.chaos.invariants import violations
from tools.chaos.place import with_own_mounts
from tools.chaos.plan import KINDS, plan
from tools.chaos.report import Settings, as_json, as_text


def _interrupt_once(_number: int, _frame: object) -> None:
    """What is started must be ended, and a second signal must not interrupt that."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    raise KeyboardInterrupt


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(
        prog="tools.chaos", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds", type=float, default=60.0, help="in which faults begin and end")
    parser.add_argument("--nodes", type=int, default=10, help="2 to 20; half of them serve")
    parser.add_argument("--seed", type=int, help="of a run that is to be repeated")
    parser.add_argument("--faults", default=",".join(KINDS), help=f"of {', '.join(KINDS)}")
    parser.add_argument("--report", type=Path, action="append", default=[], help="FILE.md or FILE.json")
    parser.add_argument("--plan", action="store_true", help="say what would be done, and do nothing")
    parser.add_argument("--keep", type=Path, help="a folder for the homes and logs of all nodes")
    given = parser.parse_args(arguments)
    seed = random.SystemRandom().randrange(1, 10**6) if given.seed is None else given.seed
    if not 2 <= given.nodes <= 20:
        parser.error("--nodes: 2 to 20")
    if wrong := [str(file) for file in given.report if file.suffix not in (".md", ".json")]:
        parser.error(f"--report: .md or .json, not {', '.join(wrong)}")
    try:
        faults = plan(seed, given.nodes, given.seconds, [one for one in given.faults.split(",") if one])
    except ValueError as error:
        parser.error(f"--faults: {error}")
    if given.plan:
        print(*faults, sep="\n")
        return 0
    with_own_mounts([*arguments, "--seed", str(seed)])
    from tools.chaos.run import Run

    signal.signal(signal.SIGTERM, _interrupt_once)
    print(f"seed {seed}, {given.nodes} nodes, {given.seconds:g} s", flush=True)
    with tempfile.TemporaryDirectory(prefix="chaos-", ignore_cleanup_errors=True) as folder:
        run = Run(
            Path(given.keep or folder), seed, given.nodes, faults, lambda words: print(words, flush=True)
        )
        history = run.go()
    found = violations(history, run.slow)
    chosen = "" if given.faults == ",".join(KINDS) else given.faults
    settings = Settings(seed, given.nodes, given.seconds, chosen, run.slow, run.missing)
    text = as_text(settings, history, found)
    print(f"\n{text}")
    for file in given.report:
        data = json.dumps(as_json(settings, history, found), indent=1)
        file.write_text(text if file.suffix == ".md" else data + "\n")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
