"""What being in a network costs a node, from unit costs that were measured: docs/SCALE.md has the table.

    .venv/bin/python tools/scale.py [--nodes 1000 100000 10000000] [--prompts 10]

Each unit cost names the program that measures it; change the number and run this again. What grows with the
network and what does not is in the formulas, one a function.
"""

from __future__ import annotations

import argparse
import math
from dataclasses import dataclass

DAY = 86_400.0


@dataclass(frozen=True, slots=True)
class Units:
    """Measured on x86_64, 2 cores, Python 3.11."""

    session_bytes_s: float = 170.0
    """tools/bench/network.py: an idle session, headers and acknowledgements included, in and out."""
    session_cpu_s: float = 0.23e-3
    """tools/bench/network.py: CPU seconds a second; 8.0 ms a node with 35 of them."""
    sessions: int = 32
    """opengateway/discovery/peers.py: 16 that a node dials for company, and as many that dial it."""
    head_bytes: float = 350.0
    heads_s: float = 5.0
    """opengateway/ledger/LEDGER.md: all authors together, whatever their number."""
    head_copies: int = 3
    """actors/announcing.py: every node passes news on to three."""
    head_cpu_s: float = 0.1e-3
    peer_bytes: float = 500.0
    peer_limit: int = 4096
    """opengateway/discovery/peers.py: remembered at most."""
    dht_packet: float = 150.0
    dht_bucket: int = 8
    """Nodes in a bucket of the DHT's table (BEP 5)."""
    dht_alpha: float = 2.5
    """Packets of a lookup for each halving of what is left, out and in; tools/bench/beside/our_dht.py."""
    topics: int = 4
    announce_s: float = 900.0
    receipt_bytes: float = 878.0
    """tools/bench/audit.py: of both sides' entries in an export of 1,000,000 receipts."""
    receipt_cpu_s: float = 330e-6
    """tools/bench/receipts.py: the mean of requester (280 us) and worker (380 us)."""
    audit_cpu_s: float = 207e-6
    """tools/bench/audit.py: verifying one receipt of somebody else."""
    quotes: float = 12.0
    """tools/simulate_network.py: nodes asked for a quote by one request, at p95."""
    quote_bytes: float = 700.0


def rows(nodes: int, prompts_an_hour: float, units: Units = Units()) -> list[tuple[str, str]]:
    """(what, figure) for one node that asks and answers so many prompts an hour."""
    sessions = min(units.sessions, nodes - 1)
    hops = max(1.0, math.log2(nodes / units.dht_bucket))
    lookup = hops * units.dht_alpha * units.dht_packet
    table = units.dht_bucket * hops
    receipts_s = 2 * prompts_an_hour / 3600  # asked and answered
    membership = sessions * units.session_bytes_s
    # Everybody hears every head once or more; whoever has it already throws it away by its first look.
    heads = units.heads_s * units.head_copies * units.head_bytes * min(1.0, nodes / 200)
    announcing = units.topics * lookup / units.announce_s
    searching = prompts_an_hour / 3600 * (lookup + units.quotes * units.quote_bytes)
    cpu = sessions * units.session_cpu_s + units.heads_s * units.head_cpu_s + receipts_s * units.receipt_cpu_s
    year = receipts_s * 365 * DAY * units.receipt_bytes / 1e6
    return [
        ("sessions", f"{sessions}"),
        ("peers remembered", f"{min(nodes, units.peer_limit):,} ({_mb(nodes, units):.1f} MB)"),
        ("DHT table", f"{table:.0f} nodes"),
        ("idle: pings", f"{membership / 1000:.1f} kB/s"),
        ("idle: heads of ledgers", f"{heads / 1000:.1f} kB/s"),
        ("idle: announcements", f"{announcing:.1f} B/s"),
        ("a lookup in the DHT", f"{hops * units.dht_alpha:.0f} packets"),
        ("searches", f"{searching:.0f} B/s"),
        ("CPU without inference", f"{cpu * 100:.2f} % of a core"),
        ("own ledger", f"{year:.0f} MB a year"),
        ("everybody's head is renewed every", _span(nodes / units.heads_s)),
        (
            "verifying everybody's receipts of a day",
            _span(nodes * receipts_s / 2 * DAY * units.audit_cpu_s) + " of CPU",
        ),
    ]


def _mb(nodes: int, units: Units) -> float:
    return min(nodes, units.peer_limit) * units.peer_bytes / 1e6


def _span(seconds: float) -> str:
    for unit, size in (("d", DAY), ("h", 3600.0), ("min", 60.0)):
        if seconds >= 2 * size:
            return f"{seconds / size:,.0f} {unit}"
    return f"{seconds:.0f} s"


def main() -> None:
    asked = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    asked.add_argument("--nodes", type=int, nargs="+", default=[1_000, 100_000, 10_000_000])
    asked.add_argument("--prompts", type=float, default=10.0, help="an hour, of each node")
    given = asked.parse_args()
    columns = [rows(nodes, given.prompts) for nodes in given.nodes]
    print("| per node | " + " | ".join(f"{nodes:,} nodes" for nodes in given.nodes) + " |")
    print("|---|" + "---:|" * len(columns))
    for line in zip(*columns, strict=True):
        print(f"| {line[0][0]} | " + " | ".join(figure for _, figure in line) + " |")


if __name__ == "__main__":
    main()
