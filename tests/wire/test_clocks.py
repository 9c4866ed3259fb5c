"""Clocks that disagree: who may be a member, and what is known of whom."""

from __future__ import annotations

import pytest
from wire_lab import Host, joined

from opengateway.identity import Identity
from opengateway.transport.memory import Internet
from opengateway.wire.gate import Gate
from opengateway.wire.handshake import HandshakeRefused, Initiator, Us
from opengateway.wire.limits import CLOCK_WINDOW_MS, SKEW_LIMIT_MS, Limits
from opengateway.wire.refusals import sign_refusal

HOUR_MS = 3_600_000


@pytest.mark.parametrize("off_ms", [HOUR_MS, -HOUR_MS, 14 * HOUR_MS, -23 * HOUR_MS, 119_000])
@pytest.mark.parametrize("wrong", ["who dials", "who is dialled"])
def test_a_clock_hours_off_is_no_obstacle_and_both_know_by_how_much(off_ms: int, wrong: str) -> None:
    internet = Internet()
    sound, off = Host(internet, "10.0.0.1"), Host(internet, "10.0.0.2", clock_off_by_ms=off_ms)
    dialler, dialled = (off, sound) if wrong == "who dials" else (sound, off)
    dialler.wire.dial(dialled.endpoint, dialled.id)
    internet.run(0.1)
    assert sound.heard.kinds == off.heard.kinds == ["up"]
    assert sound.wire.ahead_ms(off.id) == pytest.approx(off_ms, abs=100)
    assert off.wire.ahead_ms(sound.id) == pytest.approx(-off_ms, abs=100)
    more = int(abs(off_ms) > CLOCK_WINDOW_MS)
    assert dialler.wire.counters["dials_by_their_clock"] == more
    assert dialled.wire.counters["hellos"] == 1 + more


def test_more_than_a_day_is_refused_by_both_sides_with_words() -> None:
    internet = Internet()
    a = Host(internet, "10.0.0.1")
    b = Host(internet, "10.0.0.2", clock_off_by_ms=SKEW_LIMIT_MS + HOUR_MS)
    a.wire.dial(b.endpoint)
    b.wire.dial(a.endpoint)
    internet.run(1)
    for host in (a, b):
        assert host.heard.kinds == ["failed"]
        assert "set the time on both" in host.heard.last_words
        assert host.wire.counters["dials_by_their_clock"] == 0


def test_a_clock_that_is_set_during_a_session_is_told_and_the_session_stays() -> None:
    internet, a, b = joined()
    assert abs(a.wire.ahead_ms(b.id)) < 100
    b.wire._clock.wall_offset_ms = HOUR_MS  # type: ignore[attr-defined]
    internet.run(1)
    assert a.wire.ahead_ms(b.id) == pytest.approx(HOUR_MS, abs=1000)
    assert b.wire.ahead_ms(a.id) == pytest.approx(-HOUR_MS, abs=1000)
    b.wire._clock.wall_offset_ms = 0  # type: ignore[attr-defined]
    internet.run(1)
    assert abs(a.wire.ahead_ms(b.id)) < 1000 and abs(b.wire.ahead_ms(a.id)) < 1000
    assert a.heard.kinds == b.heard.kinds == ["up"]
    assert a.heard.messages == b.heard.messages == []  # nothing that a handler should see


class _Liar(Host):
    """Refuses every HELLO for its clock, and says that it is another time at each."""

    def hello(self, link: object, frame: bytes, address: str) -> None:
        lie_ms = self.internet.clock.wall_ms() + HOUR_MS * (1 + self.wire.counters["hellos"])
        self.wire._count["hellos"] += 1
        self.carrier.send(link, sign_refusal(self.wire._us, frame, "clock_skew", "", now_ms=lie_ms))


def test_who_lies_about_the_time_gets_one_more_hello_and_no_session() -> None:
    internet = Internet()
    a, liar = Host(internet, "10.0.0.1"), _Liar(internet, "10.0.0.2")
    liar.wire._hello = liar.hello  # type: ignore[method-assign]
    a.wire.dial(liar.endpoint)
    internet.run(1)
    assert a.heard.kinds == ["failed"]
    assert liar.wire.counters["hellos"] == 2


def test_a_hello_dated_by_the_other_clock_is_no_older_than_its_window() -> None:
    now_ms = 1_750_000_000_000
    a, b = (Us(Identity.generate(), b"net.....", "", bytes(16)) for _ in range(2))
    door = Gate(b, Limits(), 0.0)

    def knock(*, own_ms: int, there_ms: int, at_ms: int) -> None:
        frame = Initiator(a, b"", now_ms=own_ms, there_ms=there_ms).hello
        door.admit(frame, "10.0.0.1", now=0.0, now_ms=at_ms)

    knock(own_ms=now_ms + HOUR_MS, there_ms=now_ms, at_ms=now_ms + CLOCK_WINDOW_MS)
    for late_ms in (CLOCK_WINDOW_MS + 1, HOUR_MS):  # an hour later its sender's own stamp would look right
        with pytest.raises(HandshakeRefused, match="clock_skew"):
            knock(own_ms=now_ms + HOUR_MS, there_ms=now_ms, at_ms=now_ms + late_ms)
    with pytest.raises(HandshakeRefused, match="clock_skew"):
        knock(own_ms=now_ms + SKEW_LIMIT_MS + 1, there_ms=now_ms, at_ms=now_ms)
