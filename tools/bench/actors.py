"""What a message costs: the kernel beside bare pykka, in one run.

    python tools/bench/actors.py [--json] [--rounds N] [--messages N]

`tell` is one sender's burst, timed until the last message is handled. `ask` is a round trip, each asked
after the last was answered. `queued ask` asks all first and then collects. Many short rounds alternate
between the two sides, so that a busy machine slows both; a ratio is taken in each round, and the median
of the ratios counts. The CPU ratio is the same of processor time, which neighbours disturb less.
"""

from __future__ import annotations

import argparse
import gc
import json
import platform
import statistics
import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

# The first entry is this folder, in which this very file would be found as the package `actors`.
sys.path[0] = str(Path(__file__).resolve().parents[2])

import pykka  # noqa: E402

from actors.kernel import Actor, Address, Request  # noqa: E402

PYKKA = metadata.version("pykka")
TARGET = 1.3  # times bare pykka, at most
# An ask is two thread switches, 20 times as long as a tell: as many of them would only take longer.
TELLS_PER_ASK = 10


@dataclass(frozen=True, slots=True)
class Ping(Request[None]):
    pass


PING = Ping()


class Bare(pykka.ThreadingActor):
    use_daemon_thread = True

    def on_receive(self, message: object) -> None:
        pass


class Ours(Actor[Any]):
    def on_receive(self, message: object) -> None:
        pass


class OursIdle(Ours):
    """Has an on_idle, as the ledger does."""

    def on_idle(self) -> None:
        pass


def tell_bare(ref: pykka.ActorRef[Bare], messages: int) -> None:
    for _ in range(messages):
        ref.tell(PING)
    ref.ask(PING)


def tell_ours(address: Address[Any], messages: int) -> None:
    for _ in range(messages):
        address.tell(PING)
    address.ask(PING).get()


def ask_bare(ref: pykka.ActorRef[Bare], messages: int) -> None:
    for _ in range(messages):
        ref.ask(PING)


def ask_ours(address: Address[Any], messages: int) -> None:
    for _ in range(messages):
        address.ask(PING).get()


def queued_bare(ref: pykka.ActorRef[Bare], messages: int) -> None:
    for reply in [ref.ask(PING, block=False) for _ in range(messages)]:
        reply.get()


def queued_ours(address: Address[Any], messages: int) -> None:
    for reply in [address.ask(PING) for _ in range(messages)]:
        reply.get()


def measure(rounds: int, messages: int) -> list[dict[str, Any]]:
    ref = Bare.start()
    ours = Address("ours", Ours, mailbox=messages + 1)
    idle = Address("ours with on_idle", OursIdle, mailbox=messages + 1)
    ours.start()
    idle.start()
    few = max(1, messages // TELLS_PER_ASK)
    work: list[tuple[str, str, Callable[[], None], int]] = [
        ("tell", "bare", lambda: tell_bare(ref, messages), messages),
        ("tell", "ours", lambda: tell_ours(ours, messages), messages),
        ("tell", "on_idle", lambda: tell_ours(idle, messages), messages),
        ("ask", "bare", lambda: ask_bare(ref, few), few),
        ("ask", "ours", lambda: ask_ours(ours, few), few),
        ("ask", "on_idle", lambda: ask_ours(idle, few), few),
        ("queued ask", "bare", lambda: queued_bare(ref, few), few),
        ("queued ask", "ours", lambda: queued_ours(ours, few), few),
        ("queued ask", "on_idle", lambda: queued_ours(idle, few), few),
    ]
    taken: dict[tuple[str, str], list[tuple[float, float]]] = {(what, who): [] for what, who, _, _ in work}
    gc.disable()  # a collection in one side's round is no property of that side
    try:
        for _ in range(rounds):
            for what, who, run, count in work:
                gc.collect()
                begun, cpu_begun = time.perf_counter(), time.process_time()
                run()
                cpu = time.process_time() - cpu_begun
                taken[what, who].append(((time.perf_counter() - begun) / count * 1e6, cpu / count * 1e6))
    finally:
        gc.enable()
        ours.close()
        idle.close()
        ref.stop()
    return [
        {
            "what": what,
            "pykka_us": _median(wall for wall, _ in taken[what, "bare"]),
            "ours_us": _median(wall for wall, _ in taken[what, "ours"]),
            "ratio": _ratio(taken[what, "ours"], taken[what, "bare"], 0),
            "cpu_ratio": _ratio(taken[what, "ours"], taken[what, "bare"], 1),
            "with_on_idle_ratio": _ratio(taken[what, "on_idle"], taken[what, "bare"], 0),
            "with_on_idle_cpu_ratio": _ratio(taken[what, "on_idle"], taken[what, "bare"], 1),
        }
        for what in dict.fromkeys(what for what, _, _, _ in work)
    ]


def _median(figures: Iterable[float]) -> float:
    return round(statistics.median(figures), 2)


def _ratio(ours: list[tuple[float, float]], bare: list[tuple[float, float]], which: int) -> float:
    return _median(mine[which] / theirs[which] for mine, theirs in zip(ours, bare, strict=True))


def main() -> int:
    parser = argparse.ArgumentParser(description="What a message between actors costs, beside bare pykka.")
    parser.add_argument("--json", action="store_true", help="print the figures as JSON")
    parser.add_argument("--rounds", type=int, default=31)
    parser.add_argument(
        "--messages", type=int, default=10_000, help="tells in one round; a tenth as many asks"
    )
    options = parser.parse_args()
    rows = measure(options.rounds, options.messages)
    fine = all(row["ratio"] <= TARGET for row in rows)
    if options.json:
        versions = {"python": platform.python_version(), "pykka": PYKKA}
        print(json.dumps({"target_ratio": TARGET, "fine": fine, **versions, "rows": rows}))
    else:
        print(f"microseconds a message, median of {options.rounds} rounds; pykka {PYKKA}, ", end="")
        print(f"Python {platform.python_version()}\n")
        print(f"{'':12}{'pykka':>9}{'ours':>9}{'ratio':>8}{'CPU':>7}{'with on_idle':>15}{'CPU':>7}")
        for row in rows:
            print(
                f"{row['what']:12}{row['pykka_us']:9.2f}{row['ours_us']:9.2f}{row['ratio']:8.2f}{row['cpu_ratio']:7.2f}"
                f"{row['with_on_idle_ratio']:15.2f}{row['with_on_idle_cpu_ratio']:7.2f}"
            )
        print(f"\n{'within' if fine else 'NOT within'} {TARGET} x of bare pykka")
    return 0 if fine else 1


if __name__ == "__main__":
    sys.exit(main())
