"""What the ledger takes for the time when the clock jumps."""

from __future__ import annotations

from opengateway.ledger.steady_clock import DOUBT_S, SteadyClock

NOW = 1_780_000_000_000
HOUR_MS = 3_600_000


class Machine:
    def __init__(self) -> None:
        self.off_ms = 0
        self.up_s = 5_000.0
        self.clock = SteadyClock(lambda: NOW + self.off_ms + int(self.up_s * 1000), lambda: self.up_s)

    def error_ms(self, *, after_s: float = 0.0) -> int:
        """How far the ledger's time is ahead of the true one."""
        self.up_s += after_s
        return self.clock.now_ms() - NOW - int(self.up_s * 1000)


def test_a_clock_that_runs_is_followed_also_where_it_is_slowly_adjusted() -> None:
    machine = Machine()
    for _ in range(100):
        machine.off_ms += 4_000
        assert machine.error_ms(after_s=3_600) == machine.off_ms


def test_a_jump_ahead_that_is_taken_back_leaves_nothing_behind() -> None:
    machine = Machine()
    machine.off_ms = HOUR_MS
    assert machine.error_ms(after_s=1) == 0
    assert machine.error_ms(after_s=DOUBT_S - 2) == 0
    machine.off_ms = 0
    assert machine.error_ms(after_s=1) == 0
    machine.off_ms = HOUR_MS
    assert machine.error_ms(after_s=10) == 0, "what was doubted before is doubted anew"
    assert machine.error_ms(after_s=DOUBT_S - 1) == 0


def test_a_jump_ahead_that_stands_is_believed() -> None:
    machine = Machine()
    machine.off_ms = HOUR_MS
    assert machine.error_ms() == 0
    assert machine.error_ms(after_s=DOUBT_S) == HOUR_MS


def test_a_clock_that_jumps_again_and_again_is_not_believed_by_having_jumped_long_ago() -> None:
    machine = Machine()
    for hours in range(1, 20):
        machine.off_ms = hours * HOUR_MS
        assert machine.error_ms(after_s=DOUBT_S / 2) == 0


def test_a_clock_that_is_set_back_is_believed_at_once_and_so_is_its_return() -> None:
    machine = Machine()
    machine.off_ms = -HOUR_MS
    assert machine.error_ms(after_s=1) == -HOUR_MS
    machine.off_ms = 0
    assert machine.error_ms(after_s=1) == 0


def test_a_sleep_is_no_jump() -> None:
    machine = Machine()
    assert machine.error_ms(after_s=8 * 3_600) == 0


def test_the_real_clock_is_that_of_this_machine() -> None:
    import time

    assert abs(SteadyClock().now_ms() - time.time() * 1000) < 2_000
