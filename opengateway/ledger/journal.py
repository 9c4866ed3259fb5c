"""What both sides of a request need: sign the next entry, read the other side's, remember what it showed.

Turns the format's and the rules' complaints into `LedgerRefused` with their short names.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path

from opengateway.errors import LedgerReadOnly, LedgerRefused
from opengateway.identity import Identity, short
from opengateway.ledger.accusations import Accusations
from opengateway.ledger.admission import Policy
from opengateway.ledger.ahead import Ahead
from opengateway.ledger.audit_proof import proof_of
from opengateway.ledger.chain import Draft
from opengateway.ledger.debts import Debts
from opengateway.ledger.entry import (
    FOLLOW,
    GENESIS,
    KINDS,
    OPEN,
    ROTATE,
    SETTLE,
    Entry,
    EntryInvalid,
    Signed,
    leaf_of,
    read_body,
    read_form,
    require_signature,
)
from opengateway.ledger.rotation import read_rotation
from opengateway.ledger.rows import Row
from opengateway.ledger.rules import Pair, RuleBroken, check_terms, pair_in
from opengateway.ledger.successors import LINE_BASE, ROTATION, Successors
from opengateway.ledger.vault import Vault
from opengateway.ledger.witness import Contradiction, compare
from opengateway.units import NetworkId, NodeId

REPUDIATION = "F8-repudiation"
OMITTED = 256
"""Entries back in which a SETTLE is looked for that a later entry omits: 4 ms at worst, and only where less
was consumed than we know of."""
RECENT = 1024
"""Entries kept as they were read: the OPEN that is settled now was read 1 to 20 s ago, at 15 us each time."""


class _Refusing:
    """`with refusing:` a broken rule is a refusal, named as the audit names it: E_AMOUNT is `amount`.

    One object for all, because it stands eleven times in the way of a receipt: a generator each time took
    40 us of the 500."""

    __slots__ = ()

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, RuleBroken):
            raise LedgerRefused(f"the entry breaks a rule: {error}", reason=error.code[2:].lower()) from error
        if isinstance(error, EntryInvalid):
            raise LedgerRefused(f"no valid ledger entry: {error}", reason=error.reason) from error


refusing = _Refusing()


def _disagrees(claim: str, signed: int) -> LedgerRefused:
    return LedgerRefused(
        f"it {claim}, which signed for {signed}",
        reason="pairview",
        hint="compare both ledgers: opengateway-audit pair A.ogwl B.ogwl",
    )


class Journal:
    """Chain, database and debts of one node. `rollback` brings all of them back to the last commit."""

    def __init__(  # noqa: PLR0917 - the book's own
        self,
        path: Path,
        identity: Identity,
        net: NetworkId,
        policy: Policy,
        now_ms: Callable[[], int],
        recovery: bytes = b"",
    ) -> None:
        self.net = net
        self.policy = policy
        self.now_ms = now_ms
        self.vault = Vault(path, identity, net, now_ms, recovery)
        self.accused = Accusations(path)
        self.vouched_at: Callable[[NodeId], int] = lambda _: 0
        """What we vouched for at a peer in requests that are not settled (ucr). The requester's side says."""
        self._read: dict[bytes, Entry] = {}
        self.load()

    def load(self) -> None:
        self.debts = Debts(self.policy)
        self.faulty: set[NodeId] = set()
        """Who we hold a proof of fraud against."""
        self.ahead = Ahead(self.vault.store)
        self.successors = Successors()
        self.moving: set[NodeId] = set()
        """Accounts that a change of keys has moved and whose two sides do not say the same yet."""
        self.given_up: Counter[NodeId] = Counter()
        """What we signed away of our claims in transfers that we have not heard the end of (ucr)."""
        with self.reading():
            for peer, pair, unpaid in self.vault.store.pairs():
                if any(pair) or unpaid:
                    self.debts.put(peer, pair, unpaid)
            self.ahead.load()
            for key, base in self.vault.store.documents(LINE_BASE):
                self.debts.without_line(NodeId(key), int.from_bytes(base, "big"))
            papers = self.vault.store.documents(ROTATION)
            self.successors = Successors(read_rotation(one, self.net, known=True) for _, one in papers)
            self.judge()
            self.moving = {peer for peer in self.vault.store.moved_with() if not self.settled_move(peer)}
            self._require_sums()

    def settled_move(self, peer: NodeId) -> bool:
        """Whether the latest entries of both sides about a change of keys say the same."""
        row = self.vault.store.statement(peer)
        half = self.stored_half(row) if row is not None else None
        if row is None or half is None:
            return row is None
        mine, theirs = pair_in(self.read(row.body)), pair_in(half.entry)
        return mine.admits(theirs) and theirs.admits(mine)

    def require_current(self, key: NodeId) -> None:
        """Raises `LedgerRefused` (`rotated`) for a key that was given up."""
        if key in self.successors:
            raise LedgerRefused(
                f"the key of {short(key)} was given up: {short(self.successors.account(key))} comes after it",
                reason="rotated",
            )

    def require_unmoved(self, peer: NodeId) -> None:
        """Raises `LedgerRefused` (`moving`) while the two sides have to agree on an account that moved."""
        if peer in self.moving:
            raise LedgerRefused(
                f"the account with {short(peer)} went over to a new key, and the two sides do not agree yet",
                reason="moving",
                hint="try again in a moment; if it stays so: opengateway ledger peers",
                retry_after=1.0,
            )

    def judge(self) -> None:
        """Who is convicted by the proofs that are kept: a key, and who came after it."""
        found = [self.successors.convicted(peer, proof) for peer, _, proof in self.vault.store.all_proofs()]
        self.faulty = set().union(*found)

    def _require_sums(self) -> None:
        """The pairs repeat what the chain says; where they do not add up they are read from it again."""
        given, taken, _ = self.vault.chain.totals
        if self.debts.sums() == (given, taken) or self.vault.damage:
            return
        latest: dict[NodeId, Pair] = {}
        for row in self.vault.store.rows():
            entry = read_body(row.body, self.net)
            if entry.kind not in (GENESIS, ROTATE):
                latest[entry.peer] = pair_in(entry)
            if entry.kind == FOLLOW:
                for old in self.successors.before(entry.peer):
                    latest[old] = Pair()
        for peer, pair in latest.items():
            self.debts.change(peer, pair=pair)
            self.vault.store.put_pair(peer, pair, self.debts.unpaid(peer))
        if self.debts.sums() != (given, taken):
            self.vault.damage = "the ledger's accounts with its peers do not add up to its totals"

    @contextmanager
    def reading(self) -> Iterator[None]:
        """What cannot be read at start makes the ledger read-only instead of stopping the node."""
        try:
            yield
        except (LedgerReadOnly, EntryInvalid) as error:
            self.vault.damage = self.vault.damage or f"the ledger is damaged: {error}"

    def read(self, body: bytes) -> Entry:
        """`read_body` for what was checked before. Raises `EntryInvalid`."""
        entry = self._read.get(body)
        return entry if entry is not None else self._keep(body, read_body(body, self.net))

    def _keep(self, body: bytes, entry: Entry) -> Entry:
        self._read[body] = entry
        if len(self._read) > RECENT:
            del self._read[next(iter(self._read))]
        return entry

    def stored(self, row: Row) -> Signed:
        return Signed(self.read(row.body), row.body, row.leaf, row.signature)

    def stored_half(self, row: Row) -> Signed | None:
        if row.peer_body is None or row.peer_signature is None:
            return None
        entry = read_body(row.peer_body, self.net)
        return Signed(entry, row.peer_body, leaf_of(row.peer_body), row.peer_signature)

    def next(self, draft: Draft) -> Signed:
        """The next entry of our chain, not yet part of it. Raises `LedgerRefused`, `LedgerReadOnly`."""
        self.vault.require_signable()
        with refusing:
            new = self.vault.chain.next(draft, self.debts.pair(draft.peer), self.now_ms())
        self._keep(new.body, new.entry)
        return new

    # What a counterparty sends, checked in the order of cost: form 15 us, rules 3 us, signature 55 us.

    def form(self, data: bytes, kind: int, author: NodeId) -> Signed:
        """An entry of this kind, by this author, for us, that keeps the rules; signature still to check."""
        with refusing:
            found = read_form(data, self.net)
            check_terms(found.entry)
        if found.entry.kind != kind:
            raise LedgerRefused(f"{KINDS[found.entry.kind]} instead of {KINDS[kind]}", reason="kind")
        if self.successors.rotations:
            self.require_current(author)
        if found.entry.author != author:
            raise LedgerRefused(f"{KINDS[kind]} by somebody else than its sender", reason="wrong_key")
        if found.entry.peer != self.vault.chain.author:
            raise LedgerRefused(f"{KINDS[kind]} for another node", reason="wrong_peer")
        if self.moving:
            self.require_unmoved(author)
        if kind == OPEN:
            self._keep(found.body, found.entry)
        return found

    def require_known_totals(self, entry: Entry) -> None:
        """That a requester claims no more from us than we signed. Both directions, on every contact."""
        self.require_known_earnings(entry)
        mine = self.debts.pair(entry.author)
        if entry.moved_in > mine.moved_out + self.given_up[entry.author]:
            raise _disagrees(f"claims {entry.moved_in} ucr moved to it from this node", mine.moved_out)

    def require_known_earnings(self, entry: Entry) -> None:
        """That it earned no more from us than we settled or vouched for."""
        mine = self.debts.pair(entry.author).consumed
        if entry.served > mine and entry.served > mine + self.vouched_at(entry.author):
            raise _disagrees(f"claims {entry.served} ucr earned from this node", mine)

    def require_signature(self, found: Signed) -> None:
        with refusing:
            require_signature(found)

    def require_consistent(self, found: Signed, known: Signed) -> None:
        """Keeps a proof and raises `LedgerRefused` if these entries by one author contradict each other."""
        try:
            compare(known, found)
        except Contradiction as error:
            author = found.entry.author
            self.convict(author, error.kind, error.proof)
            raise LedgerRefused(
                f"{short(author)} signed two entries that cannot both be true ({error})", reason="fraud"
            ) from error

    def convict(self, author: NodeId, kind: str, proof: bytes) -> None:
        """Kept and told to everybody with the next commit. It is served what it is owed from now on."""
        self.vault.store.add_proof(author, kind, proof)
        self.faulty |= self.successors.convicted(author, proof)

    def witness(self, found: Signed) -> None:
        """Holds a signed entry against the highest one that its author showed us before, and against what it
        settled."""
        author, about_us = found.entry.author, found.entry.peer == self.vault.chain.author
        if about_us and found.entry.consumed < self.debts.pair(author).served - self.ahead.of(author):
            self._require_not_omitted(found)
        known = self._head(author)
        if known is not None:
            self.require_consistent(found, known)

    def _require_not_omitted(self, found: Signed) -> None:
        """That no entry signed after a SETTLE says that less was consumed. Earlier ones may come late."""
        author = found.entry.author
        for row in islice(self.vault.store.rows_with(author, 0), OMITTED):
            half = self.stored_half(row)
            if half is None or half.entry.kind != SETTLE or half.entry.seq > found.entry.seq:
                continue
            if half.entry.seq == found.entry.seq:
                self.require_consistent(found, half)  # a fork, and no repudiation
            if half.entry.consumed > found.entry.consumed:
                pieces = (half.body, half.signature), (found.body, found.signature)
                self.convict(author, REPUDIATION, proof_of(REPUDIATION, *pieces))
                raise LedgerRefused(f"{short(author)} omits what it settled", reason="fraud")
            return

    def remember(self, found: Signed) -> None:
        """Keeps a witnessed entry if it is its author's highest."""
        known = self._head(found.entry.author)
        if known is None or known.entry.seq < found.entry.seq:
            self.vault.store.put_head(found)

    def _head(self, author: NodeId) -> Signed | None:
        return self.vault.store.head(author)
