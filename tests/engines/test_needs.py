"""What a request needs, read off its body, and which field wants it."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from opengateway.engines.needs import NEEDS, needs_of

IMAGE = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA=="}}


@pytest.mark.parametrize(
    ("body", "ability", "field"),
    [
        ({"tools": [{}]}, "tools", "tools"),
        ({"tool_choice": "required"}, "tool_choice", "tool_choice"),
        ({"parallel_tool_calls": False}, "tool_choice", "parallel_tool_calls"),
        ({"response_format": {"type": "json_object"}}, "json_schema", "response_format"),
        ({"logprobs": True}, "logprobs", "logprobs"),
        ({"logprobs": 0}, "logprobs", "logprobs"),
        ({"seed": 0}, "seed", "seed"),
        ({"logit_bias": {"1": 2}}, "logit_bias", "logit_bias"),
        ({"suffix": "x"}, "insert", "suffix"),
        ({"dimensions": 5}, "dimensions", "dimensions"),
        ({"reasoning_effort": "low"}, "reasoning", "reasoning_effort"),
        ({"messages": [{"content": "a"}, {"content": [IMAGE]}]}, "vision", "messages[1].content"),
        ({"messages": [{"content": [{"type": "input_audio"}]}]}, "audio", "messages[0].content"),
    ],
)
def test_a_field_that_not_every_engine_honours_is_a_need(
    body: dict[str, Any], ability: str, field: str
) -> None:
    assert needs_of("chat", body) == {"chat": "messages", ability: field}


@pytest.mark.parametrize(
    "body",
    [
        {"temperature": 1, "top_p": 1, "stop": "x", "max_tokens": 3},
        {"tools": [], "tool_choice": "auto", "parallel_tool_calls": True},
        {"response_format": {"type": "text"}, "logprobs": False, "top_logprobs": 0},
        {"seed": None, "reasoning_effort": "none", "logit_bias": {}},
        {"messages": [{"content": [{"type": "text", "text": "x"}]}]},
    ],
)
def test_what_every_engine_does_or_what_changes_nothing_needs_nothing(body: dict[str, Any]) -> None:
    assert needs_of("chat", body) == {"chat": "messages"}


@pytest.mark.parametrize(("kind", "field"), [("completion", "prompt"), ("embedding", "input")])
def test_the_kind_of_a_request_is_a_need_too(kind: str, field: str) -> None:
    assert needs_of(kind, {}) == {kind: field}


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner, max_size=3),
    max_leaves=9,
)


@given(st.dictionaries(st.sampled_from(["messages", *NEEDS]), JSON))
def test_whatever_a_stranger_sends_has_needs(body: dict[str, Any]) -> None:
    found = needs_of("chat", body)
    assert all(ability and isinstance(field, str) for ability, field in found.items())
