"""How fast an audit is: `python tools/bench/audit.py [--receipts 100000] [--jobs 1 2] [--folder DIR]`.

Forges the export of a node that gave 44 and took 56 of every 100 receipts, with 20 others, every signature
real; the file is kept in DIR and used again. Memory is that of the tool with all its workers.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import random
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import cbor2
import psutil

from opengateway.identity import Identity, network_id
from opengateway.ledger.chain import Chain, Draft
from opengateway.ledger.entry import EARN, OPEN, SETTLE, ZERO32, Signed, Terms
from opengateway.ledger.ogwl import FORMAT, LENGTH, MAGIC, TRAILER
from opengateway.ledger.rules import Pair, pair_in

NET = network_id("audit bench")
START_MS = 1_700_000_000_000
GIVEN = 44
"""Of 100 receipts those earned: one entry each, against two for those spent; 1.56 entries a receipt."""
ROOT = Path(__file__).resolve().parents[2]
TOOL = (sys.executable, "-m", "opengateway.ledger.audit_cli", "verify")


def main() -> None:
    parser = argparse.ArgumentParser(description="audit benchmark")
    parser.add_argument("--receipts", type=int, default=20_000)
    parser.add_argument("--jobs", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()) / "opengateway-bench")
    asked = parser.parse_args()
    asked.folder.mkdir(parents=True, exist_ok=True)
    path = asked.folder / f"audit-{asked.receipts}.ogwl"
    if not path.exists():
        start = time.perf_counter()
        draft = path.with_suffix(".new")
        write(draft, asked.receipts)
        draft.replace(path)
        print(f"{asked.receipts:,} receipts forged in {time.perf_counter() - start:.1f} s")
    certificate = asked.folder / f"audit-{asked.receipts}.cert"
    print(
        f"{path.stat().st_size / 1e6:,.0f} MB, load average {os.getloadavg()[0]:.1f}, {os.cpu_count()} cores"
    )
    for jobs in asked.jobs:
        measure(f"verify, {jobs} processes", *TOOL, str(path), "--jobs", str(jobs))
    certify = [
        *TOOL[:-1],
        "certify",
        str(path),
        "--key",
        str(certificate) + ".key",
        "--out",
        str(certificate),
    ]
    if not certificate.exists():
        subprocess.run(certify, check=True, stdout=subprocess.DEVNULL, cwd=ROOT)
    measure("verify --since, all certified", *TOOL, str(path), "--since", str(certificate))
    measure("verify --sample 20", *TOOL, str(path), "--sample", "20")


def measure(what: str, *command: str) -> None:
    start, before = time.perf_counter(), _spent()
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT)
    watched, peak = psutil.Process(process.pid), 0
    while process.poll() is None:
        peak = max(peak, _resident(watched))
        time.sleep(0.1)
    said = process.stdout.read() if process.stdout else ""
    passed = time.perf_counter() - start
    verdict = said.partition(":")[0]
    print(
        f"{what:<32}{passed:>8.1f} s {_spent() - before:>7.1f} s CPU {peak / 2**20:>6.0f} MiB   {verdict}",
        flush=True,
    )


def _spent() -> float:
    """CPU seconds of all children that have ended: what stays the same on a busy machine."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _resident(process: psutil.Process) -> int:
    try:
        family = [process, *process.children(recursive=True)]
        return sum(one.memory_info().rss for one in family)
    except psutil.Error:
        return 0


def write(path: Path, receipts: int) -> Identity:
    """One export, as a node would write it (0.1 ms a receipt), and whose it is."""
    author = Identity(random.Random("author").randbytes(32))
    digest = hashlib.sha256()
    with path.open("wb") as file:

        def record(value: list[object]) -> None:
            data = cbor2.dumps(value)
            framed = LENGTH.pack(len(data)) + data
            digest.update(framed)
            file.write(framed)

        digest.update(MAGIC)
        file.write(MAGIC)
        entries = list(_shape(receipts))
        record([FORMAT, NET, author.node_id, START_MS + receipts * 60, 1 + sum(entries)])
        for signed, half in forge(author, entries):
            parts: list[object] = [signed.body, signed.signature]
            if half is not None:
                parts += [half.body, half.signature]
            record(parts)
        record([TRAILER, [], [], []])
        file.write(digest.digest())
    return author


def _shape(receipts: int) -> Iterator[int]:
    chance = random.Random("shape")
    for _ in range(receipts):
        yield 1 if chance.randrange(100) < GIVEN else 2


def forge(author: Identity, shape: list[int]) -> Iterator[tuple[Signed, Signed | None]]:
    chance = random.Random("receipts")
    others = [Identity(chance.randbytes(32)) for _ in range(20)]
    mine, theirs = Chain(author, NET), [Chain(other, NET) for other in others]
    my_pairs, their_pairs = [Pair()] * len(others), [Pair()] * len(others)
    now = START_MS

    def say(chain: Chain, pairs: list[Pair], who: int, draft: Draft) -> Signed:
        signed = chain.next(draft, pairs[who], now)
        chain.advance(signed)
        pairs[who] = pair_in(signed.entry)
        return signed

    first = mine.genesis(bytes(32), now)
    mine.advance(first)
    for chain in theirs:
        chain.advance(chain.genesis(bytes(32), now))
    yield first, None
    for kind in shape:
        now += 50
        who, rid = chance.randrange(len(others)), chance.randbytes(16)
        asked = Terms("llama3.2:1b", 100, 256, 154, 1236)
        used = asked._replace(completion_tokens=chance.randrange(1, 256), hold=asked.cost)
        used = used._replace(amount=used.cost)
        asked = asked._replace(hold=asked.cost)
        told = chance.randbytes(32)
        earned = used._replace(hold=0)
        asks, serves = (theirs[who], mine) if kind == 1 else (mine, theirs[who])
        asker, server = (others[who], author) if kind == 1 else (author, others[who])
        here, there = (their_pairs, my_pairs) if kind == 1 else (my_pairs, their_pairs)
        opened = say(asks, here, who, Draft(OPEN, server.node_id, rid, ZERO32, asked))
        settle = say(asks, here, who, Draft(SETTLE, server.node_id, rid, opened.leaf, used, told))
        earn = say(serves, there, who, Draft(EARN, asker.node_id, rid, settle.leaf, earned, told))
        if kind == 1:
            yield earn, settle
        else:
            yield opened, None
            yield settle, earn


if __name__ == "__main__":
    main()
