"""Beside the peers: discovery, DHT, ledger and actors of others and of this project, in one run.

    .venv/bin/python tools/bench/beside/run.py [--folder DIR] [--only actors dht swarm ledger]

Installs kademlia, pyipv8 2.4.0 with cryptography 45, thespian and xoscar into an environment in DIR, and
hyperswarm by npm beside it (without npm that line is left out and said so). DIR is kept for the next run if
it is given. The tables go to standard output; docs/BENCHMARKS.md has them.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
BENCH = HERE.parent
PACKAGES = ("pykka", "thespian", "xoscar", "kademlia", "pyipv8==2.4.0", "cryptography==45.*")
NPM = ("hyperswarm", "hyperdht")
TIMEOUT_S = 600
ROUNDS = 3


def figures(*command: object) -> dict[str, Any]:
    """The last line that the command prints, which is JSON. Raises SystemExit with what it said otherwise."""
    done = subprocess.run(
        [str(word) for word in command], capture_output=True, text=True, timeout=TIMEOUT_S, check=False
    )
    lines = done.stdout.strip().splitlines()
    if done.returncode or not lines:
        raise SystemExit(f"{command[1]} failed:\n{done.stderr[-2000:]}")
    found: dict[str, Any] = json.loads(lines[-1])
    return found


def middle(run: Callable[[], dict[str, Any]], key: str, rounds: int = ROUNDS) -> dict[str, Any]:
    """The round whose `key` is the median."""
    return sorted((run() for _ in range(rounds)), key=lambda found: float(found[key]))[rounds // 2]


def prepare(folder: Path) -> tuple[Path, bool]:
    """(the Python that has the others, whether hyperswarm is there)"""
    python = folder / "venv" / "bin" / "python"
    if not python.exists():
        subprocess.run([sys.executable, "-m", "venv", folder / "venv"], check=True)
    subprocess.run([python, "-m", "pip", "install", "-q", *PACKAGES], check=True)
    npm = shutil.which("npm")
    if npm is None:
        return python, False
    if not (folder / "node_modules" / "hyperswarm").exists():
        (folder / "package.json").write_text("{}")
        subprocess.run([npm, "install", "--silent", *NPM], cwd=folder, check=True)
    return python, True


def actors(python: Path) -> None:
    theirs = figures(python, HERE / "actor_systems.py")
    ours = figures(sys.executable, BENCH / "actors.py", "--json")
    print("| actors | tell us | ask us |\n|---|---:|---:|")
    rows = {row["what"]: row["ours_us"] for row in ours["rows"]}
    print(f"| this project | {rows['tell']:.1f} | {rows['ask']:.1f} |")
    for name, found in theirs.items():
        print(f"| {name} | {found['tell_us']:.1f} | {found['ask_us']:.1f} |")


def dht(python: Path) -> None:
    ours = middle(lambda: figures(sys.executable, HERE / "our_dht.py"), "put_ms")
    theirs = middle(lambda: figures(python, HERE / "kademlia_dht.py"), "put_ms")
    print("| DHT, 40 nodes | put ms | get ms | CPU ms of both |\n|---|---:|---:|---:|")
    for name, found in (("this project (libtorrent, signed)", ours), ("kademlia (unsigned)", theirs)):
        print(f"| {name} | {found['put_ms']:.2f} | {found['get_ms']:.2f} | {found['cpu_ms_pair']:.2f} |")


def swarm(folder: Path) -> None:
    ours = middle(lambda: figures(sys.executable, HERE / "our_swarm.py"), "connect_ms")
    wire = figures(sys.executable, BENCH / "wire.py", "--json", "--rounds", "3")["wire"]
    theirs = middle(lambda: figures("node", HERE / "hyperswarm.mjs", folder, "50000"), "connect_ms")
    print("| discovery and wire | found and connected ms | round trip ms | messages/s | CPU us, sender |")
    print("|---|---:|---:|---:|---:|")
    rows = (
        ("this project", ours["connect_ms"], wire["p50_ms"], wire["rate"], wire["sender_cpu_us"]),
        (
            "hyperswarm",
            theirs["connect_ms"],
            theirs["round_trip_ms"],
            theirs["messages_per_s"],
            theirs["cpu_us_sender"],
        ),
    )
    for name, connect, trip, rate, cpu in rows:
        print(f"| {name} | {connect:.1f} | {trip:.3f} | {rate:,.0f} | {cpu:.1f} |")


def ledger(python: Path) -> None:
    command = (sys.executable, BENCH / "receipts.py", "--sessions", "64", "--json")
    ours = middle(lambda: figures(*command), "receipts_per_s")
    theirs = middle(lambda: figures(python, HERE / "trustchain.py"), "receipts_per_s")
    print(
        "| co-signed receipts, 64 in flight | a second | CPU us: requester | worker |\n|---|---:|---:|---:|"
    )
    for name, found in (("this project (fdatasync before every answer)", ours), ("TrustChain", theirs)):
        cpu = f"{found['cpu_us_requester']:,.0f} | {found['cpu_us_worker']:,.0f}"
        print(f"| {name} | {found['receipts_per_s']:,.0f} | {cpu} |")


def main() -> None:
    asked = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    asked.add_argument("--folder", type=Path)
    asked.add_argument("--only", nargs="+", choices=("actors", "dht", "swarm", "ledger"))
    given = asked.parse_args()
    wanted = given.only or ("actors", "dht", "swarm", "ledger")
    with tempfile.TemporaryDirectory() as spare:
        folder = (given.folder or Path(spare)).resolve()
        folder.mkdir(parents=True, exist_ok=True)
        python, has_npm = prepare(folder)
        version = platform.python_version()
        print(
            f"{platform.machine()}, {os.cpu_count()} cores, Python {version}; load {os.getloadavg()[0]:.1f}\n"
        )
        for name in wanted:
            if name == "swarm" and not has_npm:
                print("npm is not here: hyperswarm is left out")
            elif name == "swarm":
                swarm(folder)
            else:
                {"actors": actors, "dht": dht, "ledger": ledger}[name](python)
            print(flush=True)


if __name__ == "__main__":
    main()
