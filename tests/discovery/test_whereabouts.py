"""Whereabouts: what a node lays into the DHT, and what is refused of what others laid there."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import cbor2
import pytest
from hypothesis import given
from hypothesis import strategies as st
from nacl.signing import VerifyKey

from opengateway.discovery.record import CLOCK_ERROR_MS, SKEW_MS, NodeRecord, RecordRefused
from opengateway.discovery.topics import topic
from opengateway.discovery.whereabouts import (
    LIFE_MS,
    WHEREABOUTS_LIMIT,
    Whereabouts,
    open_whereabouts,
    sign_whereabouts,
    whereabouts_of,
)
from opengateway.identity import Identity, base32, network_id
from opengateway.units import NetworkId, NodeId
from opengateway.wire.envelope import RECORD, WHEREABOUTS, sign_envelope

NET = network_id("test")
NOW = 1_780_000_000_000
SELF = Identity(bytes(range(32)))
RELAY = Identity(bytes(range(32, 64))).node_id
HERE = Whereabouts(
    SELF.node_id,
    seq=7,
    expires_ms=NOW + 60_000,
    region="eu-central-1",
    dht_port=11437,
    endpoints=("tcp://8.8.4.4:11436", "tcp://[2606:4700::1]:11436"),
    relays=(f"{base32(RELAY)}@tcp://9.9.9.9:11436",),
)
VECTORS = Path(__file__).parents[1] / "vectors"


def record(*endpoints: str) -> NodeRecord:
    return NodeRecord(
        SELF.node_id, "me", "1", "eu-central-1", "DE", endpoints, (), (), (), 0, "client", 7, NOW + 60_000
    )


def body(**changes: Any) -> list[Any]:
    fields = {
        "seq": 7,
        "expires_ms": NOW + 60_000,
        "region": "eu-central-1",
        "dht_port": 11437,
        "endpoints": ["tcp://8.8.4.4:11436"],
        "relays": [],
    }
    return list((fields | changes).values())


def signed(fields: list[Any], *, kind: int = WHEREABOUTS, t_ms: int = NOW, net: bytes = NET) -> bytes:
    return sign_envelope(SELF, net, kind, fields, t_ms=t_ms)  # type: ignore[arg-type]


def refused(data: bytes, **more: Any) -> str:
    with pytest.raises(RecordRefused) as caught:
        open_whereabouts(data, NET, **({"now_ms": NOW} | more))
    return caught.value.reason


def test_what_was_signed_is_read() -> None:
    assert open_whereabouts(sign_whereabouts(SELF, NET, HERE, now_ms=NOW), NET, now_ms=NOW) == HERE


ADDRESSES = st.one_of(
    st.ip_addresses(v=4, network="8.0.0.0/6").map(str),
    st.ip_addresses(v=6, network="2000::/3").map(lambda address: f"[{address}]"),
)
ENDPOINTS = st.builds(lambda host, port: f"tcp://{host}:{port}", ADDRESSES, st.integers(1, 65535))


@given(
    st.lists(ENDPOINTS, max_size=8),
    st.lists(ENDPOINTS.map(lambda where: f"{base32(RELAY)}@{where}"), max_size=2),
    st.text(st.characters(codec="ascii", categories=["L", "N"]), max_size=32),
    st.integers(0, (1 << 53) - 1),
    st.integers(0, 65535),
)
def test_any_whereabouts_fit_and_come_back_as_they_were(
    endpoints: list[str], relays: list[str], region: str, seq: int, port: int
) -> None:
    here = Whereabouts(SELF.node_id, seq, NOW + 1, region, port, tuple(endpoints), tuple(relays))
    data = sign_whereabouts(SELF, NET, here, now_ms=NOW)
    assert len(data) <= WHEREABOUTS_LIMIT
    found = open_whereabouts(data, NET, now_ms=NOW)
    # Eight of the longest IPv6 endpoints and two relays do not fit: the last endpoints are left out.
    assert found == replace(here, endpoints=here.endpoints[: len(found.endpoints)])
    assert len(found.endpoints) == len(endpoints) or len(endpoints) > 5


@given(st.binary(max_size=400))
def test_arbitrary_bytes_are_refused_and_never_anything_else(data: bytes) -> None:
    with pytest.raises(RecordRefused):
        open_whereabouts(data, NET, now_ms=NOW)


@given(st.data())
def test_no_bit_of_it_can_be_changed(draw: st.DataObject) -> None:
    data = bytearray(sign_whereabouts(SELF, NET, HERE, now_ms=NOW))
    data[draw.draw(st.integers(0, len(data) - 1))] ^= 1 << draw.draw(st.integers(0, 7))
    with pytest.raises(RecordRefused):
        open_whereabouts(bytes(data), NET, now_ms=NOW)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"seq": 1 << 53}, "malformed"),
        ({"seq": True}, "malformed"),
        ({"expires_ms": NOW - SKEW_MS}, "expired"),
        ({"expires_ms": NOW + LIFE_MS + 1}, "lives_too_long"),
        ({"region": "x" * 33}, "malformed"),
        ({"region": "line\nbreak"}, "malformed"),
        ({"dht_port": 65536}, "malformed"),
        ({"dht_port": "1"}, "malformed"),
        ({"endpoints": ["tcp://8.8.4.4:11436"] * 9}, "malformed"),
        ({"endpoints": ["tcp://example.com:1"]}, "malformed"),
        ({"endpoints": ["tcp://008.8.4.4:1"]}, "malformed"),
        ({"endpoints": [b"tcp://8.8.4.4:1"]}, "malformed"),
        ({"endpoints": "tcp://8.8.4.4:1"}, "malformed"),
        ({"relays": ["tcp://8.8.4.4:1"]}, "malformed"),
        ({"relays": ["x" * 200]}, "malformed"),
        ({"more": 1}, "malformed"),
    ],
)
def test_a_field_that_is_not_what_it_should_be_is_refused(change: dict[str, Any], reason: str) -> None:
    assert refused(signed(body(**change))) == reason


def test_whose_word_it_is_matters() -> None:
    assert refused(signed(body()), by=NodeId(RELAY)) == "wrong_sender"
    assert refused(signed(body(), kind=RECORD)) == "unknown_kind"
    assert refused(signed(body(), net=network_id("other"))) == "wrong_network"
    assert refused(b"x" * 997) == "too_large"
    addressed = sign_envelope(SELF, NET, WHEREABOUTS, body(), t_ms=NOW, recipient=RELAY)
    assert refused(addressed) == "malformed"


HOUR_MS = 3600 * 1000


@pytest.mark.parametrize("ahead_ms", [-HOUR_MS, 0, HOUR_MS])
def test_a_signer_whose_clock_is_an_hour_off_is_believed(ahead_ms: int) -> None:
    there = NOW + ahead_ms
    data = signed(body(expires_ms=there + 60_000), t_ms=there)
    for known in (None, ahead_ms):
        assert open_whereabouts(data, NET, now_ms=NOW, ahead_ms=known).node_id == SELF.node_id


def test_beyond_that_only_one_whose_clock_is_known() -> None:
    day = 20 * HOUR_MS
    data = signed(body(expires_ms=NOW + day + 60_000), t_ms=NOW + day)
    assert refused(data) == "from_the_future"
    assert refused(data, ahead_ms=HOUR_MS) == "from_the_future"
    assert open_whereabouts(data, NET, now_ms=NOW, ahead_ms=day)


def test_by_a_clock_that_is_known_the_times_are_judged_exactly() -> None:
    data = signed(body(expires_ms=NOW + HOUR_MS), t_ms=NOW + HOUR_MS - 1)
    late = NOW + HOUR_MS + CLOCK_ERROR_MS
    assert open_whereabouts(data, NET, now_ms=late - 1, ahead_ms=0)
    assert refused(data, now_ms=late, ahead_ms=0) == "expired"


def test_the_world_is_told_public_addresses_only() -> None:
    mixed = record("tcp://192.168.1.5:1", "tcp://8.8.4.4:1", "tcp://[fd00::1]:1", "tcp://127.0.0.1:1")
    for private in (False, True):
        here = whereabouts_of(mixed, dht_port=0, private=private)
        assert here.endpoints == ("tcp://8.8.4.4:1",)
        assert here.public


def test_private_addresses_are_told_in_a_private_network_only() -> None:
    inside = record("tcp://192.168.1.5:1", "tcp://127.0.0.1:1")
    assert whereabouts_of(inside, dht_port=0, private=False).endpoints == ()
    here = whereabouts_of(inside, dht_port=0, private=True)
    assert here.endpoints == ("tcp://192.168.1.5:1",)
    assert not here.public


def test_loopback_is_told_only_by_who_is_bound_to_it() -> None:
    local = record("tcp://127.0.0.1:1")
    assert whereabouts_of(local, dht_port=0, private=True).endpoints == ()
    assert whereabouts_of(local, dht_port=0, private=True, host_is_local=True).endpoints == local.endpoints


def test_another_implementation_agrees_on_whereabouts_and_topics() -> None:
    for vector in json.loads((VECTORS / "whereabouts.json").read_text()):
        statement, signature = cbor2.loads(bytes.fromhex(vector["signed"]))
        hashed = hashlib.sha256(statement).digest()
        VerifyKey(bytes.fromhex(vector["node"])).verify(b"OGW1 envelope\n" + hashed, signature)
        body = cbor2.loads(bytes.fromhex(vector["body"]))
        assert cbor2.loads(statement)[7] == body
        here = open_whereabouts(
            bytes.fromhex(vector["signed"]), NetworkId(bytes.fromhex(vector["net"])), now_ms=vector["t_ms"]
        )
        assert [list(here.endpoints), list(here.relays)] == body[4:]
    for vector in json.loads((VECTORS / "topics.json").read_text()):
        text = f"opengateway/1/{vector['net']}/{vector['ring']}/{vector['place']}/{vector['model']}"
        assert hashlib.sha1(text.encode()).hexdigest() == vector["topic"]
        found = topic(
            NetworkId(bytes.fromhex(vector["net"])), vector["ring"], vector["place"], vector["model"]
        )
        assert found.hex() == vector["topic"]
