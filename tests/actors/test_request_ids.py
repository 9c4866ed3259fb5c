"""What a request is called: in the order of time, never twice, and read off its rid by who is asked."""

from __future__ import annotations

from actors import request_ids
from actors.request_ids import TICK_MS

NOW_MS = 1_795_000_000_000 // TICK_MS * TICK_MS


def test_ids_of_later_moments_come_later() -> None:
    ids = [request_ids.new(NOW_MS + tick * TICK_MS) for tick in range(100)]
    assert ids == sorted(ids)


def test_ids_of_one_moment_are_neighbours_and_all_different() -> None:
    ids = [request_ids.new(NOW_MS + TICK_MS - 1) for _ in range(1000)]
    before, after = request_ids.new(NOW_MS - 1), request_ids.new(NOW_MS + TICK_MS)
    assert before < min(ids)
    assert max(ids) < after
    assert len(set(ids)) == 1000


def test_an_id_has_sixteen_digits_at_any_time() -> None:
    for now_ms in (0, NOW_MS, 2**42):
        name = request_ids.new(now_ms)
        assert len(bytes.fromhex(name.removeprefix(request_ids.PREFIX))) == request_ids.BYTES


def test_who_is_asked_reads_the_id_off_the_rid() -> None:
    name = request_ids.new()
    first, second = request_ids.rid(name), request_ids.rid(name)
    assert request_ids.read(first) == request_ids.read(second) == name
    assert first != second
    assert len(first) == 16
