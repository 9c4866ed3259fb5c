from __future__ import annotations

import dataclasses
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from opengateway.wire import cbor, codec
from opengateway.wire.codec import (
    KINDS,
    MessageRefused,
    decode_message,
    decode_messages,
    encode_message,
)
from opengateway.wire.fields import FIELDS, Field
from opengateway.wire.limits import MESSAGES_PER_FRAME
from opengateway.wire.link_messages import Ping
from opengateway.wire.messages import Cancel, Chunks, Failed, Grant, Message


def text(limit: int) -> st.SearchStrategy[str]:
    return st.text(st.characters(exclude_categories=["Cs"]), max_size=min(limit, 50))


def values(field: Field) -> st.SearchStrategy[Any]:
    match field.kind:
        case "int":
            return st.integers(0, field.limit)
        case "int-or-never":
            return st.integers(-1, field.limit)
        case "text":
            return text(field.limit)
        case "bytes":
            return st.binary(max_size=min(field.limit, 50))
        case "bool":
            return st.booleans()
    return st.lists(st.one_of(text(50), st.binary(max_size=50)), min_size=1, max_size=field.limit)


def build(kind: Any) -> st.SearchStrategy[Message]:
    return st.builds(kind, **{name: values(field) for name, field in FIELDS[kind.__name__].items()})


def any_message() -> st.SearchStrategy[Message]:
    return st.one_of(*map(build, KINDS.values()))


def any_value() -> st.SearchStrategy[Any]:
    leaves = st.integers(0, 2**64 - 1) | st.binary() | text(50) | st.booleans()
    return st.recursive(leaves, lambda inner: st.lists(inner, max_size=5), max_leaves=20)


@given(any_message())
def test_every_message_comes_back_as_it_was(message: Message) -> None:
    assert decode_message(encode_message(message)) == message


@given(st.binary(max_size=300))
def test_arbitrary_bytes_are_a_message_or_refused_and_never_anything_else(data: bytes) -> None:
    try:
        message = decode_message(data)
    except MessageRefused:
        return
    assert encode_message(message) == data


@given(any_message(), st.data())
def test_a_damaged_message_is_refused_or_is_the_one_encoding_of_another(
    message: Message, draw: st.DataObject
) -> None:
    data = bytearray(encode_message(message))
    at = draw.draw(st.integers(0, len(data) - 1))
    data[at] ^= draw.draw(st.integers(1, 255))
    try:
        other = decode_message(bytes(data))
    except MessageRefused:
        return
    assert encode_message(other) == bytes(data)


@given(any_value())
def test_what_cbor_encodes_it_decodes(value: Any) -> None:
    try:
        assert cbor.decode(cbor.encode(value)) == value
    except cbor.NotCanonical as refused:
        assert "nested" in str(refused)


def test_the_table_of_fields_and_the_messages_agree() -> None:
    assert [kind.__name__ for kind in get_args(Message)] == list(FIELDS)
    for kind in get_args(Message):
        assert [field.name for field in dataclasses.fields(kind)] == list(FIELDS[kind.__name__])
    assert len(KINDS) == len(FIELDS), "two messages share a number"


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ([], "malformed"),
        (7, "malformed"),
        (["1", 2], "malformed"),
        ([True, 2], "malformed"),
        ([77], "unknown_message"),
        ([1], "malformed"),
        ([1, 2, 3], "malformed"),
        ([1, "2"], "malformed"),
        ([1, True], "malformed"),
        ([1, 1 << 63], "malformed"),
        ([4, "x" * 513], "malformed"),
        ([13, 1, 0, []], "malformed"),
        ([13, 1, 0, ["x"] * 257], "malformed"),
        ([13, 1, 0, [1]], "malformed"),
        ([13, 1, 0, "x"], "malformed"),
        ([13, 1 << 63, 0, ["x"]], "malformed"),
        ([15, 1, "code", "words", "", 604_800_002], "malformed"),
    ],
)
def test_what_does_not_fit_the_table_is_refused_by_name(row: Any, reason: str) -> None:
    with pytest.raises(MessageRefused) as caught:
        decode_message(cbor.encode(row))
    assert caught.value.reason == reason


@pytest.mark.parametrize(
    ("data", "why"),
    [
        ("", "nothing"),
        ("820118", "truncated"),
        ("8201", "an item is missing"),
        ("82011805", "5 in two bytes"),
        ("9f0105ff", "indefinite length"),
        ("820105ff", "bytes after the end"),
        ("a10105", "a map"),
        ("8201f6", "null"),
        ("8201f90000", "a float"),
        ("820120", "a negative number"),
        ("8201c105", "a tag"),
        ("8204 61ff", "not UTF-8"),
        ("8204 63eda080", "a surrogate"),
        ("9a7fffffff", "an array of two thousand million"),
        ("82045b7fffffffffffffff", "text of 2^63 bytes"),
        ("81" * 9 + "01", "nested too deeply"),
        ("d81c80", "a shared value"),
        ("d90100 81 d81900", "string references"),
    ],
)
def test_every_other_encoding_is_refused(data: str, why: str) -> None:
    with pytest.raises(MessageRefused) as caught:
        decode_message(bytes.fromhex(data))
    assert caught.value.reason == "not_canonical", why


def test_never_is_zero_on_the_wire() -> None:
    never = Failed(1, "all_busy", "Everyone is busy.", "", -1)
    assert cbor.decode(encode_message(never))[-1] == 0
    assert decode_message(encode_message(never)) == never


def test_a_text_that_has_no_utf8_cannot_be_sent() -> None:
    with pytest.raises(MessageRefused):
        encode_message(Chunks(1, 0, ["\ud800"]))


def test_decoding_keeps_types_apart() -> None:
    assert decode_message(encode_message(Chunks(1, 2, ["text", b"{}"]))) == Chunks(1, 2, ["text", b"{}"])
    assert type(decode_message(encode_message(Ping(3)))) is Ping
    assert type(decode_message(encode_message(Grant(3, 4)))) is Grant


@given(
    st.builds(
        Chunks,
        st.integers(0, 300) | st.integers(65_000, 66_000),
        st.integers(0, 300) | st.integers(65_000, 66_000),
        st.lists(text(300) | st.text("xyz", min_size=20, max_size=300), min_size=1, max_size=30),
    ),
    st.data(),
)
def test_the_short_way_through_decoding_takes_nothing_that_the_long_way_refuses(
    chunks: Chunks, draw: st.DataObject
) -> None:
    data = bytearray(encode_message(chunks))
    assert decode_message(bytes(data)) == chunks
    data[draw.draw(st.integers(2, min(len(data) - 1, 12)))] = draw.draw(st.integers(0, 255))
    for given_bytes in (bytes(data), bytes(data[: draw.draw(st.integers(2, len(data)))])):
        short = codec._usual_chunks(given_bytes, 2)
        assert short is None or encode_message(short[0]) == given_bytes[: short[1]]


@given(st.lists(any_message(), min_size=1, max_size=MESSAGES_PER_FRAME))
def test_a_frame_of_messages_reads_back_as_they_were(messages: list[Message]) -> None:
    assert decode_messages(b"".join(map(encode_message, messages))) == (messages, 0)


def test_a_message_of_a_kind_that_we_do_not_know_leaves_the_others_in_its_frame() -> None:
    data = encode_message(Grant(1, 2)) + cbor.encode([255, "new"]) + encode_message(Cancel(3))
    assert decode_messages(data) == ([Grant(1, 2), Cancel(3)], 1)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        encode_message(Cancel(1)) + b"\x82",
        encode_message(Cancel(1)) + encode_message(Chunks(1, 0, ["x"]))[:-1],
        encode_message(Cancel(1)) + b"\x82\x10\xff",
        encode_message(Cancel(1)) * (MESSAGES_PER_FRAME + 1),
    ],
    ids=["nothing", "a cut one", "cut chunks", "a malformed one", "too many"],
)
def test_a_frame_with_one_bad_message_is_refused_as_a_whole(data: bytes) -> None:
    with pytest.raises(MessageRefused):
        decode_messages(data)
