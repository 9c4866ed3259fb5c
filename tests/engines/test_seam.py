"""Two halves of one answer, joined: nothing doubled, nothing lost, and an error where they do not fit."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from opengateway.engines.resuming import partial_of, repeatable, stops_of, tokens_left, with_limit
from opengateway.engines.seam import Anew, Onward, texts_of
from opengateway.engines.stream import Chunk, Finished, Route, Stream
from opengateway.errors import AnswerBrokenOff

WORDS = st.lists(st.text(min_size=1, max_size=4), max_size=12)


@given(WORDS, st.integers(0, 40), st.data())
def test_an_answer_begun_anew_shows_what_is_left_of_it_however_it_is_cut(
    chunks: list[str], cut: int, data: st.DataObject
) -> None:
    text = "".join(chunks)
    shown = text[:cut]
    seam = Anew([shown] if shown else [])
    again: list[Chunk] = []
    while text:
        size = data.draw(st.integers(1, len(text)))
        again.append(text[:size])
        text = text[size:]
    left = seam.take(again)
    assert shown + "".join(map(str, left)) == "".join(chunks)[: max(cut, len("".join(chunks)))]
    assert seam.whole(Finished("stop", 3, 9)) == Finished("stop", 3, 9)


def test_another_text_is_refused_at_the_letter_at_which_it_differs() -> None:
    seam = Anew(["The fox ", "sleeps"])
    assert seam.take(["The "]) == []
    with pytest.raises(AnswerBrokenOff, match="says something else"):
        seam.take(["dog"])


def test_an_answer_that_ends_before_what_was_shown_is_refused() -> None:
    seam = Anew(["The fox"])
    seam.take(["The"])
    with pytest.raises(AnswerBrokenOff):
        seam.whole(Finished("stop", 1, 1))


def test_thoughts_are_compared_as_the_words_are() -> None:
    seam = Anew([{"reasoning_content": "Hm, "}, {"reasoning_content": "two"}, "4"])
    new = seam.take([{"reasoning_content": "Hm, two"}, "4 it", " is"])
    assert new == [" it", " is"]
    assert texts_of([{"tool_calls": []}]) is None


def test_a_stop_sequence_across_the_seam_ends_the_answer() -> None:
    seam = Onward(["one", " EN"], ("END",))
    assert seam.take(["D", " more"]) == []
    assert seam.stopped


def test_a_stop_sequence_across_the_seam_in_many_pieces_ends_it_too() -> None:
    seam = Onward(["x", "<"], ("<stop>",))
    assert seam.take(["s", "to"]) == ["s", "to"]
    assert seam.take(["p>", "y"]) == []
    assert seam.stopped


def test_stop_sequences_far_from_the_seam_are_the_workers_business() -> None:
    seam = Onward(["one"], ("END",))
    assert seam.take([" two three", " END"]) == [" two three", " END"]
    assert not seam.stopped


def test_the_usage_is_that_of_the_whole() -> None:
    seam = Onward(["a", "b"], ())
    told = seam.whole(Finished("length", 22, 5, 0.1, 0.2, partial_tokens=3))
    assert told == Finished("length", 19, 8)
    assert seam.whole(Finished("length", 22, 5)) == Finished("length", 20, 7)


@pytest.mark.parametrize(
    ("body", "shown", "can"),
    [
        ({}, ["a"], True),
        ({"messages": [{"role": "user", "content": [{"type": "text", "text": "x"}]}]}, ["a"], True),
        ({"messages": [{"role": "user", "content": [{"type": "image_url"}]}]}, ["a"], False),
        ({"tools": [{}]}, ["a"], False),
        ({"tools": [{}], "tool_choice": "none"}, ["a"], True),
        ({"response_format": {"type": "json_object"}}, ["a"], False),
        ({"response_format": {"type": "text"}}, ["a"], True),
        ({"logprobs": True}, ["a"], False),
        ({}, ["a", {"tool_calls": []}], False),
    ],
)
def test_only_text_is_continued(body: dict[str, Any], shown: list[Chunk], *, can: bool) -> None:
    assert (partial_of("chat", body, shown) is not None) == can


def test_only_what_is_fixed_is_repeated() -> None:
    assert repeatable({"temperature": 0}, ["a"])
    assert repeatable({"seed": 7}, ["a"])
    assert not repeatable({}, ["a"])
    assert not repeatable({"temperature": 0}, [{"tool_calls": []}])


def test_limits_are_lowered_by_what_was_made() -> None:
    assert tokens_left({"max_tokens": 10}, 4) == 6
    assert tokens_left({"max_completion_tokens": 3}, 4) == 0
    assert tokens_left({}, 4) is None
    assert with_limit({"max_completion_tokens": 9, "top_p": 1}, 5) == {"max_tokens": 5, "top_p": 1}
    assert stops_of({"stop": "x"}) == ("x",)
    assert stops_of({"stop": ["x", "", 3]}) == ("x",)


def test_a_stream_that_is_resumed_shows_one_answer_and_names_both_who_gave_it() -> None:
    async def main() -> None:
        stream = Stream()
        stream.shown = []
        stream.opened(Route("a", "a", "lan", "m"))
        stream.put(["The ", "fox"])
        stream.opened(Route("c", "c", "lan", "m"))  # it said yes, and never a word
        stream.resume(Onward(("The ", "fox"), ()))
        stream.opened(Route("b", "b", "world", "m"))
        stream.put([" sleeps"])
        stream.finish(Finished("stop", 12, 2, partial_tokens=2))
        assert await stream.read() == ["The ", "fox", " sleeps"]
        assert stream.finished == Finished("stop", 10, 4)
        assert [route.node for route in stream.routes] == ["a", "b"]

    asyncio.run(main())


def test_a_stream_whose_second_half_differs_ends_with_the_error_and_lets_go_of_its_maker() -> None:
    async def main() -> None:
        stream, told = Stream(), list[int]()
        stream.shown = []
        stream.put(["The fox"])
        stream.resume(Anew(["The fox"]))
        stream.on_cancel = lambda: told.append(1)
        stream.put(["A dog"])
        assert await stream.read() == ["The fox"]
        with pytest.raises(AnswerBrokenOff):
            await stream.read()
        assert told == [1]

    asyncio.run(main())


def test_costs_of_both_workers_add_up_and_are_corrected_one_by_one() -> None:
    stream = Stream()
    assert stream.cost is None
    stream.charge(b"one", 5)
    stream.charge(b"two", 7)
    stream.charge(b"two", 6)
    assert stream.cost == 11
