"""What a stranger must show of its ledger before it is served on trust, and what a forker gets."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from ledger_world import NET, PRICE, Node, World, world

from opengateway.errors import HeadMissing, LedgerRefused, NotEnoughCredit
from opengateway.ledger.admission import Policy
from opengateway.ledger.heads import read_tree
from opengateway.ledger.opened import MOST, SAMPLES, drawn
from opengateway.ledger.price import Price
from opengateway.ledger.standing import DAY_MS, FRESH_MS, quorum
from opengateway.units import NodeId
from opengateway.wire import cbor
from opengateway.wire.codec import decode_message, encode_message
from opengateway.wire.witness_messages import AddCheckpoint, Cosigned, Head, Present

UNIT = Price(0, 1)


class Market:
    """A worker with anchors, and everybody's ledger by its key."""

    def __init__(
        self, lab: World, anchors: int = 3, worker: str = "worker", policy: Policy | None = None
    ) -> None:
        self.lab = lab
        self.worker = lab.node(worker, policy or Policy())
        self.anchors = [lab.node(f"{worker}'s anchor {n}") for n in range(anchors)]
        for anchor in self.anchors:
            self.worker.ask(anchor)
        self.strict(self.worker, self.anchors)

    def strict(self, worker: Node, here: list[Node]) -> None:
        standing = worker.book.witnessing.standing
        standing.connected = [one.id for one in here]
        worker.book.check_strangers(standing.require)

    def node(self, key: NodeId) -> Node:
        return next(node for node in self.lab.nodes if node.id == key)

    def show(self, requester: Node, rid: bytes, worker: Node | None = None, known: int = 0) -> Present | None:
        """Everything up to the Present, as `actors/showing.py` does it; None if too few have cosigned."""
        worker = worker or self.worker
        showing, anchors = (
            requester.book.witnessing.showing,
            worker.book.witnessing.standing.anchors(requester.id),
        )
        requests = list(showing.begin(worker.id, rid, anchors))
        requester.book.commit()
        while requests:
            to, request = requests.pop()
            witness = self.node(to)
            [(_, answer)] = witness.book.witnessing.hear(requester.id, request)
            witness.book.commit()
            again = requester.book.witnessing.hear(to, answer)
            requester.book.commit()
            requests += [(who, what) for who, what in again if isinstance(what, AddCheckpoint)]
        found = showing.present(worker.id, rid, anchors, known)
        if found is not None:
            assert decode_message(encode_message(found)) == found
        return found

    def ask(self, requester: Node, worker: Node | None = None, *, most: int = 50, known: int = 0) -> bytes:
        """One request that is shown and admitted; its rid."""
        worker = worker or self.worker
        rid, opening = requester.open(worker, most=most)
        shown = self.show(requester, rid, worker, known)
        if shown is not None:
            worker.book.witnessing.standing.present(requester.id, shown)
        worker.admit(opening, requester)
        return rid

    def serve(self, requester: Node, worker: Node | None = None, *, most: int = 50) -> None:
        worker = worker or self.worker
        rid = self.ask(requester, worker, most=most)
        worker.book.delivered(rid, requester.id, 10, most)
        requester.pay(worker, requester.settle(rid, completion=most))


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[World]:
    with world(tmp_path) as made:
        yield made


@pytest.fixture
def market(lab: World) -> Market:
    return Market(lab)


def second_life(node: Node) -> None:
    """The same key, another ledger."""
    node.book.close()
    for path in node.path.parent.iterdir():
        path.unlink()
    node.clock.pass_ms(1000)
    node.book = node._open()


def test_a_stranger_that_shows_its_ledger_is_served(lab: World, market: Market) -> None:
    stranger = lab.node("stranger")
    for _ in range(3):
        market.serve(stranger)


def test_one_that_does_not_is_told_whose_cosignatures_are_wanted(lab: World, market: Market) -> None:
    stranger = lab.node("stranger")
    _, opening = stranger.open(market.worker)
    with pytest.raises(HeadMissing) as missing:
        market.worker.admit(opening, stranger)
    wanted = {missing.value.anchors[at : at + 32] for at in (0, 32, 64)}
    assert wanted == {one.id for one in market.anchors}
    assert (missing.value.known, missing.value.status) == (0, 402) and missing.value.hint


def test_a_node_without_anchors_asks_for_nothing(lab: World) -> None:
    market = Market(lab, anchors=0)
    stranger = lab.node("stranger")
    _, opening = stranger.open(market.worker)
    market.worker.admit(opening, stranger)


def test_nor_is_anything_asked_of_whom_credit_covers_or_who_is_near(lab: World, market: Market) -> None:
    friend, neighbour = lab.node("friend"), lab.node("neighbour")
    market.worker.ask(friend, completion=500)
    _, opening = friend.open(market.worker)
    market.worker.admit(opening, friend)
    _, opening = neighbour.open(market.worker)
    market.worker.book.admit(
        opening, neighbour.id, price_prompt=PRICE.prompt, price_completion=PRICE.completion, near=True
    )


def test_the_requester_knows_where_it_is_covered(lab: World, market: Market) -> None:
    friend, stranger = lab.node("friend"), lab.node("stranger")
    market.worker.ask(friend, completion=500)
    friend.open(market.worker)
    stranger.open(market.worker)
    assert friend.book.witnessing.showing.covered(market.worker.id)
    assert not stranger.book.witnessing.showing.covered(market.worker.id)


def test_anchors_are_the_five_that_served_most_and_are_here(lab: World) -> None:
    worker, nodes = lab.node("worker"), [lab.node(f"n{n}") for n in range(8)]
    for number, node in enumerate(nodes):
        worker.ask(node, completion=10 + number)
    standing = worker.book.witnessing.standing
    assert standing.anchors(nodes[0].id) == []
    standing.connected = [one.id for one in (*nodes, lab.node("stranger"))]
    assert standing.anchors(nodes[7].id) == [one.id for one in nodes[6:1:-1]]
    worker.book._journal.faulty.add(nodes[6].id)
    assert standing.anchors(nodes[7].id) == [one.id for one in nodes[5:0:-1]]
    assert [quorum(n) for n in range(1, 6)] == [1, 1, 2, 3, 4]


def spoilt(market: Market, stranger: Node, rid: bytes, how: str) -> Present:
    """A Present that must not do."""
    shown = market.show(stranger, rid)
    assert shown is not None
    rows: Any = cbor.decode(shown.openings)

    def opened(new: list[list[bytes]]) -> Present:
        return Present(shown.note, cbor.encode(new))

    def flipped(place: int) -> Present:
        new = [list(row) for row in rows]
        data = bytearray(new[2][place])
        data[len(data) // 2] ^= 1
        new[2][place] = bytes(data)
        return opened(new)

    lines, other = shown.note.splitlines(keepends=True), "A" if shown.note[-20] != "A" else "B"
    cases: dict[str, Callable[[], Present]] = {
        "one entry short": lambda: opened(rows[1:]),
        "none opened": lambda: opened([]),
        "too many": lambda: opened(rows * (MOST // len(rows) + 1)),
        "no array": lambda: Present(shown.note, cbor.encode(b"x")),
        "no rows": lambda: opened([[b"x"]]),
        "half a hash": lambda: opened([[*row[:2], row[2] + b"x"] for row in rows]),
        "body": lambda: flipped(0),
        "signature": lambda: flipped(1),
        "path": lambda: flipped(2),
        "nothing": lambda: Present("", b""),
        "too few cosigners": lambda: Present("".join(lines[:-2]), shown.openings),
        "a false line": lambda: Present(shown.note[:-20] + other + shown.note[-19:], shown.openings),
        "somebody else's": lambda: market_of(market, stranger),
    }
    return cases[how]()


def market_of(market: Market, stranger: Node) -> Present:
    other = market.lab.node("other")
    rid, _ = other.open(market.worker)
    shown = market.show(other, rid)
    assert shown is not None
    return shown


@pytest.mark.parametrize(
    "how",
    ["one entry short", "none opened", "too many", "no array", "no rows", "half a hash", "body", "signature",
     "path", "nothing", "too few cosigners", "a false line", "somebody else's"],
)  # fmt: skip
def test_what_is_shown_must_be_whole_and_genuine(lab: World, market: Market, how: str) -> None:
    stranger = lab.node("stranger")
    market.serve(stranger)
    rid, opening = stranger.open(market.worker)
    market.worker.book.witnessing.standing.present(stranger.id, spoilt(market, stranger, rid, how))
    with pytest.raises((HeadMissing, LedgerRefused)) as refused:
        market.worker.admit(opening, stranger)
    assert not market.worker.book.faults(), refused.value
    market.serve(stranger)


def test_a_tree_that_does_not_have_the_request_in_it_does_not_do(lab: World, market: Market) -> None:
    """An old branch that lies idle can stay cosigned for ever: it says nothing about this request."""
    stranger = lab.node("stranger")
    first, _ = stranger.open(market.worker)
    shown = market.show(stranger, first)
    assert shown is not None
    _, second = stranger.open(market.worker)
    market.worker.book.witnessing.standing.present(stranger.id, shown)
    with pytest.raises(HeadMissing):
        market.worker.admit(second, stranger)


def test_cosignatures_are_good_for_ten_minutes(lab: World, market: Market) -> None:
    stranger = lab.node("stranger")
    rid, _ = stranger.open(market.worker)
    shown = market.show(stranger, rid)
    assert shown is not None
    lab.clock.pass_ms(FRESH_MS + 1000)
    note = read_tree(shown.note, NET)
    assert not market.worker.book.witnessing.standing._cosigned(note, [one.id for one in market.anchors])


def test_keys_of_its_own_under_the_tree_do_not_help_to_draw_what_it_likes(lab: World, market: Market) -> None:
    from opengateway.ledger.cosign import cosign_line

    stranger, sybil = lab.node("stranger"), lab.node("sybil")
    rid, opening = stranger.open(market.worker)
    shown = market.show(stranger, rid)
    assert shown is not None
    more = shown.note + cosign_line(sybil.identity, read_tree(shown.note, NET), lab.clock() // 1000)
    market.worker.book.witnessing.standing.present(stranger.id, Present(more, shown.openings))
    with pytest.raises(HeadMissing):
        market.worker.admit(opening, stranger)


def test_sixteen_of_many_are_drawn_by_the_witnesses(lab: World, market: Market) -> None:
    stranger, friend = lab.node("stranger"), lab.node("friend")
    for _ in range(40):
        stranger.ask(friend)
    rid, _ = stranger.open(market.worker)
    shown = market.show(stranger, rid)
    assert shown is not None
    note = read_tree(shown.note, NET)
    places = drawn(note)
    assert note.size == 82 and SAMPLES - 6 <= len(places) <= SAMPLES and max(places) < 82
    note.cosigned[0] = (note.cosigned[0][0], note.cosigned[0][1], bytes(64))
    assert drawn(note) != places
    market.worker.book.witnessing.standing.present(stranger.id, shown)


# The forker.


def test_a_forker_gets_no_second_line_where_anchors_are_shared(lab: World) -> None:
    """Two workers that never met; 2 of 3 anchors are the same."""
    market = Market(lab)
    other = lab.node("other worker")
    theirs = [*market.anchors[:2], lab.node("fourth anchor")]
    for anchor in theirs:
        other.ask(anchor)
    market.strict(other, theirs)
    forker = lab.node("forker")
    market.ask(forker)
    second_life(forker)
    rid, opening = forker.open(other)
    assert market.show(forker, rid, other) is None
    with pytest.raises(HeadMissing):
        other.admit(opening, forker)


def test_nor_where_none_is_shared_once_heads_have_gone_round(lab: World) -> None:
    here, there = Market(lab), Market(lab, worker="far worker")
    forker = lab.node("forker")
    rid, opening = forker.open(here.worker)
    shown = here.show(forker, rid)
    assert shown is not None
    here.worker.book.witnessing.standing.present(forker.id, shown)
    here.worker.admit(opening, forker)
    for node in there.anchors:  # what the first worker passed on of what it was shown
        node.book.witnessing.heard([(here.worker.id, Head(shown.note, 0, b""))])
    second_life(forker)
    forker.open(there.worker)
    rid, opening = forker.open(there.worker)
    assert there.show(forker, rid) is None
    with pytest.raises(HeadMissing):
        there.worker.admit(opening, forker)


def test_two_branches_of_one_length_convict_it(lab: World) -> None:
    here, there = Market(lab), Market(lab, worker="far worker")
    forker = lab.node("forker")
    heads = []
    for market in (here, there):
        rid, _ = forker.open(market.worker)
        shown = market.show(forker, rid)
        assert shown is not None
        heads.append(Head(shown.note, 0, b""))
        second_life(forker)
    judge = lab.node("judge")
    judge.book.witnessing.heard([(here.worker.id, head) for head in heads])
    judge.book.commit()
    assert [(key, kind) for key, kind, _ in judge.book.faults()] == [(forker.id, "F6-rewrite")]


def test_a_forker_is_found_out_by_whom_it_has_dealt_with_before(lab: World) -> None:
    """The entry that the worker has seen must be in the tree."""
    market = Market(lab)
    forker = lab.node("forker")
    market.ask(forker)
    second_life(forker)
    fresh = [lab.node(f"new anchor {n}") for n in range(3)]  # who have seen nothing of it
    for anchor in fresh:
        market.worker.ask(anchor)
    market.worker.book.witnessing.standing.connected = [one.id for one in fresh]
    for _ in range(3):
        forker.open(fresh[0])
    with pytest.raises(LedgerRefused, match="cannot both be true"):
        market.ask(forker, known=2)
    market.worker.book.commit()
    [(key, kind, _)] = market.worker.book.faults()
    assert (key, kind) == (forker.id, "F1-fork")


# The liar, and the spender.


def test_a_ledger_that_says_less_than_it_said_before_convicts_its_author(lab: World, market: Market) -> None:
    liar, friend = lab.node("liar"), lab.node("friend")
    liar.ask(friend)
    chain = liar.book._journal.vault.chain
    chain.totals = chain.totals._replace(taken=0)
    with pytest.raises(LedgerRefused):
        market.ask(liar)
    market.worker.book.commit()
    [(key, kind, _)] = market.worker.book.faults()
    assert (key, kind) == (liar.id, "F2-history")


def test_whoever_asks_on_trust_may_have_spent_so_much_in_a_day(lab: World) -> None:
    """100 credits by default, wherever: that is what one stamp buys. What friends sign that it earned from
    them does not make it more."""
    market = Market(lab, policy=Policy(stranger_line=6000))
    spender, friend = lab.node("spender"), lab.node("friend")
    spender.ask(friend, prompt=0, completion=9000, price=UNIT)
    friend.ask(spender, prompt=0, completion=9_000_000, price=UNIT)
    with pytest.raises(NotEnoughCredit, match="within a day") as refused:
        market.ask(spender)
    assert refused.value.missing == 9000 + 5100 - 12_000
    market.lab.clock.pass_ms(DAY_MS + 600_000)
    market.serve(spender, most=10)


def test_a_forged_date_does_not_make_it_a_day_ago(lab: World) -> None:
    market = Market(lab, policy=Policy(stranger_line=6000))
    spender, friend = lab.node("spender"), lab.node("friend")
    spender.ask(friend, prompt=0, completion=9000, price=UNIT)
    lab.clock.pass_ms(DAY_MS // 2)
    rid, opening = spender.open(market.worker)
    spender.book._journal.now_ms = lambda: lab.clock() + DAY_MS
    spender.open(friend)  # an entry of tomorrow
    spender.book._journal.now_ms = lab.clock
    with pytest.raises(NotEnoughCredit, match="within a day"):
        shown = market.show(spender, rid)
        assert shown is not None
        market.worker.book.witnessing.standing.present(spender.id, shown)
        market.worker.admit(opening, spender)


def test_strangers_may_be_checked_twenty_at_once_and_ten_a_second(lab: World, market: Market) -> None:
    standing = market.worker.book.witnessing.standing
    stranger = lab.node("stranger")
    _, opening = stranger.open(market.worker)
    reasons = []
    for _ in range(21):
        standing.present(stranger.id, Present("", b""))
        with pytest.raises(LedgerRefused) as refused:
            market.worker.admit(opening, stranger)
        reasons.append(refused.value.reason)
    assert reasons == ["head"] * 20 + ["busy"]
    lab.clock.pass_ms(100)
    standing.present(stranger.id, Present("", b""))
    with pytest.raises(LedgerRefused) as refused:
        market.worker.admit(opening, stranger)
    assert refused.value.reason == "head"


def test_several_trees_may_wait_for_their_cosignatures_at_once(lab: World, market: Market) -> None:
    """Two requests at two workers, whose witnesses answer in another order."""
    stranger = lab.node("stranger")
    showing = stranger.book.witnessing.showing
    anchors = [one.id for one in market.anchors]
    first, _ = stranger.open(market.worker)
    early = showing.begin(market.worker.id, first, anchors)
    second, _ = stranger.open(market.worker)
    showing.begin(market.worker.id, second, anchors)
    for to, request in early:
        [(_, answer)] = market.node(to).book.witnessing.hear(stranger.id, request)
        assert isinstance(answer, Cosigned)
        stranger.book.witnessing.hear(to, answer)
    assert showing.present(market.worker.id, first, anchors, 0) is not None
    assert showing.present(market.worker.id, second, anchors, 0) is None


def test_the_whole_is_small_enough_to_send(lab: World) -> None:
    market = Market(lab, anchors=5)
    stranger, friend = lab.node("stranger"), lab.node("friend")
    for _ in range(60):
        stranger.ask(friend)
    rid, _ = stranger.open(market.worker)
    shown = market.show(stranger, rid)
    assert shown is not None
    assert len(encode_message(shown)) < 16_384
    assert len(shown.note) < 2048, "and its tree goes round as a head"
