"""How fast the ledger is: `python tools/bench/ledger.py [--seconds 3] [--folder DIR]`.

Writes to DIR (default: the current one, because /tmp may be memory, where a commit costs nothing).
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Callable
from io import BytesIO
from pathlib import Path

sys.path[0] = str(Path(__file__).resolve().parents[2])

from actors import request_ids  # noqa: E402
from opengateway.identity import Identity, network_id  # noqa: E402
from opengateway.ledger.admission import Policy  # noqa: E402
from opengateway.ledger.book import Book  # noqa: E402
from opengateway.units import CREDIT, NodeId  # noqa: E402

NET = network_id("ledger bench")
GENEROUS = Policy(stranger_line=10**9 * CREDIT, pool=10**9 * CREDIT)


def main() -> None:
    parser = argparse.ArgumentParser(description="ledger benchmark")
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--folder", type=Path, default=Path())
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=asked.folder) as home:
        ann, bob = _book(Path(home), "ann"), _book(Path(home), "bob")
        try:
            _own_pairs(ann, Identity.generate().node_id, asked.seconds)
            _admission(ann, bob)
            for sessions in (1, 16, 64):
                _receipts(ann, bob, sessions, asked.seconds)
            _export(ann)
        finally:
            ann.close()
            bob.close()


def _book(home: Path, name: str) -> Book:
    return Book(home / name / "ledger.db", Identity.generate(), NET, policy=GENEROUS, now_ms=_now_ms)


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


def _say(what: str, count: int, seconds: float) -> None:
    print(f"{what:<58} {count / seconds:>9,.0f}/s {seconds / count * 1e6:>8.1f} us each")


def _for(seconds: float, step: Callable[[], int]) -> tuple[int, float]:
    step()
    start, done = time.perf_counter(), 0
    while (passed := time.perf_counter() - start) < seconds:
        done += step()
    return done, passed


def _open(book: Book, peer: NodeId) -> tuple[bytes, bytes]:
    rid = request_ids.rid(request_ids.new())
    return rid, book.open(
        peer,
        rid,
        "llama3.2:1b",
        prompt_tokens=100,
        max_completion=256,
        price_prompt=154,
        price_completion=1236,
    )


def _settle(book: Book, rid: bytes) -> bytes:
    return book.settle(rid, prompt_tokens=100, completion_tokens=180, digest=bytes(32))


def _own_pairs(ann: Book, peer: NodeId, seconds: float) -> None:
    def batch() -> int:
        for _ in range(16):
            _settle(ann, _open(ann, peer)[0])
        ann.commit()
        return 16

    _say("open + settle, one node, commits of 16 pairs", *_for(seconds, batch))

    def smaller() -> int:
        for _ in range(8):
            _settle(ann, _open(ann, peer)[0])
        ann.commit()
        return 8

    _say("open + settle, one node, commits of 16 entries", *_for(seconds, smaller))


def _admission(ann: Book, bob: Book) -> None:
    openings = [_open(ann, bob.node_id) for _ in range(2000)]
    ann.commit()
    start = time.perf_counter()
    for _, opening in openings:
        bob.admit(opening, ann.node_id, price_prompt=154, price_completion=1236)
    passed = time.perf_counter() - start
    bob.commit()
    _say("admission check", len(openings), passed)
    for rid, _ in openings:
        ann.void(rid)
        bob.release(rid, ann.node_id)
    ann.commit()
    bob.commit()


def _receipts(ann: Book, bob: Book, sessions: int, seconds: float) -> None:
    """Both nodes' whole work for one receipt, in one process: four commits for `sessions` of them."""

    def batch() -> int:
        opened = [_open(ann, bob.node_id) for _ in range(sessions)]
        ann.commit()
        for _, opening in opened:
            bob.admit(opening, ann.node_id, price_prompt=154, price_completion=1236)
        bob.commit()
        settles = [_settle(ann, rid) for rid, _ in opened]
        ann.commit()
        for rid, _ in opened:
            bob.delivered(rid, ann.node_id, 100, 180)
        earned = [bob.earn(settle, ann.node_id) for settle in settles]
        bob.commit()
        for earn in earned:
            ann.countersigned(earn, bob.node_id)
        ann.commit()
        return sessions

    _say(f"co-signed receipts, both nodes on one core, {sessions} at a time", *_for(seconds, batch))


def _export(ann: Book) -> None:
    out = BytesIO()
    start = time.perf_counter()
    entries = ann.export(out)
    _say(f"export, {len(out.getvalue()) / entries:.0f} bytes an entry", entries, time.perf_counter() - start)


if __name__ == "__main__":
    main()
