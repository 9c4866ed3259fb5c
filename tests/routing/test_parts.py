"""Requests that are several, taken apart and put together."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from opengateway.errors import BadRequest
from opengateway.routing.parts import MOST_PARTS, TEXTS_PER_PART, joined, limited, split


def test_choices_of_the_first_prompt_come_first() -> None:
    parts = split("completion", {"prompt": ["a", "b"], "max_tokens": 3}, 2)
    assert [(part.body["prompt"], part.prompt) for part in parts] == [("a", 0), ("a", 0), ("b", 1), ("b", 1)]
    assert all(part.body["max_tokens"] == 3 for part in parts)


def test_one_of_everything_is_the_request_itself() -> None:
    body = {"messages": [{"role": "user", "content": "hi"}]}
    [part] = split("chat", body)
    assert part.body == body
    [part] = split("completion", {"prompt": ["only"]})
    assert part.body == {"prompt": "only"}
    [part] = split("embedding", {"input": ["x"] * TEXTS_PER_PART})
    assert part.body == {"input": ["x"] * TEXTS_PER_PART}


def test_a_seed_gives_every_choice_its_own_and_the_first_the_callers() -> None:
    seeds = [part.body["seed"] for part in split("chat", {"messages": [], "seed": (1 << 63) - 2}, 3)]
    assert seeds == [(1 << 63) - 2, (1 << 63) - 1, -(1 << 63)]


def test_more_parts_than_a_node_takes_are_refused_with_what_to_do() -> None:
    with pytest.raises(BadRequest) as refused:
        split("completion", {"prompt": ["x"] * 100}, MOST_PARTS // 100 + 1)
    assert refused.value.hint


@given(st.lists(st.text(min_size=1, max_size=5), min_size=1, max_size=200))
def test_texts_are_embedded_once_each_and_come_back_in_order(texts: list[str]) -> None:
    parts = split("embedding", {"input": texts if len(texts) > 1 else texts[0]})
    answers: list[dict[str, Any]] = []
    for part in parts:
        given = part.body["input"] if isinstance(part.body["input"], list) else [part.body["input"]]
        rows = [{"index": n, "embedding": [text]} for n, text in enumerate(given)]
        usage = {"prompt_tokens": len(given), "total_tokens": len(given)}
        answers.append({"object": "list", "model": "m", "data": rows[::-1], "usage": usage})
    whole = joined(answers)
    assert [row["embedding"][0] for row in whole["data"]] == texts
    assert [row["index"] for row in whole["data"]] == list(range(len(texts)))
    assert whole["usage"] == {"prompt_tokens": len(texts), "total_tokens": len(texts)}


@pytest.mark.parametrize("answer", [{}, {"data": None}, {"data": [1]}, {"data": {"index": 0}}])
def test_an_answer_that_holds_no_embeddings_is_noticed(answer: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="embeddings"):
        joined([answer])


def test_nonsense_in_a_peers_usage_counts_nothing() -> None:
    row = {"index": "first", "embedding": []}
    whole = joined([{"data": [row], "usage": {"prompt_tokens": "many", "total_tokens": -4}}])
    assert whole["usage"] == {"prompt_tokens": 0, "total_tokens": 0}


def test_a_budget_limits_every_part() -> None:
    parts = split("chat", {"messages": [], "max_completion_tokens": 100}, 3)
    assert [part.body for part in limited(parts, 7)] == [{"messages": [], "max_tokens": 7}] * 3
