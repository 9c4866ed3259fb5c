"""What only all chunks of a chain show together: sums with a peer across chunks, holds released long after
they were taken, requests used twice, counterparties that forked, the tree and its checkpoints."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from opengateway.ledger.audit_ahead import Ahead
from opengateway.ledger.audit_chunk import ChunkResult, Context, Found, at_spot, spot_of
from opengateway.ledger.entry import ADJ, Signed
from opengateway.ledger.evidence import Columns, Held, genuine
from opengateway.ledger.findings import Report
from opengateway.ledger.merkle import Frontier
from opengateway.ledger.ogwl import CHUNK, Chunk, records_at
from opengateway.ledger.rules import Pair, RuleBroken, check_release, totals_in
from opengateway.ledger.witness import Contradiction, compare


class WholeAudit:
    """Feed `chunk` with the results in their order, then `finish`."""

    def __init__(
        self,
        report: Report,
        context: Context,
        chunks: Sequence[Chunk],
        evidence: Mapping[int, Held],
        sizes: Iterable[int],
    ) -> None:
        self.report = report
        self.context = context
        self._chunks = chunks
        self.tree = Frontier()
        self.roots: dict[int, bytes] = {}
        """Root of the tree at the sizes that were asked for."""
        self._sizes = sorted(set(sizes))
        self._evidence = dict(evidence)
        self._awaited = sorted(evidence)
        self._opens: dict[tuple[bytes, bytes], tuple[int, int, int]] = {}
        self._requests, self._places = Columns(), Columns()
        self._pairs: dict[bytes, tuple[Pair, int]] = {}
        self._ahead = Ahead()
        self._closed: dict[bytes, bytes] = {}
        """Keys that were given up, and who came after each."""
        self._tops: dict[bytes, int] = {}
        self._vouched: dict[bytes, list[int]] = {}
        self._last: Signed | None = None
        self._found: list[Found] = []

    def chunk(self, result: ChunkResult) -> None:
        report = self.report
        self._found = result.findings
        report.checked.update(result.checked)
        report.kinds.update(result.kinds)
        report.signatures += result.signatures
        report.proofs.extend(result.proofs)
        if result.first == 0:
            report.subject.first_ms = result.first_ms
        self._starts(result)
        self._releases(result)
        for step in result.ahead:
            problem = self._ahead.step(step)
            if problem:
                self._found.append(Found(step.place, step.offset, "E_PAIRVIEW", problem, proven=False))
        self._counterparties(result)
        self._leaves(result)
        self._requests.extend(result.requests)
        self._places.extend(result.places)
        for leaf, spots in result.vouched.items():
            self._vouched.setdefault(leaf, []).extend(spots)
        self._last = result.last
        for found in sorted(self._found, key=lambda one: one.place):
            report.add(found.code, found.place, found.offset, found.detail, proven=found.proven)

    def _starts(self, result: ChunkResult) -> None:
        for peer, (place, offset, must) in result.starts.items():
            known, spot = self._pairs.get(peer, (Pair(), -1))
            if known != must:
                proven = spot >= 0 and self._prove(spot, spot_of(offset))
                text = "its totals with this peer do not follow from those before"
                self._found.append(Found(place, offset, "E_PAIR", text, proven))
        for peer, (pair, offset) in result.pairs.items():
            self._pairs[peer] = pair, spot_of(offset)
            self.report.pairs[peer] = pair
        self._closes(result)

    def _closes(self, result: ChunkResult) -> None:
        """Accounts that went over to a new key, all of them and for ever."""
        for peer, (place, offset, _) in result.starts.items():
            if peer in self._closed:
                text = "with a key that was given up before"
                self._found.append(Found(place, offset, "E_ROTATE", text, proven=False))
        for place, offset, old, new, taken in result.closed:
            known, _ = self._pairs.pop(old, (Pair(), -1))
            self.report.pairs.pop(old, None)
            self._closed[old] = new
            self._ahead.close(old)
            if any(taken) and known != taken:
                text = "moves something else than the account with the old key holds"
                self._found.append(Found(place, offset, "E_PAIR", text, proven=False))

    def _account(self, key: bytes) -> bytes:
        """The key under which the account with this one ended."""
        for _ in self._closed:
            key = self._closed.get(key, key)
        return key

    def _releases(self, result: ChunkResult) -> None:
        for place, offset, key in result.releases:
            held = self._opens.pop(key, None)
            if held is None:
                text = "releases a hold that no OPEN took"
                self._found.append(Found(place, offset, "E_NOOPEN", text, proven=False))
                continue
            opening, release = self._at(spot_of(held[1])), self._at(spot_of(offset))
            try:
                check_release(opening.entry, opening.leaf, release.entry)
            except RuleBroken as error:
                self._found.append(Found(place, offset, error.code, str(error), proven=False))
        self._opens.update(result.opens)

    def _counterparties(self, result: ChunkResult) -> None:
        for author, (first, highest) in result.tops.items():
            known = self._tops.get(author)
            if known is None:
                self._tops[author] = highest
                continue
            for spot in {first, highest}:
                if self._at(known).entry.seq != self._at(spot).entry.seq and self._prove(known, spot):
                    text = f"{author.hex()[:16]} signed entries that do not follow from each other"
                    self._found.append(Found(result.first, spot >> 3, "E_PEERHISTORY", text, proven=True))
            if self._at(known).entry.seq < self._at(highest).entry.seq:
                self._tops[author] = highest

    def _leaves(self, result: ChunkResult) -> None:
        leaves, tree = result.leaves, self.tree
        sizes = {size for size in self._sizes if tree.size < size <= tree.size + len(leaves) // 32}
        here = [seq for seq in self._awaited if tree.size <= seq < tree.size + len(leaves) // 32]
        for seq in here:
            at = (seq - tree.size) * 32
            self._compare_evidence(seq, bytes(leaves[at : at + 32]))
        for at in range(0, len(leaves), 32):
            tree.append(bytes(leaves[at : at + 32]))
            if tree.size in sizes:
                self.roots[tree.size] = tree.root()

    def _compare_evidence(self, seq: int, leaf: bytes) -> None:
        held = self._evidence.pop(seq)
        self.report.checked["evidence"] += 1
        if held.leaf == leaf:
            return
        mine = self._own(seq)
        proven = mine is not None and self._contradict(mine, held.read())
        code = "E_FORK" if proven else "E_EVIDENCE"
        text = "somebody holds another entry for this place"
        self._found.append(Found(seq, -1, code, text, proven))

    def _own(self, place: int) -> Signed | None:
        """The entry at this place, if it can be read."""
        chunk = self._chunks[place // CHUNK]
        records = records_at(self.context.path, chunk.offset, place - chunk.first + 1)
        *_, (offset, _) = records
        try:
            return self._at(spot_of(offset))
        except ValueError:
            return None

    def _at(self, spot: int) -> Signed:
        return at_spot(self.context, spot)

    def _prove(self, first: int, second: int) -> bool:
        return self._contradict(self._at(first), self._at(second))

    def _contradict(self, first: Signed, second: Signed) -> bool:
        if first.entry.author != second.entry.author:
            return False
        try:
            compare(first, second)
        except Contradiction as error:
            if genuine(first) and genuine(second):
                self.report.proofs.append((error.kind, error.proof))
                return True
        return False

    def vouched(self, opening_leaf: bytes) -> list[Signed]:
        """The entries of a request that a voucher is for: its OPEN, its end, or both."""
        return [self._at(spot) for spot in self._vouched.get(opening_leaf, [])]

    def finish(self) -> None:
        """Everything that needs the whole chain."""
        report, last = self.report, self._last
        report.subject.entries = self.tree.size
        report.subject.root, report.subject.frontier = self.tree.root(), list(self.tree.edge)
        if last is not None:
            report.totals = totals_in(last.entry)
            report.subject.head, report.subject.last_ms = last.leaf, last.entry.t_ms
            report.subject.position = last.entry.seq
            if last.entry.kind == ADJ and last.entry.amount:
                report.add("E_LEGS", last.entry.seq, -1, "one leg of a transfer without the other")
        held: Counter[bytes] = Counter()
        for (peer, _), (seq, _, hold) in self._opens.items():
            held[peer] += hold
            if hold:
                report.add("W_UNSETTLED", seq, -1, f"{hold} ucr are still held")
        report.ahead = self._ahead.amounts
        for claim in self._ahead.claims:
            peer = self._account(claim.peer)
            spent = report.pairs.get(peer, Pair()).consumed
            if claim.amount > spent + held[peer]:
                text = f"a peer claims {claim.amount} ucr earned here, where {spent} were spent at it"
                report.add("E_PAIRVIEW", claim.place, claim.offset, text)
        for seq in sorted(self._evidence):
            report.checked["evidence"] += 1
            report.add("E_TRUNCATED", seq, -1, f"somebody holds entry {seq}, which is not in this file")
        report.checked["request ids"] += len(self._requests)
        for first, second in self._requests.twice():
            pair = self._at(first), self._at(second)
            text = f"the same request as entry {pair[0].entry.seq}"
            proven = self._contradict(*pair)
            report.add("E_DUPRID", pair[1].entry.seq, second >> 3, text, proven=proven)
        for first, second in self._places.twice():
            if self._prove(first, second):
                entry = self._at(first).entry
                text = f"{entry.author.hex()[:16]} signed two different entries {entry.seq}"
                report.add("E_PEERFORK", -1, second >> 3, text)
