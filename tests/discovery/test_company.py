"""How many sessions a node makes for company, and how fast: the rules, and 200 nodes that follow them."""

from __future__ import annotations

import random
from statistics import mean

from opengateway.discovery.company import (
    COMPANY,
    ENOUGH,
    GRACE_S,
    LEISURE_MS,
    LET_GO_AT_ONCE,
    LET_GO_MS,
    PLENTY,
    UNDER_WAY_MS,
    Guest,
    UnderWay,
    too_many,
)
from opengateway.discovery.peers import DIALS_AT_ONCE, PeerBook
from opengateway.units import NodeId

NOW = 1_750_000_000_000
OWN = NodeId(b"o" * 32)


def node(number: int) -> NodeId:
    return NodeId(number.to_bytes(32, "big"))


def place(number: int) -> str:
    return f"tcp://10.0.{number // 200}.{number % 200 + 1}:1"


def book(strangers: int, *, sought: bool = False) -> PeerBook:
    made = PeerBook(OWN, chance=random.Random(1))
    for number in range(strangers):
        made.heard(node(number), (place(number),), seq=1, now_ms=NOW, sought=sought)
    return made


def dialled(known: PeerBook, now: int, company: int = 0) -> list[NodeId]:
    found = known.due(now, company=company)
    for dial in found:
        known.dialled(dial, now_ms=now)
    return [dial.node_id for dial in found]


def test_dials_under_way_count_as_sessions() -> None:
    known = book(100)
    assert len(dialled(known, NOW)) == DIALS_AT_ONCE == COMPANY
    assert known.under_way.count(NOW) == COMPANY
    assert dialled(known, NOW + 1) == [], "the first few are on their way"
    assert dialled(book(100), NOW, company=COMPANY - 2) != []
    assert len(dialled(book(100), NOW, company=COMPANY - 2)) == 3, "two in a hurry and one at leisure"


def test_beyond_a_few_one_is_dialled_at_a_time_until_there_are_enough() -> None:
    known, now, made = book(100), NOW, 0
    for number in dialled(known, now):
        known.connected(number, now_ms=now)
        made += 1
    began = now
    while made < ENOUGH:
        now += LEISURE_MS // 6
        assert now - began <= (ENOUGH - COMPANY + 1) * 1.5 * LEISURE_MS
        more = dialled(known, now, company=made)
        assert len(more) <= 1
        for number in more:
            known.connected(number, now_ms=now)
        made += len(more)
    assert now - began >= (ENOUGH - COMPANY - 1) * 0.5 * LEISURE_MS
    assert dialled(known, now + 10 * LEISURE_MS, company=made) == []


def test_whoever_is_sought_is_dialled_at_once_up_to_plenty() -> None:
    known, company = book(100, sought=True), COMPANY
    while more := dialled(known, NOW, company=company):
        for number in more:
            known.connected(number, now_ms=NOW)
        company += len(more)
    assert company == PLENTY


def test_a_dial_that_fails_makes_room_for_the_next_at_once() -> None:
    known = book(100)
    first = dialled(known, NOW)
    known.under_way.failed(place(int.from_bytes(first[0], "big")))
    assert len(dialled(known, NOW + 1)) == 1
    known.under_way.failed("tcp://10.9.9.9:9")
    assert dialled(known, NOW + 2) == []


def test_one_who_is_dialled_in_several_places_has_failed_when_all_have() -> None:
    dials = UnderWay()
    dials.began(node(1), ("tcp://10.0.0.1:1", "tcp://10.0.0.2:1"), now_ms=NOW)
    dials.failed("tcp://10.0.0.1:1")
    assert dials.count(NOW) == 1
    dials.failed("tcp://10.0.0.2:1")
    assert dials.count(NOW) == 0


def test_who_never_answers_is_counted_on_for_five_seconds_and_only_once() -> None:
    """Eight dead peers in an old cache must not keep this node from the living."""
    known = book(100)
    silent = set(dialled(known, NOW))
    later = NOW + UNDER_WAY_MS
    assert known.under_way.count(later - 1) == COMPANY
    again = dialled(known, later)
    assert len(again) == DIALS_AT_ONCE
    assert known.under_way.count(later) == len(set(again) - silent)


def test_a_clock_that_is_set_back_leaves_no_dial_under_way_for_years() -> None:
    known = book(100)
    dialled(known, NOW)
    past = NOW - 365 * 24 * 3600 * 1000
    assert known.under_way.count(past) == 0


def test_a_node_that_everybody_knows_lets_go_of_all_but_a_few_and_of_no_newcomer() -> None:
    chance = random.Random(3)
    guests = {Guest(node(number), GRACE_S if number % 2 else GRACE_S - 1) for number in range(200)}
    while gone := too_many(guests, len(guests), chance):
        assert len(gone) <= LET_GO_AT_ONCE
        guests = {guest for guest in guests if guest.peer not in gone}
    assert sum(guest.up_s < GRACE_S for guest in guests) == 100
    assert not any(guest.up_s >= GRACE_S for guest in guests), "first the newcomers must have grown old"
    guests = {Guest(guest.peer, GRACE_S) for guest in guests}
    while gone := too_many(guests, len(guests), chance):
        guests = {guest for guest in guests if guest.peer not in gone}
    assert len(guests) == PLENTY


def test_however_many_a_node_has_chosen_itself_there_is_room_for_guests() -> None:
    chance, guests = random.Random(3), {Guest(node(number), GRACE_S) for number in range(30)}
    while gone := too_many(guests, 3 * PLENTY + len(guests), chance):
        guests = {guest for guest in guests if guest.peer not in gone}
    assert len(guests) == ENOUGH
    assert too_many({Guest(node(1), 9e9)}, PLENTY - 1, chance) == []


def test_who_was_let_go_comes_back_only_if_it_has_too_little_company() -> None:
    known = book(1)
    known.connected(node(0), place(0), now_ms=NOW)
    known.let_go(node(0), now_ms=NOW)
    later = NOW + 2 * LET_GO_MS
    assert dialled(known, NOW + LET_GO_MS - 1) == [], "not at once"
    assert dialled(known, later, company=COMPANY) == [], "neither lost nor gone"
    assert dialled(known, later, company=COMPANY - 1) == [node(0)]
    known.connected(node(0), place(0), now_ms=later)
    known.lost(node(0), now_ms=later)
    assert dialled(known, later + 2000, company=PLENTY) == [node(0)], "now it was lost"


def test_who_was_let_go_is_dialled_at_once_when_it_serves_what_is_sought() -> None:
    known = book(1)
    known.connected(node(0), place(0), now_ms=NOW)
    known.let_go(node(0), now_ms=NOW)
    known.heard(node(0), (place(0),), seq=2, now_ms=NOW, sought=True)
    assert dialled(known, NOW + 2 * LET_GO_MS, company=ENOUGH) == [node(0)]


def test_200_nodes_that_start_together_and_know_one_end_with_few_sessions_each() -> None:
    """A dial takes 2 s, as on a machine that is busy starting; each asks whom it has a session with for
    eight others until it has company, as actors/discovery.py does."""
    chance, nodes = random.Random(7), 200
    books = [PeerBook(node(n), chance=random.Random(n)) for n in range(nodes)]
    linked: list[set[int]] = [set() for _ in books]
    arrivals: list[tuple[int, int, int]] = []

    def link(a: int, b: int, now: int) -> None:
        for one, other in ((a, b), (b, a)):
            books[one].connected(node(other), place(other) if one == a else "", now_ms=now)
            books[one].heard(node(other), (place(other),), seq=1, now_ms=now)
            linked[one].add(other)

    for n in range(1, nodes):
        link(n, 0, NOW)
    for now in range(NOW, NOW + 60_000, 500):
        for due, a, b in [one for one in arrivals if one[0] <= now]:
            arrivals.remove((due, a, b))
            link(a, b, now)
        for n, known in enumerate(books):
            if now % 2000 < 500 and 0 < len(linked[n]) < COMPANY:
                asked = chance.choice(sorted(linked[n]))
                for told in chance.sample(sorted(linked[asked] - {n}), min(8, len(linked[asked] - {n}))):
                    known.heard(node(told), (place(told),), seq=1, now_ms=now)
            more = dialled(known, now, company=len(linked[n]))
            arrivals.extend((now + 2000, n, int.from_bytes(peer, "big")) for peer in more)
    sessions = [len(others) for others in linked[1:]]
    assert min(sessions) >= COMPANY
    assert mean(sessions) <= 1.5 * ENOUGH
    assert max(sessions) <= PLENTY + ENOUGH
