from __future__ import annotations

import random

from hypothesis import given
from hypothesis import strategies as st

from opengateway.discovery import peers as rules
from opengateway.discovery import redial
from opengateway.discovery.company import ENOUGH, PLENTY
from opengateway.discovery.known_peer import ADDRESS_LIMIT, Dial
from opengateway.discovery.peers import PeerBook
from opengateway.discovery.redial import redial_wait_ms
from opengateway.units import NodeId

OWN = NodeId(b"o" * 32)
ANNA, BERT = NodeId(b"a" * 32), NodeId(b"b" * 32)
HOME, CAFE = "tcp://192.168.1.5:11436", "tcp://10.0.0.9:11436"
NOW = 1_750_000_000_000


def book(limit: int = 100) -> PeerBook:
    return PeerBook(OWN, limit=limit, chance=random.Random(1))


def other(number: int) -> NodeId:
    return NodeId(number.to_bytes(32, "big"))


def waits_after_a_loss(until_ms: int) -> list[tuple[int, int]]:
    """(ms since the loss, ms until the next dial) of a peer that never answers again."""
    known, now, waits = book(), NOW, []
    known.connected(ANNA, HOME, now_ms=now)
    known.lost(ANNA, now_ms=now)
    while now < NOW + until_ms:
        due = known.next_due_ms()
        assert due is not None
        assert known.due(due - 1) == ()
        waits.append((now - NOW, due - now))
        now = due
        assert known.due(now) == (Dial(ANNA, (HOME,)),)
        known.dialled(Dial(ANNA, (HOME,)), now_ms=now)
    return waits


def test_a_peer_that_was_lost_is_dialled_at_once_and_every_20_s_for_a_quarter_of_an_hour() -> None:
    waits = waits_after_a_loss(redial.FRESH_MS)
    assert 750 <= waits[0][1] <= 1250
    assert max(wait for _, wait in waits) <= 20_000
    assert min(wait for since, wait in waits if since > 60_000) >= 12_000


def test_after_that_ever_less_often_but_for_ever() -> None:
    waits = waits_after_a_loss(14 * 24 * 3600 * 1000)
    assert all(wait < since / 7 for since, wait in waits if since > redial.FRESH_MS)
    assert 0.75 * redial.REDIAL_LIMIT_MS <= waits[-1][1] <= 1.25 * redial.REDIAL_LIMIT_MS
    assert len(waits) > 600


def test_with_enough_company_nobody_else_is_dialled_but_whoever_was_lost_or_is_needed() -> None:
    known, company = book(), ENOUGH
    known.seen(ANNA, (HOME,), now_ms=NOW)
    assert known.due(NOW, company=company - 1) == (Dial(ANNA, (HOME,)),)
    assert known.due(NOW, company=company) == ()
    known.heard(ANNA, (HOME,), seq=1, now_ms=NOW, sought=True)
    assert known.due(NOW, company=company) == (Dial(ANNA, (HOME,)),)
    assert known.due(NOW, company=PLENTY) == ()
    known.connected(BERT, CAFE, now_ms=NOW)
    known.lost(BERT, now_ms=NOW)
    assert known.due(NOW + 2000, company=1000) == (Dial(BERT, (CAFE,)),)
    later = NOW + redial.FRESH_MS
    assert known.due(later, company=1000) == ()
    assert {dial.node_id for dial in known.due(later, company=0)} == {ANNA, BERT}, "nobody is forgotten"


def test_a_peer_that_had_dialled_us_is_redialled_on_its_advertised_address() -> None:
    known = book()
    known.connected(ANNA, now_ms=NOW)
    known.heard(ANNA, (HOME,), seq=1, now_ms=NOW)
    assert known.due(NOW) == ()
    known.lost(ANNA, now_ms=NOW)
    assert known.due(NOW + 2000) == (Dial(ANNA, (HOME,)),)


def test_addresses_are_merged_and_the_one_that_answered_comes_first() -> None:
    known = book()
    known.heard(ANNA, (HOME,), seq=1, now_ms=NOW)
    known.heard(ANNA, (CAFE,), seq=2, now_ms=NOW + 5)
    assert known.due(NOW + 5)[0].endpoints == (CAFE, HOME)
    known.connected(ANNA, HOME, now_ms=NOW + 6)
    known.lost(ANNA, now_ms=NOW + 7)
    assert known.due(NOW + 2000)[0].endpoints == (HOME, CAFE)


def test_a_changed_address_is_dialled_at_once_whatever_the_back_off_was() -> None:
    known = book()
    known.connected(ANNA, HOME, now_ms=NOW)
    known.lost(ANNA, now_ms=NOW)
    for _ in range(12):
        known.dialled(Dial(ANNA, (HOME,)), now_ms=NOW)
    assert known.due(NOW + 5_000) == ()
    known.seen(ANNA, (CAFE,), now_ms=NOW + 5_000)
    assert known.due(NOW + 5_000) == (Dial(ANNA, (CAFE, HOME)),)


def test_a_peer_that_invents_addresses_is_dialled_once_a_second_at_most() -> None:
    known = book()
    dials = 0
    for step in range(1000):
        now = NOW + step * 10
        known.seen(ANNA, (f"tcp://10.0.{step % 200}.1:{step + 1}",), now_ms=now)
        for dial in known.due(now):
            known.dialled(dial, now_ms=now)
            dials += 1
    assert dials <= 11
    peer = known.get(ANNA)
    assert peer
    assert len(peer.places) == ADDRESS_LIMIT


def test_an_address_nobody_ever_answered_at_is_forgotten_after_a_while() -> None:
    known = book()
    known.heard(ANNA, (HOME,), seq=1, now_ms=NOW)
    for _ in range(rules.STRANGER_TRIES + 1):
        known.dialled(Dial(ANNA, (HOME,)), now_ms=NOW)
    assert known.get(ANNA) is None


def test_hearsay_does_not_resurrect_the_departed_but_a_newer_record_or_a_sighting_does() -> None:
    for revive in (
        lambda known: known.heard(ANNA, (HOME,), seq=8, now_ms=NOW + 2),
        lambda known: known.seen(ANNA, (HOME,), now_ms=NOW + 2),
    ):
        known = book()
        known.connected(ANNA, HOME, now_ms=NOW)
        known.heard(ANNA, (HOME,), seq=7, now_ms=NOW)
        known.departed(ANNA, now_ms=NOW + 1)
        assert not known.heard(ANNA, (HOME, CAFE), seq=7, now_ms=NOW + 2)
        assert known.due(NOW + 60_000) == ()
        assert revive(known)
        peer = known.get(ANNA)
        assert peer
        assert not peer.departed_ms


def test_a_restarted_peer_seen_on_the_lan_is_dialled_without_waiting_for_its_tombstone() -> None:
    known = book()
    known.connected(ANNA, HOME, now_ms=NOW)
    known.departed(ANNA, now_ms=NOW + 1)
    known.seen(ANNA, (HOME,), now_ms=NOW + 1500)
    assert known.due(NOW + 1500) == (Dial(ANNA, (HOME,)),)


def test_two_peers_that_said_goodbye_at_once_still_find_each_other_within_the_hour() -> None:
    known = book()
    known.connected(ANNA, HOME, now_ms=NOW)
    known.departed(ANNA, now_ms=NOW)
    assert known.due(NOW + rules.DEPARTED_REDIAL_MS) == (Dial(ANNA, (HOME,)),)
    known.dialled(Dial(ANNA, (HOME,)), now_ms=NOW + rules.DEPARTED_REDIAL_MS)
    assert known.due(NOW + rules.DEPARTED_REDIAL_MS + 60_000) == ()


def test_a_flood_of_strangers_pushes_out_strangers_only() -> None:
    known = book(limit=10)
    for i in range(5):
        known.connected(other(i), HOME, now_ms=NOW + i)
        known.lost(other(i), now_ms=NOW + i)
    for i in range(1000, 2000):
        known.heard(other(i), (CAFE,), seq=1, now_ms=NOW + i)
    assert len(known) == 10
    assert all(known.get(other(i)) for i in range(5))


def test_a_full_table_of_proven_peers_refuses_strangers_and_makes_room_for_one_who_answers() -> None:
    known = book(limit=3)
    for i in range(3):
        known.connected(other(i), HOME, now_ms=NOW + i)
        known.lost(other(i), now_ms=NOW + i)
    assert not known.heard(ANNA, (HOME,), seq=1, now_ms=NOW + 9)
    assert known.refused == 1
    known.connected(BERT, HOME, now_ms=NOW + 9)
    assert known.get(BERT)
    assert known.get(other(0)) is None, "silent longest"


def test_this_node_itself_is_never_in_its_book() -> None:
    known = book()
    assert not known.seen(OWN, (HOME,), now_ms=NOW)
    known.connected(OWN, HOME, now_ms=NOW)
    assert len(known) == 0


def test_what_is_not_an_endpoint_is_refused_and_counted() -> None:
    known = book()
    known.seen(ANNA, ("tcp://example.org:1", HOME), now_ms=NOW)
    assert known.due(NOW) == (Dial(ANNA, (HOME,)),)
    assert known.refused == 1


def test_after_a_change_of_network_everyone_lost_is_dialled_within_a_second() -> None:
    known = book()
    known.connected(ANNA, HOME, now_ms=NOW)
    known.lost(ANNA, now_ms=NOW)
    for _ in range(12):
        known.dialled(Dial(ANNA, (HOME,)), now_ms=NOW)
    known.network_changed(now_ms=NOW + 5000)
    assert known.due(NOW + 6000) == (Dial(ANNA, (HOME,)),)


def test_a_clock_set_back_by_years_silences_nobody() -> None:
    known = book()
    known.connected(ANNA, HOME, now_ms=NOW)
    known.lost(ANNA, now_ms=NOW)
    assert known.due(NOW - 10**11) == (Dial(ANNA, (HOME,)),)


def test_no_more_are_dialled_at_once_than_there_is_room_for_best_first() -> None:
    known = book()
    for i in range(20):
        known.heard(other(i), (HOME,), seq=1, now_ms=NOW)
    known.connected(other(3), HOME, now_ms=NOW)
    known.lost(other(3), now_ms=NOW)
    dials = known.due(NOW + 2000, room=4)
    assert len(dials) == 4
    assert dials[0].node_id == other(3)


@given(st.integers(0, 10_000), st.floats(0, 1, exclude_max=True), st.none() | st.integers(-(10**12), 10**12))
def test_the_wait_stays_within_its_limits(failures: int, chance: float, since_ms: int | None) -> None:
    assert 750 <= redial_wait_ms(failures, chance, since_ms) <= 1.25 * redial.REDIAL_LIMIT_MS


steps = st.tuples(
    st.sampled_from(["seen", "heard", "connected", "lost", "departed", "forget", "dial", "network_changed"]),
    st.integers(0, 6),
    st.integers(0, 100_000),
)


@given(st.lists(steps, max_size=60))
def test_whatever_happens_the_book_stays_bounded_and_dials_only_the_unconnected(
    history: list[tuple[str, int, int]],
) -> None:
    known, now = book(limit=4), NOW
    for what, who, later in history:
        now += later
        match what:
            case "seen":
                known.seen(other(who), (f"tcp://10.0.0.{who}:1",), now_ms=now)
            case "heard":
                known.heard(other(who), (HOME,), seq=later, now_ms=now)
            case "connected":
                known.connected(other(who), HOME, now_ms=now)
            case "forget":
                known.forget(other(who))
            case "dial":
                for dial in known.due(now):
                    known.dialled(dial, now_ms=now)
            case "network_changed":
                known.network_changed(now_ms=now)
            case _:
                getattr(known, what)(other(who), now_ms=now)
        assert len(known) <= 4
        for dial in known.due(now, room=2):
            peer = known.get(dial.node_id)
            assert peer
            assert not peer.connected
            assert dial.endpoints
