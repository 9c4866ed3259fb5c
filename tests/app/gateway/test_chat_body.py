"""What the OpenAI routes take, and how each mistake is named."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from opengateway.app.gateway.chat_body import read_body, read_scope
from opengateway.app.gateway.fields import NAME_LIMIT
from opengateway.engines.protocol import Kind
from opengateway.errors import BadRequest

MESSAGES = [{"role": "user", "content": "hello"}]
GOOD: dict[str, dict[str, Any]] = {
    "chat": {"messages": MESSAGES},
    "completion": {"prompt": "hello"},
    "embedding": {"input": "hello"},
}


def refused(body: Any, kind: Kind = "chat") -> BadRequest:
    with pytest.raises(BadRequest) as caught:
        read_body(orjson.dumps(body), kind)
    return caught.value


SAMPLING: list[tuple[str, Any]] = [
    ("n", 0),
    ("n", 129),
    ("n", "one"),
    ("max_tokens", 0),
    ("max_tokens", -1),
    ("max_tokens", 1.5),
    ("max_tokens", "10"),
    ("max_tokens", True),
    ("max_completion_tokens", 0),
    ("temperature", -0.1),
    ("temperature", 2.1),
    ("temperature", "hot"),
    ("temperature", True),
    ("top_p", 1.1),
    ("presence_penalty", -3),
    ("frequency_penalty", 3),
    ("stop", 7),
    ("stop", ["a", 1]),
    ("stop", ["a"] * 5),
    ("seed", "x"),
    ("seed", 1.5),
    ("seed", True),
]
COMMON: list[tuple[str, Any]] = [
    ("model", 7),
    ("model", 0),
    ("model", []),
    ("model", {}),
    ("model", False),
    ("model", "x" * (NAME_LIMIT + 1)),
    ("stream", "yes"),
    ("stream", 1),
    ("stream", 0),
    ("stream", []),
    ("stream_options", "usage"),
    ("stream_options", []),
    ("stream_options", False),
]


@pytest.mark.parametrize(
    ("kind", "field", "value"),
    [
        *((kind, *case) for kind in GOOD for case in COMMON),
        *((kind, *case) for kind in ("chat", "completion") for case in SAMPLING),
        *(("chat", "messages", value) for value in (None, [], "hello", {}, 7)),
        *(("completion", "prompt", value) for value in (None, [], [1], ["a", 1], 7, {})),
        *(("embedding", "input", value) for value in (None, [], "", [""], [1], 7, {}, ["a", None])),
    ],
)
def test_a_bad_field_is_refused_by_name(kind: Kind, field: str, value: Any) -> None:
    error = refused({**GOOD[kind], field: value}, kind)
    assert f"`{field}`" in error.message


@pytest.mark.parametrize(
    ("message", "said"),
    [
        ("hello", "messages[1]"),
        ({}, "messages[1]"),
        ({"role": "wizard", "content": "x"}, "messages[1]"),
        ({"role": ["user"], "content": "x"}, "messages[1]"),
        ({"role": "user", "content": 7}, "messages[1].content"),
        ({"role": "user", "content": ["x"]}, "messages[1].content"),
        # llama.cpp failed at it: its arguments are missing.
        (
            {"role": "assistant", "tool_calls": [{"type": "function", "function": {"name": "f"}}]},
            "messages[1].tool_calls",
        ),
        (
            {
                "role": "assistant",
                "tool_calls": [{"type": "function", "function": {"name": "f", "arguments": "{x"}}],
            },
            "messages[1].tool_calls",
        ),
    ],
)
def test_a_bad_message_is_refused_by_its_place(message: Any, said: str) -> None:
    assert said in refused({"messages": [*MESSAGES, message]}).message


@pytest.mark.parametrize("raw", [b"", b"{", b"{'a': 1}", b"\xff", b"nul", b"NaN", b'{"messages": NaN}'])
def test_what_is_not_json_is_said_to_be_so(raw: bytes) -> None:
    with pytest.raises(BadRequest, match="not JSON"):
        read_body(raw, "chat")


def test_json_of_absurd_depth_is_a_bad_request_and_no_crash() -> None:
    with pytest.raises(BadRequest):
        read_body(b'{"messages":' + b"[" * 100_000 + b"]" * 100_000 + b"}", "chat")


@pytest.mark.parametrize("body", [[], "text", 7, None, True])
def test_a_body_is_an_object(body: Any) -> None:
    assert "object" in refused(body).message


@given(st.binary(max_size=200), st.sampled_from(sorted(GOOD)))
def test_no_bytes_do_worse_than_a_bad_request(raw: bytes, kind: Any) -> None:
    with pytest.raises(BadRequest):
        read_body(raw, kind)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
FIELDS = sorted({name for name, _ in SAMPLING + COMMON} | {"messages", "prompt", "input"})


@given(st.dictionaries(st.sampled_from(FIELDS), JSON, max_size=6), st.sampled_from(sorted(GOOD)))
def test_no_json_does_worse_than_a_bad_request(body: dict[str, Any], kind: Any) -> None:
    try:
        asked = read_body(orjson.dumps({**GOOD[kind], **body}), kind)
    except BadRequest as error:
        assert error.message
    else:
        assert isinstance(asked.request.model, str)
        assert isinstance(asked.streaming, bool)


def test_an_engine_gets_what_is_for_engines_and_nothing_else() -> None:
    body = {"model": "m", "messages": MESSAGES, "stream": True, "temperature": 0, "tools": [], "user": "x"}
    asked = read_body(orjson.dumps(body), "chat")
    assert (asked.request.model, asked.streaming, asked.request.stream) == ("m", True, True)
    assert asked.request.body == {"messages": MESSAGES, "temperature": 0}


@pytest.mark.parametrize("nothing", [{}, {"model": None, "stream": None, "stream_options": None}])
def test_what_is_missing_or_null_has_its_default(nothing: dict[str, Any]) -> None:
    asked = read_body(orjson.dumps({**GOOD["chat"], **nothing}), "chat")
    assert (asked.request.model, asked.streaming, asked.include_usage) == ("", False, False)


@pytest.mark.parametrize("field", ["temperature", "stop", "seed", "max_tokens", "n"])
def test_null_is_the_same_as_leaving_it_out(field: str) -> None:
    assert read_body(orjson.dumps({**GOOD["chat"], field: None}), "chat")


def test_empty_arguments_of_a_call_are_those_of_a_function_that_takes_none() -> None:
    call = {"id": "c", "type": "function", "function": {"name": "f", "arguments": ""}}
    given = {"messages": [*MESSAGES, {"role": "assistant", "content": None, "tool_calls": [call]}]}
    message = read_body(orjson.dumps(given), "chat").request.body["messages"][1]
    assert message["tool_calls"] == [{**call, "function": {"name": "f", "arguments": "{}"}}]
    assert message["content"] is None


def test_messages_may_carry_parts_tool_calls_and_no_content() -> None:
    messages = [
        {"role": "system", "content": "be brief"},
        {"role": "user", "content": [{"type": "text", "text": "hello"}]},
        {"role": "assistant", "content": None, "tool_calls": []},
        {"role": "tool", "content": "4", "tool_call_id": "x"},
    ]
    assert read_body(orjson.dumps({"messages": messages}), "chat").request.body["messages"] == messages


def test_a_scope_is_one_of_three() -> None:
    assert [read_scope(value) for value in (None, "", "local", "friends", "anywhere")] == [
        "anywhere",
        "anywhere",
        "local",
        "friends",
        "anywhere",
    ]
    with pytest.raises(BadRequest, match="local, friends, anywhere"):
        read_scope("moon")
