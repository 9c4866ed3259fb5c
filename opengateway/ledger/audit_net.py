"""Many exports at once: who forked, who serves mostly itself, what strangers could take.

A ring is reported, not judged: identities that sign receipts for each other are not against any rule, and
gain nothing outside. What they can spend is what others really owe them, and the pools: that is shown.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from opengateway.ledger.audit import NO_LIMITS, Limits, verify
from opengateway.ledger.audit_proof import proof_of
from opengateway.ledger.entry import Signed
from opengateway.ledger.evidence import Columns, genuine, read_signed, reread
from opengateway.ledger.findings import Report, worst
from opengateway.ledger.ogwl import Reader, Torn, Unreadable, pieces
from opengateway.ledger.rules import Pair
from opengateway.ledger.witness import Contradiction, compare
from opengateway.units import CREDIT

INSIDE = 10
"""A group serves itself this many times more than everybody else: then it is reported."""
POOL = 200 * CREDIT
"""ucr that one provider gives to all strangers together, unless its owner changed it (4 x 50 credits)."""
LINE = 4
"""One part in so many of the service that one really got is given on trust."""

SPOT_BITS = 48
"""Of a number that says in which file (65,536 at most) and where in it (32 TB) an entry stands."""

Service = Mapping[tuple[bytes, bytes], int]
"""(who served, whom) -> ucr."""


class Ring(NamedTuple):
    members: tuple[bytes, ...]
    inside: int
    """ucr of service to each other."""
    outside: int
    """ucr of service to everybody else."""
    owed: int
    """ucr that others owe to members."""
    line: int
    """ucr that others give on trust for service that members really gave them."""
    pools: int
    """ucr in the pools of all others."""

    @property
    def spendable(self) -> int:
        """The most that all members together can ever take: what crosses the cut around them, and pools."""
        return self.owed + self.line + self.pools


class NetReport(NamedTuple):
    files: list[Report]
    between: Report
    rings: list[Ring]
    exposure: dict[bytes, int]
    """What each node gave to others beyond what it owes them (ucr): at risk if they never come back."""

    @property
    def exit(self) -> int:
        return worst([self.between.exit, *(report.exit for report in self.files)])


def verify_net(folder: Path, *, limits: Limits = NO_LIMITS) -> NetReport:
    """Every `*.ogwl` in `folder`: each alone, then all of them against each other."""
    paths = sorted(folder.glob("*.ogwl"))
    between = Report(str(folder))
    if not paths:
        between.add("E_UNREADABLE", -1, -1, "no *.ogwl files here")
    files = [verify(path, limits=limits) for path in paths]
    _forks(between, paths)
    views: dict[tuple[bytes, bytes], Pair] = {}
    for report in files:
        for peer, pair in report.pairs.items():
            views[report.subject.author, peer] = pair
    service = _service(views)
    rings = find_rings(service, _owed(views))
    between.not_checked.append("nodes without an export here: known only by what others hold of them")
    return NetReport(files, between, rings, _exposure(views))


def _forks(between: Report, paths: Sequence[Path]) -> None:
    """Different entries at one place of one chain, wherever the two of them are kept. 24 bytes an entry: nets
    are bigger than memory."""
    seen, nets = Columns(), [b""] * len(paths)
    for number, path in enumerate(paths):
        for net, signed, offset, part in _everything(path):
            between.checked["evidence"] += 1
            entry, nets[number] = signed.entry, net
            name = net + entry.author + entry.seq.to_bytes(8, "big")
            seen.add(name, signed.leaf, number << SPOT_BITS | offset << 3 | part)
    for spots in seen.twice():
        files = [spot >> SPOT_BITS for spot in spots]
        inside = [spot & (1 << SPOT_BITS) - 1 for spot in spots]
        first, second = (
            reread(paths[file], spot >> 3, spot & 7, nets[file])
            for file, spot in zip(files, inside, strict=True)
        )
        _fork(between, first, second, (paths[files[0]], paths[files[1]]))


def _everything(path: Path) -> Iterator[tuple[bytes, Signed, int, int]]:
    try:
        with Reader(path) as reader:
            net = reader.header.net
            for offset, record in reader.records():
                try:
                    parts = pieces(record)
                except ValueError:
                    continue
                for part in range(0, len(parts) - 1, 2):
                    try:
                        yield net, read_signed(parts[part], parts[part + 1], net), offset, part
                    except ValueError:
                        continue  # a voucher, or what the audit of this file reports
    except (OSError, Unreadable, Torn):
        return  # the audit of that file reports it


def _fork(between: Report, first: Signed, second: Signed, paths: tuple[Path, Path]) -> None:
    if not genuine(first) or not genuine(second):
        return
    try:
        compare(first, second)
    except Contradiction as found:
        pieces_ = (first.body, first.signature), (second.body, second.signature)
        between.proofs.append((found.kind, proof_of(found.kind, *pieces_)))
        author = first.entry.author.hex()[:16]
        text = f"{author} signed two entries {first.entry.seq}: in {paths[0].name} and {paths[1].name}"
        between.add("E_FORK", -1, -1, text)


def _service(views: Mapping[tuple[bytes, bytes], Pair]) -> Service:
    """What is known of who served whom: the debtor's word where it is there, the creditor's elsewhere."""
    found: dict[tuple[bytes, bytes], int] = defaultdict(int)
    for (author, peer), pair in views.items():
        for key, amount in (((author, peer), pair.served), ((peer, author), pair.consumed)):
            if amount:
                found[key] = max(found[key], amount)
    return found


def _owed(views: Mapping[tuple[bytes, bytes], Pair]) -> Service:
    """(creditor, debtor) -> ucr net."""
    found: dict[tuple[bytes, bytes], int] = {}
    for (author, peer), pair in views.items():
        owes = pair.owed_to_peer
        key = (peer, author) if owes > 0 else (author, peer)
        if owes:
            found[key] = max(found.get(key, 0), abs(owes))
    return found


def _exposure(views: Mapping[tuple[bytes, bytes], Pair]) -> dict[bytes, int]:
    found: dict[bytes, int] = defaultdict(int)
    for (author, _), pair in views.items():
        found[author] += max(0, -pair.owed_to_peer)
    return dict(found)


def find_rings(service: Service, owed: Service) -> list[Ring]:
    """Strongly connected groups whose service to each other is at least ten times what they gave to all
    others; the widest of each nest. A thin bridge of real trade would join a ring to everybody else, so
    groups are sought with the weakest receipts left out, ever more of them."""
    nodes = {node for edge in service for node in edge}
    rings: dict[frozenset[bytes], Ring] = {}
    least, most = min(service.values(), default=0), max(service.values(), default=0)
    while least <= most and most:
        strong = [edge for edge, amount in service.items() if amount >= least]
        for group in _components(strong):
            if 1 < len(group) < len(nodes) and not any(group <= other for other in rings):
                ring = _ring(group, nodes, service, owed)
                if ring.inside >= INSIDE * max(1, ring.outside):
                    rings[group] = ring
        least = max(1, least * 2)
    return sorted(rings.values(), key=lambda ring: -ring.inside)


def _ring(group: frozenset[bytes], nodes: set[bytes], service: Service, owed: Service) -> Ring:
    def across(amounts: Service) -> int:
        return sum(n for (creditor, other), n in amounts.items() if creditor in group and other not in group)

    inside = sum(n for (one, other), n in service.items() if one in group and other in group)
    line = sum(n // LINE for (one, other), n in service.items() if one in group and other not in group)
    return Ring(tuple(sorted(group)), inside, across(service), across(owed), line, POOL * len(nodes - group))


def _components(edges: Iterable[tuple[bytes, bytes]]) -> list[frozenset[bytes]]:
    """Strongly connected components (Kosaraju 1978), without recursion."""
    ahead: dict[bytes, list[bytes]] = defaultdict(list)
    back: dict[bytes, list[bytes]] = defaultdict(list)
    for one, other in edges:
        ahead[one].append(other)
        back[other].append(one)
    left: list[bytes] = []
    seen: set[bytes] = set()
    for start in [*ahead]:
        left.extend(_walk(start, ahead, seen))
    seen = set()
    return [frozenset(group) for node in reversed(left) if (group := list(_walk(node, back, seen)))]


def _walk(start: bytes, ahead: Mapping[bytes, list[bytes]], seen: set[bytes]) -> Iterator[bytes]:
    """Depth first; each node when all behind it are done."""
    if start in seen:
        return
    seen.add(start)
    path = [(start, iter(ahead.get(start, ())))]
    while path:
        node, following = path[-1]
        fresh = next((one for one in following if one not in seen), None)
        if fresh is None:
            path.pop()
            yield node
        else:
            seen.add(fresh)
            path.append((fresh, iter(ahead.get(fresh, ()))))
