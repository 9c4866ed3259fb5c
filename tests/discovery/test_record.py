from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from opengateway.discovery import record as rules
from opengateway.discovery.record import (
    ModelOffer,
    NodeRecord,
    RecordRefused,
    open_record,
    sign_record,
)
from opengateway.identity import Identity, base32, network_id
from opengateway.wire import cbor
from opengateway.wire.envelope import HELLO, RECORD, sign_envelope

ANNA = Identity(bytes(range(32)))
BERT = Identity(bytes(32))
NET = network_id("test")
NOW = 1_750_000_000_000

OFFER = ModelOffer(
    name="llama3.2:3b",
    digest="sha256:" + "ab" * 32,
    parameters_m=3200,
    quantisation="Q4_K_M",
    context=8192,
    prompt_tps=900,
    generate_tps=41,
    price_prompt=1,
    price_completion=4,
    demo=False,
    abilities=("continue", "seed"),
)
PLAIN = NodeRecord(
    node_id=ANNA.node_id,
    name="Anna's machine",
    version="0.1.0",
    region="eu-central-1",
    country="DE",
    endpoints=("tcp://192.168.1.5:11436", "tcp://[2001:db8::5]:11436"),
    relays=(f"{base32(BERT.node_id)}@tcp://203.0.113.7:11436",),
    clusters=("eu-central-1.llama3.2:3b",),
    models=(OFFER,),
    slots=4,
    state="ready",
    seq=7,
    expires_ms=NOW + 3_600_000,
)


def refusal(data: bytes, *, now_ms: int = NOW, skew_ms: int = rules.SKEW_MS) -> str:
    with pytest.raises(RecordRefused) as caught:
        open_record(data, NET, now_ms=now_ms, skew_ms=skew_ms)
    return caught.value.reason


def signed_body(body: list[Any], *, recipient: bytes = b"") -> bytes:
    return sign_envelope(ANNA, NET, RECORD, body, t_ms=NOW, recipient=recipient)


def plain_body() -> list[Any]:
    return list(rules._body(PLAIN))


def test_a_record_comes_back_as_it_was_signed() -> None:
    assert open_record(sign_record(ANNA, NET, PLAIN, now_ms=NOW), NET, now_ms=NOW) == PLAIN


def test_fifty_models_fit_into_a_record() -> None:
    many = replace(
        PLAIN, models=tuple(replace(OFFER, name=f"some-model-{i}:3b", digest="") for i in range(50))
    )
    assert len(sign_record(ANNA, NET, many, now_ms=NOW)) <= rules.RECORD_LIMIT


def test_a_record_that_others_would_refuse_is_not_signed() -> None:
    for wrong, reason in (
        (replace(PLAIN, node_id=BERT.node_id), "wrong_sender"),
        (replace(PLAIN, state="excellent"), "malformed"),
        (replace(PLAIN, expires_ms=NOW), "expired"),
        (replace(PLAIN, expires_ms=NOW + rules.LIFE_LIMIT_MS + 1), "lives_too_long"),
        (replace(PLAIN, models=(replace(OFFER, name="m" * 128),) * 64), "too_large"),
    ):
        with pytest.raises(RecordRefused) as caught:
            sign_record(ANNA, NET, wrong, now_ms=NOW)
        assert caught.value.reason == reason


def test_an_expired_record_is_refused() -> None:
    data = sign_record(ANNA, NET, PLAIN, now_ms=NOW)
    assert refusal(data, now_ms=PLAIN.expires_ms + rules.SKEW_MS) == "expired"
    assert refusal(data, now_ms=PLAIN.expires_ms, skew_ms=0) == "expired"


def test_a_record_from_a_clock_far_ahead_is_refused_and_one_slightly_ahead_is_not() -> None:
    ahead = replace(PLAIN, expires_ms=NOW + rules.SKEW_MS + 600_000)
    data = sign_record(ANNA, NET, ahead, now_ms=NOW + rules.SKEW_MS)
    assert open_record(data, NET, now_ms=NOW) == ahead
    assert refusal(data, now_ms=NOW - 1) == "from_the_future"


def test_a_record_of_another_network_kind_or_signature_is_refused() -> None:
    body = plain_body()
    other = sign_envelope(ANNA, network_id("other"), RECORD, body, t_ms=NOW)
    assert refusal(other) == "wrong_network"
    assert refusal(sign_envelope(ANNA, NET, HELLO, body, t_ms=NOW)) == "unknown_kind"
    assert refusal(signed_body(body, recipient=BERT.node_id)) == "malformed"
    data = bytearray(signed_body(body))
    data[-1] ^= 1
    assert refusal(bytes(data)) == "bad_signature"


def test_an_oversized_record_is_refused_before_it_is_read() -> None:
    assert refusal(bytes(rules.RECORD_LIMIT + 1)) == "too_large"


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("name", "x" * 65),
        ("name", "red \x1b[31malert"),
        ("name", "right-to-left \u202e"),
        ("name", b"bytes"),
        ("country", "DEU"),
        ("endpoints", ["tcp://192.168.1.5:11436"] * 17),
        ("endpoints", ["tcp://example.org:80"]),
        ("endpoints", ["tcp://192.168.1.5:0"]),
        ("endpoints", ["tcp://192.168.1.5:65536"]),
        ("endpoints", ["tcp://192.168.1.5:011436"]),
        ("endpoints", ["tcp://192.168.1.005:11436"]),
        ("endpoints", ["tcp://0.0.0.0:11436"]),
        ("endpoints", ["tcp://224.0.0.251:11436"]),
        ("endpoints", ["tcp://[2001:DB8::5]:11436"]),
        ("endpoints", ["tcp://[192.168.1.5]:11436"]),
        ("endpoints", ["tcp://2001:db8::5:11436"]),
        ("endpoints", ["tcp://[fe80::1]:11436"]),
        ("endpoints", ["tcp://[fe80::1%eth0]:11436"]),
        ("endpoints", ["ipc:///etc/passwd"]),
        ("endpoints", "tcp://192.168.1.5:11436"),
        ("relays", ["tcp://203.0.113.7:11436"]),
        ("relays", ["aaaa@tcp://203.0.113.7:11436"]),
        ("clusters", ["c"] * 65),
        ("clusters", [""]),
        ("models", [[]]),
        ("models", [["m"] * 11]),
        ("slots", True),
        ("slots", 1 << 41),
        ("state", "dead"),
        ("state", ["ready"]),
        ("seq", "7"),
        ("expires_ms", 1 << 60),
    ],
)
def test_a_signed_record_with_an_impossible_field_is_refused(field: str, value: Any) -> None:
    body = plain_body()
    body[list(rules._RECORD).index(field)] = value
    assert refusal(signed_body(body)) == "malformed"


def test_a_record_with_a_field_too_many_or_too_few_is_refused() -> None:
    assert refusal(signed_body([*plain_body(), 1])) == "malformed"
    assert refusal(signed_body(plain_body()[:-1])) == "malformed"


names = st.text(st.characters(categories=("L", "N", "P", "S")), min_size=1, max_size=64)
counts = st.integers(0, (1 << 40) - 1)
offers = st.builds(
    ModelOffer,
    name=names,
    digest=st.sampled_from(["", "ab" * 32]),
    parameters_m=counts,
    quantisation=st.sampled_from(["", "F16", "Q4_K_M"]),
    context=counts,
    prompt_tps=counts,
    generate_tps=counts,
    price_prompt=counts,
    price_completion=counts,
    demo=st.booleans(),
    abilities=st.lists(st.sampled_from(["continue", "embed", "logprobs"]), max_size=3).map(tuple),
)
ports = st.integers(1, 65535)
addresses = (
    st.ip_addresses()
    .filter(lambda a: not (a.is_multicast or a.is_unspecified or a.is_link_local))
    .filter(lambda a: str(a) != "255.255.255.255")
)
endpoints = st.builds(
    lambda a, port: f"tcp://[{a}]:{port}" if a.version == 6 else f"tcp://{a}:{port}", addresses, ports
)
records = st.builds(
    NodeRecord,
    node_id=st.just(ANNA.node_id),
    name=names,
    version=st.just("1.2.3"),
    region=st.sampled_from(["", "us-east-1"]),
    country=st.sampled_from(["", "US"]),
    endpoints=st.lists(endpoints, max_size=4).map(tuple),
    relays=st.lists(endpoints.map(lambda e: f"{base32(BERT.node_id)}@{e}"), max_size=2).map(tuple),
    clusters=st.lists(names, max_size=3).map(tuple),
    models=st.lists(offers, max_size=4).map(tuple),
    slots=counts,
    state=st.sampled_from(rules.STATES),
    seq=st.integers(0, (1 << 53) - 1),
    expires_ms=st.integers(NOW + 1, NOW + rules.LIFE_LIMIT_MS),
)


@given(records)
@settings(deadline=None)
def test_every_record_that_can_be_signed_comes_back_the_same(record: NodeRecord) -> None:
    assert open_record(sign_record(ANNA, NET, record, now_ms=NOW), NET, now_ms=NOW) == record


@given(st.binary(max_size=400))
def test_arbitrary_bytes_are_refused_and_nothing_else_happens(data: bytes) -> None:
    refusal(data)


@given(st.data())
@settings(deadline=None)
def test_a_record_changed_anywhere_is_refused(data: st.DataObject) -> None:
    whole = sign_record(ANNA, NET, PLAIN, now_ms=NOW)
    place = data.draw(st.integers(0, len(whole) - 1))
    with_change = whole[:place] + bytes([whole[place] ^ data.draw(st.integers(1, 255))]) + whole[place + 1 :]
    refusal(with_change)
    refusal(whole[:place])


values = st.recursive(
    st.booleans() | st.integers(0, (1 << 64) - 1) | st.binary(max_size=40) | st.text(max_size=40),
    lambda inner: st.lists(inner, max_size=12),
    max_leaves=30,
)


@given(st.integers(0, 11), values)
@settings(deadline=None)
def test_a_signed_record_with_anything_in_a_field_opens_or_is_refused(place: int, value: Any) -> None:
    body = plain_body()
    body[place] = value
    try:
        data = signed_body(body)
    except UnicodeEncodeError:
        return
    try:
        found = open_record(data, NET, now_ms=NOW)
    except RecordRefused:
        return
    assert cbor.encode(rules._body(found)) == cbor.encode(body)
