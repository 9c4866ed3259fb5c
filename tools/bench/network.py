"""What it costs to be a member: CPU and bytes per node and second in networks of several sizes, all idle.

    python tools/bench/network.py [--json] [--nodes 10,50,200] [--seconds N]

All nodes run in this process, whole, on real sockets over loopback (tools/crowd.py), with no engine; one
thread has the sockets of all. They know the first of them at the start and nobody else, and begin as fast as
they can without starving those that are there, since they share one interpreter. `kB` is what the wire
counts, in and out: sealed frames.
`on loopback` is what the kernel counted, headers and acknowledgements included: true only where nothing else
uses it, so the program enters a network namespace of its own if it may.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path

sys.path[0] = str(Path(__file__).resolve().parents[2])

import psutil  # noqa: E402

from opengateway.discovery.company import GRACE_S  # noqa: E402
from tools.crowd import Crowd, wire  # noqa: E402

SETTLED_S = 15.0
"""Nothing was dialled or hung up for so long: then only what is for ever is left."""
CROWDED_S = GRACE_S + 15.0
"""Sooner a node that is crowded lets go of nobody, or has not done so."""
SETTLE_LIMIT_S = 150.0
"""On a machine that is too busy for a still picture it is measured all the same."""
TOGETHER = 5
"""Nodes that begin at once."""
SWITCH_S = 0.02
"""For which a thread may keep the interpreter: each of 2,400 threads that wait for it looks that often
whether it is its turn, which at the usual 5 ms takes more time than the nodes."""
INSIDE = "--inside"


@dataclass(frozen=True, slots=True)
class Row:
    nodes: int
    sessions: float
    """Mean per node."""
    most_sessions: int
    cpu_ms: float
    """Per node and second."""
    bytes: float
    most_bytes: float
    on_loopback: float | None
    """kB per node and second, both directions; None where others use loopback as well."""
    frames: float
    megabytes: float
    """Memory of the whole process per node."""
    first_sessions: int
    """Of the node that all others know."""
    first_bytes: float
    started_s: float
    settled_s: float
    """Seconds until all had begun, and from then until nobody met anybody."""


def measure(nodes: int, seconds: float, alone: bool) -> Row:
    with tempfile.TemporaryDirectory() as folder, Crowd(Path(folder), one_loop=True) as crowd:
        first, begins = crowd.node("n0"), time.monotonic()
        for number in range(1, nodes):
            crowd.node(f"n{number}", wire={"bootstrap": [crowd.where(first)]})
            if number % TOGETHER == 0:
                crowd.breathe()
        started_s = time.monotonic() - begins
        settled_s = settle(crowd)
        before, cpu, kernel = counted(crowd), time.process_time(), loopback()
        began = time.monotonic()
        time.sleep(seconds)
        took = time.monotonic() - began
        cpu, kernel = time.process_time() - cpu, loopback() - kernel
        after = counted(crowd)
        spent = [(b - a) / took for (a, _), (b, _) in zip(before, after, strict=True)]
        frames = [(b - a) / took for (_, a), (_, b) in zip(before, after, strict=True)]
        sessions = [len(wire(node).sessions()) for node in crowd.nodes]
        return Row(
            nodes,
            statistics.mean(sessions),
            max(sessions),
            1000 * cpu / took / nodes,
            statistics.mean(spent),
            max(spent),
            2 * kernel / took / nodes / 1000
            if alone
            else None,  # each byte leaves one node and enters another
            statistics.mean(frames),
            psutil.Process().memory_info().rss / nodes / 1e6,
            sessions[0],
            spent[0],
            started_s,
            settled_s,
        )


def settle(crowd: Crowd) -> float:
    """How long it took until the picture stood still."""
    began = quiet_since = time.monotonic()
    last: tuple[int, ...] = ()
    while (now := time.monotonic()) - began < SETTLE_LIMIT_S:
        if now - quiet_since >= SETTLED_S and now - began >= CROWDED_S:
            break
        state = tuple(len(wire(node).sessions()) for node in crowd.nodes)
        if state != last:
            last, quiet_since = state, now
        time.sleep(0.5)
    return quiet_since - began


def counted(crowd: Crowd) -> list[tuple[int, int]]:
    """(bytes, frames) of every node so far, in and out."""
    found = []
    for node in crowd.nodes:
        count = wire(node).counters
        found.append((count["bytes_in"] + count["bytes_out"], count["frames_in"] + count["frames_out"]))
    return found


def loopback() -> int:
    return int(psutil.net_io_counters(pernic=True)["lo"].bytes_sent)


def table(rows: list[Row]) -> str:
    lines = [
        "| nodes | sessions (most; entry) | CPU ms | kB (most) | kB on loopback | frames | MB | settled, s |",
        "|" + "---|" * 8,
    ]
    for row in rows:
        kernel = f"{row.on_loopback:.1f}" if row.on_loopback is not None else "-"
        lines.append(
            f"| {row.nodes} | {row.sessions:.0f} ({row.most_sessions}; {row.first_sessions}) "
            f"| {row.cpu_ms:.1f} | {row.bytes / 1000:.1f} ({row.most_bytes / 1000:.1f}) | {kernel} "
            f"| {row.frames:.0f} | {row.megabytes:.1f} | {row.started_s:.0f} + {row.settled_s:.0f} |"
        )
    return "\n".join(lines)


def enter_own_network(argv: list[str]) -> int | None:
    """Runs this program again where loopback is its own. None if that is not permitted here."""
    inner = ["sh", "-c", 'ip link set lo up && exec "$@"', "sh", sys.executable, __file__, INSIDE, *argv]
    for how in (["unshare", "--net"], ["unshare", "--net", "--map-root-user"]):
        with contextlib.suppress(FileNotFoundError):
            if (
                subprocess.run(
                    [*how, "ip", "link", "set", "lo", "up"], capture_output=True, check=False
                ).returncode
                == 0
            ):
                return subprocess.run([*how, *inner], check=False).returncode
    return None


def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n\n")[0])
    parser.add_argument("--nodes", default="10,50,200", help="sizes of the networks (default: %(default)s)")
    parser.add_argument("--seconds", type=float, default=30.0, help="how long each is watched")
    parser.add_argument("--json", action="store_true")
    parser.add_argument(INSIDE, action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args(argv)
    if not options.inside and (code := enter_own_network(argv)) is not None:
        return code
    sys.setswitchinterval(SWITCH_S)
    rows = []
    for size in options.nodes.split(","):
        rows.append(measure(int(size), options.seconds, alone=options.inside))
        print(f"{size} nodes: {json.dumps(asdict(rows[-1]))}", file=sys.stderr, flush=True)
    print(json.dumps([asdict(row) for row in rows]) if options.json else table(rows))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
