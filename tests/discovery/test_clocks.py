from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from opengateway.discovery.clocks import NOTABLE_MS, compared, own_error_ms

HOUR = 3_600_000


def test_one_peer_that_disagrees_leaves_open_whose_clock_is_wrong() -> None:
    assert own_error_ms([HOUR]) is None
    assert compared([HOUR])["text"] == "it differs from that of 1 of 1 peer: one of the two is wrong"
    assert not compared([HOUR])["ok"]


def test_most_peers_are_right() -> None:
    assert own_error_ms([HOUR, HOUR + 40]) == -HOUR
    assert own_error_ms([-HOUR, -HOUR + 40]) == HOUR - 40
    assert own_error_ms([0, HOUR]) == 0
    assert compared([HOUR] * 3)["text"].startswith("it is 3600 s behind those of most peers")
    assert compared([20, -30, HOUR])["text"] == "it agrees with 2 of 3 peers"


def test_nobody_to_compare_with_is_no_fault() -> None:
    assert compared([])["ok"]


@given(st.lists(st.integers(-NOTABLE_MS // 2, NOTABLE_MS // 2)), st.integers(-24 * HOUR, 24 * HOUR))
def test_honest_peers_are_believed_whatever_fewer_others_say(honest: list[int], lie: int) -> None:
    assert compared(honest)["ok"]
    found = own_error_ms(honest + [lie] * len(honest))  # with our own vote the honest are one more
    assert found is not None and abs(found) <= NOTABLE_MS // 2
