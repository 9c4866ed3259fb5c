"""The end of a node's own chain: what the next entry continues."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from opengateway.identity import Identity
from opengateway.ledger.entry import (
    GENESIS,
    VERSION,
    ZERO16,
    ZERO32,
    Entry,
    Signed,
    Terms,
    leaf_of,
    read_body,
    sign,
    signed_by_author,
)
from opengateway.ledger.rows import Row
from opengateway.ledger.rules import (
    Pair,
    RuleBroken,
    Totals,
    check_terms,
    pair_after,
    totals_after,
    totals_in,
)
from opengateway.units import NetworkId, NodeId

NO_TERMS = Terms()


class Draft(NamedTuple):
    """What somebody wants to say; where it stands and what it adds up to is the chain's to say."""

    kind: int
    peer: NodeId
    rid: bytes
    link: bytes
    terms: Terms = NO_TERMS
    digest: bytes = ZERO32


class Chain:
    """Head and running totals. `next` signs the entry after the head; `advance` makes it the head."""

    def __init__(self, identity: Identity, net: NetworkId) -> None:
        self._identity = identity
        self.net = net
        self.reset()

    def reset(self) -> None:
        """Before GENESIS."""
        self.entries = 0
        self.leaf = ZERO32
        self.t_ms = 0
        self.totals = Totals()

    @property
    def author(self) -> NodeId:
        return self._identity.node_id

    def genesis(self, recovery: bytes, now_ms: int) -> Signed:
        """`recovery`: SHA-256 of the public key that may one day replace this one."""
        return self.next(Draft(GENESIS, self.author, ZERO16, recovery), Pair(), now_ms)

    def next(self, draft: Draft, pair: Pair, now_ms: int) -> Signed:
        """The entry after the head; `pair` as it was before it. Time never goes back on a chain, whatever
        the clock does. Raises `RuleBroken`."""
        kind, peer, rid, link, terms, digest = draft
        t_ms = max(now_ms, self.t_ms)
        start = (VERSION, kind, self.net, self.author, self.entries, self.leaf, t_ms, peer, rid, link)
        bare = Entry._make((*start, *terms, *self.totals, *pair, digest))
        check_terms(bare)
        totals, after = totals_after(self.totals, bare), pair_after(pair, bare)
        return sign(self._identity, Entry._make((*start, *terms, *totals, *after, digest)))

    def advance(self, new: Signed) -> None:
        self.entries = new.entry.seq + 1
        self.leaf = new.leaf
        self.t_ms = new.entry.t_ms
        self.totals = totals_in(new.entry)


def checked(rows: Iterable[Row], author: NodeId, net: NetworkId) -> Iterator[Signed]:
    """These consecutive rows, each after checking that it is a piece of our own chain.

    Raises `RuleBroken` or `EntryInvalid` at the first row that is not what it was when it was signed.
    """
    last: Entry | None = None
    last_leaf = ZERO32
    for row in rows:
        entry = read_body(row.body, net)
        if leaf_of(row.body) != row.leaf or entry.seq != row.seq or entry.author != author:
            raise RuleBroken("E_PREV", f"entry {row.seq} is not the one that was signed")
        if not signed_by_author(author, row.leaf, row.signature):
            raise RuleBroken("E_SIG", f"the signature of entry {row.seq} is damaged")
        if last is not None:
            if entry.seq != last.seq + 1 or entry.prev != last_leaf:
                raise RuleBroken("E_PREV", f"entry {row.seq} does not continue entry {last.seq}")
            if totals_after(totals_in(last), entry) != totals_in(entry):
                raise RuleBroken("E_TOTALS", f"the totals of entry {row.seq} do not follow")
        last, last_leaf = entry, row.leaf
        yield Signed(entry, row.body, row.leaf, row.signature)
