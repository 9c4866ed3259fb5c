"""Several answers at once, from real nodes: choices, lists of prompts, and where they came from."""

from __future__ import annotations

import json
from collections import defaultdict

from pairs import Pair
from sse import Streamed, chat

COMPLETIONS = "/v1/completions"
GREEDY = {"temperature": 0, "max_tokens": 6}


def alone(pair: Pair, prompt: str) -> str:
    return pair.asking.post(COMPLETIONS, {"prompt": prompt, **GREEDY})["choices"][0]["text"]


def test_a_list_of_prompts_is_answered_as_each_alone_in_order_and_paid_for(pocket_pair: Pair) -> None:
    prompts = ["What is 1+1?", "The sun is", "What is 2+2?"]
    asked = {"prompt": prompts, "n": 2, "stream": False, **GREEDY}
    with Streamed(pocket_pair.asking, asked, path=COMPLETIONS) as answer:
        assert answer.status == 200
        headers, body = answer.headers, json.loads(answer.answer.read())
    choices = body["choices"]
    assert [choice["index"] for choice in choices] == list(range(6))
    expected = [alone(pocket_pair, prompt) for prompt in prompts for _ in range(2)]
    assert [choice["text"] for choice in choices] == expected
    usage = body["usage"]
    assert usage["total_tokens"] == usage["prompt_tokens"] + usage["completion_tokens"]
    assert usage["completion_tokens"] <= 36
    assert headers["x-opengateway-route"] == "lan"
    assert float(headers["x-opengateway-credits"]) > 0


def test_choices_stream_with_their_index_at_the_node_that_serves_too(pocket_pair: Pair) -> None:
    for node in (pocket_pair.asking, pocket_pair.serving):
        with Streamed(node, chat(n=3, stream_options={"include_usage": True})) as answer:
            assert answer.status == 200
            texts: defaultdict[int, str] = defaultdict(str)
            ends = []
            for event in answer.events():
                for choice in event["choices"] if event != "[DONE]" else ():
                    texts[choice["index"]] += choice["delta"].get("content") or ""
                    if choice["finish_reason"]:
                        ends.append(choice["index"])
        assert sorted(ends) == [0, 1, 2]
        assert len(set(texts.values())) == 1
        assert "4" in texts[2]


def test_too_many_answers_are_refused_with_what_to_do(pocket_pair: Pair) -> None:
    status, answer = pocket_pair.asking.request(
        "POST", COMPLETIONS, {"prompt": ["x"] * 100, "n": 100, **GREEDY}
    )
    assert status == 400
    assert "opengateway batch" in answer["error"]["message"]
