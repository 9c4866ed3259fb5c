"""Answers in OpenAI's words, piece by piece and whole."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from opengateway.app.gateway.answers import Answer, stats
from opengateway.engines.stream import Chunk, Finished, Route, Stream

DONE = Finished("stop", 3, 2)


def events(raw: bytes) -> list[Any]:
    parts = raw.decode().split("\n\n")
    assert parts.pop() == ""
    assert all(part.startswith("data: ") and "\n" not in part for part in parts)
    return [part[6:] if part == "data: [DONE]" else json.loads(part[6:]) for part in parts]


def opened(kind: Any = "chat") -> Answer:
    answer = Answer("req-1", kind, "asked")
    answer.open("m")
    return answer


def test_the_role_comes_first_and_once() -> None:
    answer = opened()
    first, second, third = events(answer.pieces(["a"]) + answer.pieces(["b"]))
    assert first["choices"] == [
        {"index": 0, "delta": {"role": "assistant", "content": ""}, "finish_reason": None}
    ]
    assert [e["choices"][0]["delta"] for e in (second, third)] == [{"content": "a"}, {"content": "b"}]
    assert {e["object"] for e in (first, second, third)} == {"chat.completion.chunk"}
    assert {e["id"] for e in (first, second, third)} == {"chatcmpl-1"}
    assert {e["model"] for e in (first, second, third)} == {"m"}


@given(st.lists(st.text(max_size=20), max_size=10))
def test_any_text_survives_the_stream(texts: list[str]) -> None:
    found = events(opened().pieces(list(texts)))
    assert [e["choices"][0]["delta"]["content"] for e in found][1:] == texts


def test_deltas_with_more_than_text_pass_as_they_are() -> None:
    call: Chunk = {"tool_calls": [{"index": 0, "id": "x", "function": {"name": "f", "arguments": ""}}]}
    assert events(opened().pieces([call]))[1]["choices"][0]["delta"] == call


@pytest.mark.parametrize("usage", [False, True])
@pytest.mark.parametrize("extra", [None, {"ttft_ms": 1.0}])
def test_the_end_has_a_reason_then_what_was_asked_for_then_done(usage: bool, extra: Any) -> None:
    answer = opened()
    found = events(answer.ending(DONE) + answer.closing(DONE, usage=usage, stats=extra))
    assert found.pop() == "[DONE]"
    assert found.pop(0)["choices"] == [{"index": 0, "finish_reason": "stop", "delta": {}}]
    if usage:
        event = found.pop(0)
        assert event["choices"] == []
        assert event["usage"] == {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}
    if extra:
        event = found.pop(0)
        assert (event["choices"], event["opengateway"]) == ([], extra)
    assert not found


def test_legacy_completions_stream_texts() -> None:
    answer = opened("completion")
    piece, end = events(answer.pieces(["a"]) + answer.ending(DONE))
    assert piece["object"] == "text_completion"
    assert piece["id"] == "cmpl-1"
    assert (piece["choices"][0]["text"], end["choices"][0]["text"]) == ("a", "")


def whole(chunks: list[Chunk], kind: Any = "chat", extra: Any = None) -> Any:
    answer = opened(kind)
    return json.loads(answer.whole([answer.choice(chunks, DONE)], DONE, extra))


def test_the_whole_answer_is_the_stream_put_together() -> None:
    answer = whole(["a", "b"], extra={"x": 1})
    assert answer["object"] == "chat.completion"
    assert answer["choices"][0]["message"] == {"role": "assistant", "content": "ab"}
    assert answer["choices"][0]["finish_reason"] == "stop"
    assert answer["usage"]["total_tokens"] == 5
    assert answer["opengateway"] == {"x": 1}


def test_tool_calls_in_pieces_become_whole_calls() -> None:
    def part(index: int, **function: str) -> Chunk:
        return {"tool_calls": [{"index": index, "function": function}]}

    opening: Chunk = {"tool_calls": [{"index": 0, "id": "x", "function": {"name": "f", "arguments": ""}}]}
    chunks = [opening, part(0, arguments='{"a"'), part(1, name="g", arguments="{}"), part(0, arguments=":1}")]
    message = whole(chunks)["choices"][0]["message"]
    assert message["content"] is None
    assert message["tool_calls"] == [
        {"id": "x", "type": "function", "function": {"name": "f", "arguments": '{"a":1}'}},
        {"type": "function", "function": {"name": "g", "arguments": "{}"}},
    ]


def test_reasoning_is_joined_beside_the_text() -> None:
    chunks: list[Chunk] = [{"reasoning_content": "hm "}, {"reasoning_content": "yes"}, "4"]
    message = whole(chunks)["choices"][0]["message"]
    assert (message["reasoning_content"], message["content"]) == ("hm yes", "4")


HOSTILE: list[Chunk] = [
    {"tool_calls": "none"},
    {"tool_calls": [7]},
    {"tool_calls": [{"index": "a"}, {"index": 0}]},
    {"tool_calls": [{"index": [], "function": 7}]},
    {"tool_calls": [{"index": 0, "function": {"name": 7, "arguments": {}}}]},
    {"logprobs": 7},
    {"logprobs": [1]},
    {"content": 7},
    {},
]


@pytest.mark.parametrize("chunk", HOSTILE, ids=str)
@pytest.mark.parametrize("kind", ["chat", "completion"])
def test_whatever_a_peer_calls_a_delta_is_written_down_or_left_out(kind: Any, chunk: Chunk) -> None:
    """A peer's deltas are JSON objects, and nothing more is certain of them."""
    assert whole(["a", chunk, "b"], kind)["choices"]
    assert len(events(opened(kind).pieces(["a", chunk, "b"]))) >= 3


def test_stats_say_where_the_answer_came_from_and_what_it_took() -> None:
    stream = Stream()
    stream.opened(Route("abc", "peer", "lan", "m", "llama_server"))
    stream.created, stream.first_at, stream.ended_at = 10.0, 10.25, 12.25
    stream.finished = Finished("stop", 3, 20)
    stream.charge(b"rid", 1_500_000)
    assert stats("req-1", stream) == {
        "request_id": "req-1",
        "route": {"node": "abc", "name": "peer", "ring": "lan", "model": "m", "engine": "llama_server"},
        "places": [{"node": "abc", "name": "peer", "ring": "lan", "model": "m", "engine": "llama_server"}],
        "ttft_ms": 250.0,
        "tokens_per_second": 10.0,
        "prompt_tokens": 3,
        "completion_tokens": 20,
        "credits": "1.5",
    }
