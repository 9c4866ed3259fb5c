"""Fields that not every engine honours: the search finds who does, and nobody ignores one."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from harness import Node, private_network, until
from pairs import Pair, paced_engine
from sse import Streamed, chat

CHAT = "/v1/chat/completions"
IMAGE = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA=="}}
SEEN = {"messages": [{"role": "user", "content": [{"type": "text", "text": "What is it?"}, IMAGE]}]}


@pytest.fixture(scope="module")
def nodes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Node, Node]]:
    """The same model at both, and only the other one's engine sees pictures."""
    folder, network = tmp_path_factory.mktemp("abilities"), private_network()
    aliases = {"gpt-4o-mini": "fake"}
    with paced_engine(1.0) as url:
        engine: dict[str, Any] = {"kind": "openai", "url": url}
        with (
            Node(folder, "sees", network, engine={**engine, "abilities": ["vision"]}) as sees,
            Node(
                folder, "here", network, engine=engine, aliases=aliases, wire={"bootstrap": [sees.endpoint]}
            ) as here,
        ):
            until(lambda: here.get("/v1/models")["data"][0]["opengateway"]["nodes"] == 2, "both are there")
            yield here, sees


def test_a_picture_goes_to_the_node_whose_engine_can_see(nodes: tuple[Node, Node]) -> None:
    here, sees = nodes
    with Streamed(here, SEEN) as answer:
        assert answer.status == 200
        assert answer.headers["x-opengateway-node"] == sees.get("/node/status")["short"]
    with Streamed(here, chat()) as answer:
        assert answer.headers["x-opengateway-route"] == "local"


def test_what_nobody_can_do_is_refused_by_name(nodes: tuple[Node, Node]) -> None:
    here, _ = nodes
    status, answer = here.request("POST", CHAT, chat(reasoning_effort="high"))
    assert (status, answer["error"]["code"]) == (400, "unsupported_parameter")
    assert answer["error"]["param"] == "reasoning_effort"
    status, answer = here.request("POST", CHAT, SEEN, {"x-opengateway-scope": "local"})
    assert (status, answer["error"]["param"]) == (400, "messages[0].content")


def test_an_alias_is_listed_and_answered_by_its_model(nodes: tuple[Node, Node]) -> None:
    here, _ = nodes
    assert here.get("/v1/models/gpt-4o-mini")["id"] == "gpt-4o-mini"
    assert "gpt-4o-mini" in [model["id"] for model in here.get("/v1/models")["data"]]
    assert here.request("POST", CHAT, chat(model="gpt-4o-mini"))[1]["model"] == "fake"
    assert here.request("POST", CHAT, chat(model="gpt-4"))[0] == 404


# -- with llama.cpp itself, through a peer ---------------------------------------------------------


def ask(pair: Pair, path: str = CHAT, **body: Any) -> Any:
    given = body if path != CHAT else chat() | body
    status, answer = pair.asking.request("POST", path, given)
    assert status == 200, answer
    return answer


def test_logprobs_come_in_the_format_of_the_route(pocket_pair: Pair) -> None:
    token = ask(pocket_pair, logprobs=True, top_logprobs=2)["choices"][0]["logprobs"]["content"][0]
    assert token["token"].strip() == "4"
    assert len(token["top_logprobs"]) == 2
    legacy = ask(pocket_pair, "/v1/completions", prompt="The sky", max_tokens=3, logprobs=2, temperature=0)
    [choice] = legacy["choices"]
    assert "".join(choice["logprobs"]["tokens"]) == choice["text"]
    assert choice["logprobs"]["text_offset"][0] == 0
    assert all(len(top) == 2 for top in choice["logprobs"]["top_logprobs"])


def test_a_seed_makes_the_same_answer_again(pocket_pair: Pair) -> None:
    same = [
        ask(pocket_pair, "/v1/completions", prompt="The", seed=5, temperature=1, max_tokens=12)["choices"]
        for _ in range(2)
    ]
    assert same[0] == same[1]


def test_a_forbidden_token_does_not_come(pocket_pair: Pair) -> None:
    token = ask(pocket_pair, logprobs=True)["choices"][0]["logprobs"]["content"][0]
    biased = ask(pocket_pair, logit_bias={str(token["id"]): -100}, max_tokens=3)
    assert biased["choices"][0]["message"]["content"].strip()[:1] != "4"


def test_a_schema_is_kept_to(pocket_pair: Pair) -> None:
    schema = {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]}
    wanted = {"type": "json_schema", "json_schema": {"name": "x", "schema": schema}}
    said = ask(pocket_pair, response_format=wanted, max_tokens=60)["choices"][0]["message"]["content"]

    assert isinstance(json.loads(said)["a"], int)


def test_an_echo_stands_before_the_completion(pocket_pair: Pair) -> None:
    plain = ask(pocket_pair, "/v1/completions", prompt="The sky", max_tokens=3, temperature=0)
    echoed = ask(pocket_pair, "/v1/completions", prompt="The sky", max_tokens=3, temperature=0, echo=True)
    assert echoed["choices"][0]["text"] == "The sky" + plain["choices"][0]["text"]
    body = {"prompt": "The sky", "max_tokens": 3, "temperature": 0, "echo": True}
    with Streamed(pocket_pair.asking, body, path="/v1/completions") as answer:
        events = [event for event in answer.events() if event != "[DONE]"]
    assert "".join(event["choices"][0]["text"] for event in events) == echoed["choices"][0]["text"]


def test_an_embedding_from_a_model_that_only_chats_is_refused_by_name(pocket_pair: Pair) -> None:
    status, answer = pocket_pair.asking.request("POST", "/v1/embeddings", {"input": "x", "model": "pocket"})
    assert (status, answer["error"]["param"]) == (400, "input")
