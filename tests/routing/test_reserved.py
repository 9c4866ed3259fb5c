"""Slots held for peers: few, for a moment, and for nobody who wastes them."""

from __future__ import annotations

from opengateway.routing.reserved import HOLD_S, HOLDS, LAPSES, LAPSES_S, PER_PEER, Reserved
from opengateway.units import NodeId

A, B = NodeId(b"a" * 32), NodeId(b"b" * 32)


def hold(
    held: Reserved, peer: NodeId = A, number: int = 1, *, wanted: int = 1, free: int = 4, now: float = 0.0
) -> int:
    return held.hold(peer, number, "m", wanted=wanted, free=free, now=now)


def test_no_more_is_held_than_is_free_or_wanted_or_allowed() -> None:
    held = Reserved()
    assert hold(held, wanted=3, free=2) == 2
    assert hold(held, B, wanted=1, free=9) == 1
    assert hold(held, B, 2, wanted=64, free=99) == PER_PEER - 1
    assert hold(held, B, 3, wanted=1, free=99) == 0


def test_what_is_held_is_taken_by_the_one_it_is_for() -> None:
    held = Reserved()
    hold(held, wanted=2)
    assert held.held("M:latest", 0.1, but=B) == 2
    assert held.held("m", 0.1, but=A) == 0
    assert not held.take(B, "m", 0.1)
    assert not held.take(A, "other", 0.1)
    assert held.take(A, "m", 0.1)
    assert held.held("m", 0.1) == 1


def test_it_lapses_and_is_given_back() -> None:
    held = Reserved()
    hold(held)
    assert held.held("m", HOLD_S) == 0
    assert held.expire(HOLD_S)
    hold(held, number=2, now=3.0)
    assert held.release(A, 2)
    assert not held.release(A, 2)
    assert len(held) == 0


def test_whoever_lets_holds_lapse_gets_none_for_a_while() -> None:
    held, now = Reserved(), 0.0
    for number in range(LAPSES):
        assert hold(held, number=number, now=now) == 1
        now += HOLD_S
    assert hold(held, number=98, now=now) == 0
    assert hold(held, B, now=now) == 1
    assert hold(held, number=99, now=now + LAPSES_S) == 1


def test_what_is_given_back_or_used_is_no_lapse() -> None:
    held = Reserved()
    for number in range(20):
        assert hold(held, number=number, now=float(number)) == 1
        assert held.release(A, number) if number % 2 else held.take(A, "m", float(number))


def test_there_are_only_so_many_holds_and_a_lost_peer_has_none() -> None:
    held = Reserved()
    for number in range(HOLDS):
        peer = NodeId(number.to_bytes(32))
        assert hold(held, peer, number) == 1
    assert hold(held, B) == 0
    held.keep({B})
    assert len(held) == 0
    assert hold(held, B) == 1
