from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from opengateway.wire import session as module
from opengateway.wire.limits import REKEY_AFTER_S
from opengateway.wire.session import FrameRefused, Opener, Sealer

KEY = bytes(range(32))


def refused(opener: Opener, frame: bytes) -> str:
    with pytest.raises(FrameRefused) as caught:
        opener.open(frame)
    return caught.value.reason


@given(st.lists(st.binary(max_size=200), max_size=20))
def test_what_is_sealed_opens_in_order(messages: list[bytes]) -> None:
    sealer, opener = Sealer(KEY), Opener(KEY)
    assert [opener.open(sealer.seal(message, 0)) for message in messages] == messages


@given(st.binary(max_size=200))
def test_arbitrary_bytes_never_open_and_change_nothing(data: bytes) -> None:
    opener = Opener(KEY)
    with pytest.raises(FrameRefused):
        opener.open(data)
    assert opener.open(Sealer(KEY).seal(b"still", 0)) == b"still"


@given(st.integers(0, 8 * 40 - 1))
def test_no_bit_of_a_frame_can_be_changed(bit: int) -> None:
    frame = bytearray(Sealer(KEY).seal(b"eleven byte", 0))
    frame[bit // 8 % len(frame)] ^= 1 << bit % 8
    with pytest.raises(FrameRefused):
        Opener(KEY).open(bytes(frame))


def test_a_frame_opens_once() -> None:
    opener = Opener(KEY)
    frame = Sealer(KEY).seal(b"once", 0)
    opener.open(frame)
    assert refused(opener, frame) == "replayed_frame"


def test_a_gap_is_allowed_and_what_was_in_it_comes_too_late() -> None:
    sealer, opener = Sealer(KEY), Opener(KEY)
    first, second = sealer.seal(b"1", 0), sealer.seal(b"2", 0)
    assert opener.open(second) == b"2"
    assert refused(opener, first) == "replayed_frame"


def test_after_an_hour_the_key_is_another_and_the_old_one_opens_nothing() -> None:
    sealer, opener = Sealer(KEY), Opener(KEY)
    opener.open(sealer.seal(b"early", 0))
    late = sealer.seal(b"late", REKEY_AFTER_S)
    assert sealer.epoch == 1
    assert opener.open(late) == b"late"
    stale = Sealer(KEY)
    stale.counter = 100
    assert refused(opener, stale.seal(b"stale", 0)) == "wrong_epoch"


def test_after_so_many_frames_the_key_is_another(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "REKEY_AFTER_FRAMES", 10)
    sealer, opener = Sealer(KEY), Opener(KEY)
    for n in range(35):
        assert opener.open(sealer.seal(b"%d" % n, 0)) == b"%d" % n
    assert (sealer.epoch, opener.epoch) == (3, 3)


def test_a_forged_frame_of_the_next_epoch_does_not_change_the_key() -> None:
    sealer, opener = Sealer(KEY), Opener(KEY)
    frame = sealer.seal(b"x", 0)
    assert refused(opener, b"\x10\0\0\0\1" + frame[5:]) == "forged_frame"
    assert opener.open(frame) == b"x"


def test_an_epoch_may_not_be_skipped() -> None:
    assert refused(Opener(KEY), b"\x10\0\0\0\2" + bytes(50)) == "wrong_epoch"


def test_a_short_and_a_long_frame_are_refused_by_name() -> None:
    assert refused(Opener(KEY), b"\x10" + bytes(27)) == "truncated_frame"
    assert refused(Opener(KEY, 100), b"\x10" + bytes(100)) == "oversized"
    assert refused(Opener(KEY), b"\x11" + bytes(40)) == "not_sealed"
