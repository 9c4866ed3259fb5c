"""The most that a request can cost."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from opengateway.routing.hold import TEMPLATE_TOKENS, UNBOUNDED_ANSWER, hold_for

MESSAGES = [{"role": "user", "content": "What is 2+2?"}]


@given(st.text(max_size=200))
def test_a_prompt_can_have_no_more_tokens_than_bytes_and_the_template(text: str) -> None:
    body = {"messages": [{"role": "user", "content": text}]}
    hold = hold_for("chat", body, 0)
    assert hold.prompt_tokens == len(orjson.dumps(body)) + TEMPLATE_TOKENS
    assert hold.prompt_tokens >= len(text.encode())


@pytest.mark.parametrize(
    ("body", "context", "expected"),
    [
        ({}, 0, UNBOUNDED_ANSWER),
        ({}, 512, 512),
        ({"max_tokens": 10}, 0, 10),
        ({"max_tokens": 10}, 512, 10),
        ({"max_tokens": 1000}, 512, 512),
        ({"max_completion_tokens": 5, "max_tokens": 10}, 0, 5),
        ({"max_tokens": "ten"}, 0, UNBOUNDED_ANSWER),
        ({"max_tokens": -4}, 0, UNBOUNDED_ANSWER),
    ],
)
def test_the_answer_is_bounded_by_caller_and_context(
    body: dict[str, Any], context: int, expected: int
) -> None:
    assert hold_for("chat", {"messages": MESSAGES, **body}, context).completion_tokens == expected


def test_an_embedding_has_no_completion_tokens() -> None:
    assert hold_for("embedding", {"input": "text"}, 0).completion_tokens == 0


def test_a_limit_beyond_any_model_holds_no_more_than_a_ledger_can_write() -> None:
    """A ledger entry's token counts are 32-bit; a caller may send any number that JSON can hold."""
    assert hold_for("chat", {"max_tokens": 2**63}, 0).completion_tokens < 2**32
