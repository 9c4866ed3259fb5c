"""Durable co-signed receipts a second between two nodes' books, each in a process of its own.

    python tools/bench/receipts.py [--seconds 5] [--sessions 1 16 64] [--folder DIR] [--json] [--profile]

Every receipt is OPEN, admission, SETTLE, EARN and its countersignature; every entry is on the disk (fdatasync
and high-water mark) before it goes to the other process, over a pipe. As in a node a thread of its own waits
for the disk (actors/flusher.py), and the next batch is signed meanwhile. What a node does beside that (the
wire, HTTP, the engine) is not in it: tools/bench/gateway.py measures all together. DIR: the current one
unless given, because /tmp may be memory, where a commit costs nothing.
"""

from __future__ import annotations

import argparse
import contextlib
import cProfile
import io
import json
import multiprocessing
import pstats
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from multiprocessing.connection import Connection
from pathlib import Path

sys.path[0] = str(Path(__file__).resolve().parents[2])

import cbor2  # noqa: E402

from actors import request_ids  # noqa: E402
from actors.flusher import Batch, Flusher  # noqa: E402
from actors.kernel import Reply  # noqa: E402
from opengateway.identity import Identity, network_id  # noqa: E402
from opengateway.ledger.admission import Policy  # noqa: E402
from opengateway.ledger.book import Book  # noqa: E402
from opengateway.units import CREDIT, NodeId  # noqa: E402

Entries = list[tuple[str, bytes]]
"""What each is ("open", "admitted", "settle", "earned"), and its bytes or its request id."""
NET = network_id("receipts bench")
GENEROUS = Policy(stranger_line=10**9 * CREDIT, pool=10**9 * CREDIT)
GROUPS = 3
"""The sessions are in groups, so that one book works while the other does, as two nodes would, and a third
group waits for a disk. The fewer, the larger is what one commit makes durable."""
PRICE_PROMPT, PRICE_COMPLETION = 154, 1236
PROMPT, COMPLETION = 100, 180
FIGURES = ("receipts_per_s", "cpu_us_requester", "cpu_us_worker")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--sessions", type=int, nargs="+", default=[1, 16, 64])
    parser.add_argument("--folder", type=Path, default=Path())
    parser.add_argument("--json", action="store_true", help="one JSON object a line")
    parser.add_argument("--profile", action="store_true", help="where each side's own thread spends its time")
    given = parser.parse_args()
    if not given.json:
        print(f"{'sessions':>8} {'receipts/s':>11} {'CPU us each: requester':>23} {'worker':>7}")
    for sessions in given.sessions:
        with tempfile.TemporaryDirectory(dir=given.folder) as home:
            figures = measure(Path(home), sessions, given.seconds, profile=given.profile)
        if given.json:
            print(json.dumps(figures))
        else:
            rate, mine, theirs = (figures[name] for name in FIGURES)
            print(f"{sessions:>8} {rate:>11,.0f} {mine:>23.0f} {theirs:>7.0f}")


def measure(home: Path, sessions: int, seconds: float, *, profile: bool = False) -> dict[str, float]:
    ours, theirs = multiprocessing.Pipe()
    worker, requester = Identity.generate(), Identity.generate()
    child = multiprocessing.Process(
        target=work, args=(home / "worker", worker.seed, requester.node_id, theirs, profile)
    )
    child.start()
    theirs.close()
    try:
        side = Side(home / "requester", requester, ours)
        with profiled("requester", wanted=profile):
            done, passed, cpu = ask(side, worker.node_id, ours, sessions, seconds)
        side.close()
        theirs_cpu = float(cbor2.loads(ours.recv_bytes()))
        figures = (done / passed, cpu / done * 1e6, theirs_cpu / done * 1e6)
        return dict(zip(FIGURES, figures, strict=True))
    finally:
        ours.close()
        child.join(10)
        child.kill()


class Side:
    """One book, and the way to the other: what is signed goes out when it is durable."""

    def __init__(self, home: Path, identity: Identity, pipe: Connection) -> None:
        now_ms = lambda: time.time_ns() // 1_000_000  # noqa: E731
        self.book = Book(home / "ledger.db", identity, NET, policy=GENEROUS, now_ms=now_ms)
        self._outgoing = Outgoing(pipe)
        self._flusher = Flusher("flusher", freed=lambda: None, convicted=lambda _: None)

    def send(self, out: Entries) -> None:
        """When it is durable."""
        self._flusher.take(Batch(self.book.write(), [(self._outgoing, out)] if out else []))

    def send_now(self, out: Entries) -> None:
        self._outgoing.answer(out)

    def close(self) -> None:
        self._flusher.wait()
        self._flusher.stop()
        self.book.close()


class Outgoing(Reply[Entries]):
    """What the flusher answers: it goes over the pipe."""

    def __init__(self, pipe: Connection) -> None:
        super().__init__()
        self._pipe = pipe
        self._one_at_a_time = threading.Lock()

    def answer(self, value: Entries) -> bool:
        with self._one_at_a_time:
            self._pipe.send_bytes(cbor2.dumps(value))
        return True

    def refuse(self, error: BaseException) -> bool:
        raise error


def ask(
    side: Side, worker: NodeId, pipe: Connection, sessions: int, seconds: float
) -> tuple[int, float, float]:
    """Receipts, seconds, and CPU seconds of this side."""
    book = side.book
    sizes = [len(range(first, sessions, GROUPS)) for first in range(min(GROUPS, sessions))]
    done, start, cpu = 0, time.perf_counter(), time.process_time()
    for size in sizes:
        side.send([_open(book, worker) for _ in range(size)])
    on_their_way = len(sizes)
    while on_their_way:
        answers = cbor2.loads(pipe.recv_bytes())
        on_their_way -= 1
        going_on = time.perf_counter() - start < seconds
        out: Entries = []
        for kind, value in answers:
            if kind == "admitted":
                settle = book.settle(
                    value, prompt_tokens=PROMPT, completion_tokens=COMPLETION, digest=bytes(32)
                )
                out.append(("settle", settle))
            else:
                book.countersigned(value, worker)
                done += 1
                if going_on:
                    out.append(_open(book, worker))
        if out:
            side.send(out)
            on_their_way += 1
    book.commit()
    result = done, time.perf_counter() - start, time.process_time() - cpu
    pipe.send_bytes(b"")
    return result


def _open(book: Book, worker: NodeId) -> tuple[str, bytes]:
    opening = book.open(
        worker,
        request_ids.rid(request_ids.new()),
        "llama3.2:1b",
        prompt_tokens=PROMPT,
        max_completion=256,
        price_prompt=PRICE_PROMPT,
        price_completion=PRICE_COMPLETION,
    )
    return "open", opening


def work(home: Path, seed: bytes, requester: NodeId, pipe: Connection, profile: bool) -> None:
    """The other process. An EARN is durable before it goes out. An admission signs nothing, and nobody waits
    for it (actors/ledger.py): it is written with the next EARNs, or when nothing else is to be done."""
    side = Side(home, Identity(seed), pipe)
    cpu = time.process_time()
    with profiled("worker", wanted=profile):
        while message := pipe.recv_bytes():
            _serve(side, cbor2.loads(message), requester, pipe)
    side.close()
    pipe.send_bytes(cbor2.dumps(time.process_time() - cpu))


def _serve(side: Side, asked: Entries, requester: NodeId, pipe: Connection) -> None:
    book, out = side.book, Entries()
    for kind, entry in asked:
        if kind == "open":
            rid = book.admit(
                entry, requester, price_prompt=PRICE_PROMPT, price_completion=PRICE_COMPLETION
            ).rid
            book.delivered(rid, requester, PROMPT, COMPLETION)
            out.append(("admitted", rid))
        else:
            out.append(("earned", book.earn(entry, requester)))
    if out[0][0] == "earned":
        side.send(out)
    else:
        side.send_now(out)
        if not pipe.poll():
            side.send([])


@contextlib.contextmanager
def profiled(whom: str, *, wanted: bool) -> Iterator[None]:
    """Prints where the block's thread was. Every call costs more under a profiler: the order counts."""
    if not wanted:
        yield
        return
    profile, out = cProfile.Profile(), io.StringIO()
    with profile:
        yield
    pstats.Stats(profile, stream=out).sort_stats("tottime").print_stats(20)
    print(f"{whom}\n{out.getvalue()}")


if __name__ == "__main__":
    main()
