"""Endpoints that strangers named: every address gets its turn, however loud one of them is."""

from __future__ import annotations

import random

from opengateway.discovery.hints import ADDRESSES, PORTS, QUIET_LIMIT, QUIET_S, Hints

HONEST = {f"tcp://9.9.{n}.9:11436" for n in range(20)}


def hints() -> Hints:
    return Hints(chance=random.Random(7))


def test_ten_thousand_ports_of_one_address_do_not_keep_the_honest_waiting() -> None:
    table = hints()
    table.add([f"tcp://6.6.6.6:{port}" for port in range(1, 10_001)], now=0.0)
    table.add(HONEST, now=0.0)
    assert len(table) == PORTS + len(HONEST)
    first = table.take(len(HONEST) + 1, now=0.0)
    assert set(first) >= HONEST
    assert table.refused == 10_000 - PORTS


def test_more_addresses_than_there_is_room_for_are_refused_and_counted() -> None:
    table = hints()
    table.add([f"tcp://9.{n // 250}.{n % 250}.9:1" for n in range(ADDRESSES + 50)], now=0.0)
    assert len(table) == ADDRESSES
    assert table.refused == 50


def test_an_endpoint_is_not_dialled_again_on_a_strangers_word_for_a_while() -> None:
    table = hints()
    table.add(["tcp://9.9.9.9:1"], now=0.0)
    assert table.take(5, now=0.0) == ["tcp://9.9.9.9:1"]
    table.add(["tcp://9.9.9.9:1"], now=QUIET_S - 1)
    assert table.take(5, now=QUIET_S - 1) == []
    table.add(["tcp://9.9.9.9:1"], now=QUIET_S + 1)
    assert table.take(5, now=QUIET_S + 1) == ["tcp://9.9.9.9:1"]


def test_whoever_is_connected_is_not_dialled() -> None:
    table = hints()
    table.add(HONEST, now=0.0)
    known = sorted(HONEST)[:19]
    assert set(table.take(20, now=0.0, known=known)) == HONEST - set(known)
    assert len(table) == 0


def test_what_is_no_endpoint_is_refused() -> None:
    table = hints()
    table.add(["tcp://example.com:1", "udp://9.9.9.9:1", "tcp://9.9.9.9:0", "", "tcp://0.0.0.0:1"], now=0.0)
    assert len(table) == 0
    assert table.refused == 5


def test_the_memory_of_what_was_dialled_is_bounded() -> None:
    table = hints()
    for n in range(QUIET_LIMIT + 500):
        table.add([f"tcp://9.{n // 62500}.{n // 250 % 250}.{n % 250}:1"], now=float(n))
        table.take(1, now=float(n))
    assert len(table._quiet) == QUIET_LIMIT
