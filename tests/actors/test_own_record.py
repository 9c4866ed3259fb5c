"""A node's word about itself when its clock is set."""

from __future__ import annotations

import pytest
from descriptors import none_left

from actors.own_record import LIFE_MS, REFRESH_MS, OwnRecord
from opengateway.discovery.record import CLOCK_ERROR_MS, RecordRefused, open_own_word
from opengateway.discovery.whereabouts import open_whereabouts
from opengateway.identity import Identity, network_id
from opengateway.regions import region

NET = network_id("test")
NOW = 1_780_000_000_000
HOUR_MS = 3_600_000


class Author:
    def __init__(self) -> None:
        self.clock = NOW
        self.own = OwnRecord(Identity.generate(), NET, "me", "1", region("eu-central-1"), lambda: self.clock)

    def read(self) -> None:
        """As a peer does that knows this clock. Raises `RecordRefused`."""
        me = self.own.identity.node_id
        open_own_word(me, self.own.signed, NET, now_ms=self.clock)
        open_whereabouts(self.own.whereabouts, NET, now_ms=self.clock, by=me, ahead_ms=0)


def test_a_record_is_renewed_in_time_and_not_before() -> None:
    author = Author()
    author.own.sign()
    author.clock += REFRESH_MS
    assert not author.own.stale()
    author.clock += 1
    assert author.own.stale()


def test_what_was_said_while_the_clock_was_ahead_is_said_anew_when_it_is_set_back() -> None:
    """Peers refuse a record from the future, and hang up: for an hour, before this was looked at."""
    author = Author()
    author.own.sign()
    first = author.own.record
    author.clock += HOUR_MS
    author.own.sign()
    author.clock -= HOUR_MS
    with pytest.raises(RecordRefused, match="from_the_future"):
        author.read()
    assert author.own.stale()
    author.own.sign()
    author.read()
    assert not author.own.stale()
    assert first is not None
    assert author.own.record is not None
    assert author.own.record.seq > first.seq + HOUR_MS, "no number is used twice"
    assert author.own.told is not None
    assert author.own.told.expires_ms <= author.clock + LIFE_MS


def test_a_clock_that_is_set_back_by_less_than_peers_forgive_is_no_reason_to_sign_anew() -> None:
    author = Author()
    author.own.sign()
    author.clock -= CLOCK_ERROR_MS // 2
    author.read()
    assert not author.own.stale()


def test_without_descriptors_the_addresses_are_those_that_were_known() -> None:
    """They are read twice a second; an error there took down the Registry, and five of them the node."""
    author = Author()
    author.own.port = 4001
    author.own.sign()
    known = author.own.endpoints()
    assert known
    with none_left():
        assert author.own.endpoints() == known
        author.own.sign()
    author.read()
    assert author.own.endpoints() == known
