"""Coverage-guided fuzzing of everything that reads what others wrote. Needs `pip install -e .[fuzz]`.

    python -m tools.fuzz [TARGET ...] [--seconds 120] [--work FOLDER]
    python -m tools.fuzz --keep [TARGET ...]    the smallest of what reached something new, into tests/data

Inputs are collected in FOLDER (.fuzz unless given) and begin with tests/data/fuzz. What crashes, hangs for
10 s or takes more than 1 GiB is written to FOLDER/TARGET/found, and the exit code is 1.
"""

from __future__ import annotations

import argparse
import hashlib
import re
import resource
import shutil
import subprocess
import sys
from pathlib import Path

from tools.fuzz.targets import TARGETS, Target

ROOT = Path(__file__).parents[2]
CORPUS = ROOT / "tests" / "data" / "fuzz"
HANG_S, MEMORY_MIB = 10, 1024
KEPT, KEPT_BYTES, SEEDS = 48, 30_000, 12
"""Inputs of one target that go into the repository, and how many bytes they have together."""
_STATE = re.compile(r"#(\d+)\s+\w+\s+cov: (\d+)")


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("targets", nargs="*", metavar="TARGET", help=", ".join(TARGETS))
    parser.add_argument("--seconds", type=int, default=120, help="for each target")
    parser.add_argument("--work", type=Path, default=ROOT / ".fuzz")
    parser.add_argument("--keep", action="store_true")
    given = parser.parse_args()
    if unknown := set(given.targets) - set(TARGETS):
        parser.error(f"no such target: {', '.join(sorted(unknown))}")
    bad = 0
    for name in given.targets or TARGETS:
        if given.keep:
            _keep(name, TARGETS[name], given.work)
        else:
            bad |= _fuzz(name, TARGETS[name], given.work, given.seconds)
    return bad


def _fuzz(name: str, target: Target, work: Path, seconds: int) -> int:
    inputs, found = work / name / "inputs", work / name / "found"
    for folder in (inputs, found, CORPUS / name):
        folder.mkdir(parents=True, exist_ok=True)
    for seed in target.seeds():
        (inputs / hashlib.sha256(seed).hexdigest()[:16]).write_bytes(seed)
    before = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime
    done = _worker(
        name, inputs, CORPUS / name, f"-max_total_time={seconds}", f"-max_len={target.longest}",
        f"-timeout={HANG_S}", f"-rss_limit_mb={MEMORY_MIB}", f"-artifact_prefix={found}/",
    )  # fmt: skip
    runs, edges = (_STATE.findall(done.stderr) or [("0", "0")])[-1]
    used = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime - before
    print(
        f"{name:<12} {int(runs):>9} inputs in {used:5.0f} CPU-seconds, {edges:>5} edges, "
        f"{len(list(inputs.iterdir()))} collected, exit {done.returncode}",
        flush=True,
    )
    if done.returncode:
        print(done.stderr[-3000:], file=sys.stderr)
    return int(bool(done.returncode))


def _keep(name: str, target: Target, work: Path) -> None:
    """The seeds; and of what libFuzzer collected, because it reached something new, the smallest."""
    place, room = CORPUS / name, KEPT_BYTES
    place.mkdir(parents=True, exist_ok=True)
    for seed in target.seeds()[:SEEDS]:
        (place / hashlib.sha256(seed).hexdigest()[:16]).write_bytes(seed)
    for file in sorted((work / name / "inputs").iterdir(), key=lambda one: (one.stat().st_size, one.name))[
        :KEPT
    ]:
        room -= file.stat().st_size
        if room < 0:
            break
        shutil.copy(file, place / file.name[:16])
    print(f"{name}: {len(list(place.iterdir()))} inputs in {place}")


def _worker(name: str, *words: Path | str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "tools.fuzz.worker", name, *map(str, words)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, errors="replace", check=False)


if __name__ == "__main__":
    sys.exit(main())
