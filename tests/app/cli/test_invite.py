"""Whom an invitation names."""

from __future__ import annotations

import pytest

from opengateway.app.cli.invite import _entries
from opengateway.app.cli.session import WrongUsage
from opengateway.identity import Identity, base32

ME, RELAY, PEER = (Identity.generate().node_id for _ in range(3))
AT_HOME = [f"tcp://10.0.0.{number}:11436" for number in range(1, 5)]
PEERS = [{"id": base32(PEER), "state": "up", "dialled": True, "endpoint": "tcp://9.9.9.9:11436"}]


def status(*relays: str) -> dict[str, object]:
    return {"node_id": base32(ME), "wire": AT_HOME, "relays_at": list(relays)}


def test_a_node_that_is_reached_names_itself_and_two_peers() -> None:
    found = _entries(status(), [], PEERS)
    assert found == [*[(ME, where) for where in AT_HOME], (PEER, "tcp://9.9.9.9:11436")]


def test_a_home_that_nobody_reaches_names_its_relays_which_know_where_it_is() -> None:
    found = _entries(status(f"{base32(RELAY)}@tcp://8.8.4.4:1"), [], PEERS)
    assert found[2] == (RELAY, "tcp://8.8.4.4:1")
    assert [who for who, _ in found] == [ME, ME, RELAY, PEER]


def test_a_name_will_do_and_nonsense_is_told_so() -> None:
    assert _entries(status(), ["Home.Example.org:1"], [])[0] == (ME, "tcp://home.example.org:1")
    with pytest.raises(WrongUsage) as caught:
        _entries(status(), ["home.example.org"], [])
    assert "an address or a name" in caught.value.hint
