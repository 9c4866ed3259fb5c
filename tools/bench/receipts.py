"""Durable co-signed receipts a second between two nodes' books, each in a process of its own.

    python tools/bench/receipts.py [--seconds 5] [--sessions 1 16 64] [--folder DIR] [--json]

Every receipt is OPEN, admission, SETTLE, EARN and its countersignature; every entry is on the disk (fdatasync
and high-water mark) before it goes to the other process, over a pipe. What a node does beside that (the wire,
HTTP, the engine) is not in it: tools/bench/gateway.py measures all together. DIR: the current one unless
given, because /tmp may be memory, where a commit costs nothing.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import tempfile
import time
from multiprocessing.connection import Connection
from pathlib import Path

import cbor2

from actors import request_ids
from opengateway.identity import Identity, network_id
from opengateway.ledger.admission import Policy
from opengateway.ledger.book import Book
from opengateway.units import CREDIT, NodeId

NET = network_id("receipts bench")
GENEROUS = Policy(stranger_line=10**9 * CREDIT, pool=10**9 * CREDIT)
GROUPS = 4
"""The sessions are in groups, so that one book works while the other does, as two nodes would."""
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
    given = parser.parse_args()
    if not given.json:
        print(f"{'sessions':>8} {'receipts/s':>11} {'CPU us each: requester':>23} {'worker':>7}")
    for sessions in given.sessions:
        with tempfile.TemporaryDirectory(dir=given.folder) as home:
            figures = measure(Path(home), sessions, given.seconds)
        if given.json:
            print(json.dumps(figures))
        else:
            rate, mine, theirs = (figures[name] for name in FIGURES)
            print(f"{sessions:>8} {rate:>11,.0f} {mine:>23.0f} {theirs:>7.0f}")


def measure(home: Path, sessions: int, seconds: float) -> dict[str, float]:
    ours, theirs = multiprocessing.Pipe()
    worker_id = Identity.generate()
    child = multiprocessing.Process(target=work, args=(home / "worker", worker_id.seed, theirs))
    child.start()
    theirs.close()
    try:
        book = _book(home / "requester", Identity.generate())
        done, passed, cpu = ask(book, worker_id.node_id, ours, sessions, seconds)
        theirs_cpu = float(cbor2.loads(ours.recv_bytes()))
        figures = (done / passed, cpu / done * 1e6, theirs_cpu / done * 1e6)
        return dict(zip(FIGURES, figures, strict=True))
    finally:
        ours.close()
        child.join(10)
        child.kill()


def ask(
    book: Book, worker: NodeId, pipe: Connection, sessions: int, seconds: float
) -> tuple[int, float, float]:
    """Receipts, seconds, and CPU seconds of this side."""
    sizes = [len(range(first, sessions, GROUPS)) for first in range(min(GROUPS, sessions))]
    done, start, cpu = 0, time.perf_counter(), time.process_time()
    outstanding = 0
    for size in sizes:
        outstanding += _send(book, pipe, [_open(book, worker) for _ in range(size)])
    while outstanding:
        answers = cbor2.loads(pipe.recv_bytes())
        outstanding -= 1
        going_on = time.perf_counter() - start < seconds
        out = []
        for kind, value in answers:
            if kind == "admitted":
                out.append(
                    (
                        "settle",
                        book.settle(
                            value, prompt_tokens=PROMPT, completion_tokens=COMPLETION, digest=bytes(32)
                        ),
                    )
                )
            else:
                book.countersigned(value, worker)
                done += 1
                if going_on:
                    out.append(_open(book, worker))
        outstanding += _send(book, pipe, out)
    result = done, time.perf_counter() - start, time.process_time() - cpu
    pipe.send_bytes(b"")
    book.close()
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


def _send(book: Book, pipe: Connection, out: list[tuple[str, bytes]]) -> int:
    book.commit()
    if out:
        pipe.send_bytes(cbor2.dumps([book.node_id, out]))
    return bool(out)


def work(home: Path, seed: bytes, pipe: Connection) -> None:
    """The other process: whatever has come is done, one commit makes it durable, and it is answered."""
    book = _book(home, Identity(seed))
    cpu = time.process_time()
    while message := pipe.recv_bytes():
        requester, asked = cbor2.loads(message)
        out: list[tuple[str, bytes]] = []
        for kind, entry in asked:
            if kind == "open":
                rid = book.admit(
                    entry, requester, price_prompt=PRICE_PROMPT, price_completion=PRICE_COMPLETION
                ).rid
                book.delivered(rid, requester, PROMPT, COMPLETION)
                out.append(("admitted", rid))
            else:
                out.append(("earned", book.earn(entry, requester)))
        book.commit()
        pipe.send_bytes(cbor2.dumps(out))
    pipe.send_bytes(cbor2.dumps(time.process_time() - cpu))
    book.close()


def _book(home: Path, identity: Identity) -> Book:
    return Book(
        home / "ledger.db", identity, NET, policy=GENEROUS, now_ms=lambda: time.time_ns() // 1_000_000
    )


if __name__ == "__main__":
    main()
