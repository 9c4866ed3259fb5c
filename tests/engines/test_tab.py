"""The budget of a tab, as both sides reckon it: what one asks for, the other has room for."""

from __future__ import annotations

import cbor2
import orjson
from hypothesis import given
from hypothesis import strategies as st

from opengateway.engines.tab import (
    LEAF,
    MARK,
    MOST_ANSWER,
    MOST_PROMPT,
    MOST_REQUESTS,
    Budget,
    Need,
    named,
    naming,
    need_of,
)

NEEDS = st.builds(Need, st.integers(513, MOST_PROMPT), st.integers(0, MOST_ANSWER))


@given(
    size=st.integers(1, 64),
    steps=st.lists(st.tuples(st.booleans(), NEEDS, st.floats(0, 1), st.floats(0, 1)), max_size=60),
)
def test_a_worker_has_room_for_all_that_a_requester_puts_on_it(
    size: int, steps: list[tuple[bool, Need, float, float]]
) -> None:
    """Where both count the same; who counts less than the worker may be refused, and asks without the tab."""
    total = Need(size * 4096, size * 256)
    ours, theirs = Budget(*total), Budget(*total)
    flying: list[Need] = []
    for begins, need, prompt, completion in steps:
        if begins and ours.has_room(need):
            counted = Need(need.prompt - 32, need.completion)  # it counts the body as it came
            assert theirs.has_room(counted)
            ours.take(need)
            theirs.take(counted)
            flying.append(need)
        elif not begins and flying:
            over = flying.pop()
            counted = Need(over.prompt - 32, over.completion)
            owed = int(prompt * counted.prompt), int(completion * over.completion)
            theirs.ended(counted, *owed)
            ours.ended(over, *owed)
    for budget in (ours, theirs):
        assert budget.prompt >= 0
        assert budget.completion >= 0
        assert budget.owed_prompt <= total.prompt
        assert budget.owed_completion <= total.completion
        assert budget.in_flight == len(flying)
    assert (ours.owed_prompt, ours.owed_completion) == (theirs.owed_prompt, theirs.owed_completion)


@given(NEEDS, st.integers(0, 1 << 40), st.integers(0, 1 << 40))
def test_nobody_owes_more_for_an_answer_than_it_could_need(need: Need, prompt: int, completion: int) -> None:
    budget = Budget(need.prompt, need.completion)
    budget.take(need)
    assert not budget.has_room(need)
    owed = budget.ended(need, prompt, completion)
    assert owed == (min(prompt, need.prompt), min(completion, need.completion))
    assert (budget.prompt, budget.completion) == (need.prompt - owed[0], need.completion - owed[1])


def test_a_tab_has_an_end_even_where_nothing_is_owed() -> None:
    budget, need = Budget(600, 0), Need(513, 0)
    for _ in range(MOST_REQUESTS):
        assert budget.has_room(need)
        budget.take(need)
        budget.ended(need, 0, 0)
    assert not budget.has_room(need)


@given(st.dictionaries(st.sampled_from(["max_tokens", "max_completion_tokens", "x"]), st.integers(-5, 5000)))
def test_only_what_is_short_and_has_a_limit_goes_on_a_tab(body: dict[str, int]) -> None:
    size = len(orjson.dumps(body))
    need = need_of("chat", body, size)
    limit = body.get("max_completion_tokens") or body.get("max_tokens")
    if limit is None or not 0 <= limit <= MOST_ANSWER:
        assert need is None
    else:
        assert need == (size + 512, limit)
    assert need_of("embedding", body, size) == (size + 512, 0)
    assert need_of("chat", {"max_tokens": 1}, MOST_PROMPT) is None
    assert need_of("chat", {"max_tokens": True}, 10) is None


@given(st.binary(min_size=LEAF, max_size=LEAF), st.binary(min_size=16, max_size=16), st.binary(max_size=1024))
def test_the_name_of_a_tab_is_never_taken_for_an_open(leaf: bytes, rid: bytes, body: bytes) -> None:
    assert named(naming(leaf, rid)) == (leaf, rid[:8])
    wire = cbor2.dumps([body, bytes(64)])
    assert named(wire) is None
    assert named(MARK + wire) is None
    assert not wire.startswith(MARK)
    assert named(b"") is None
