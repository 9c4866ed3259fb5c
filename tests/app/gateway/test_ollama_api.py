"""Ollama's protocol, by exchanges recorded from a real server and by its own Python client."""

from __future__ import annotations

import http.client
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import ollama
import pytest
from harness import Node, private_network, until

GOLDEN = Path(__file__).parents[2] / "data/ollama_golden"
MESSAGES = [{"role": "user", "content": "What is 2+2?"}]
GREEDY = {"temperature": 0}
OURS = {"chat_badjson", "delete_404", "copy_404", "show_404", "chat_404"}
"""Exchanges whose errors we say in our own words, with what to do."""
ELSEWHERE = {
    "root": "the dashboard stands there",
    "head_root": "the dashboard stands there",
    "embed": "recorded from a server that cannot embed; test_embeddings_* have the shape",
    "ps_empty": "llama.cpp never unloads",
    "pull_fail": "this node's engine cannot fetch; test_pull_* have the shape",
}

OPTIONAL = {".models[].details.context_length lacks", ".models[].details.embedding_length lacks"} | {
    ".context lacks"
}
"""What newer servers add or older ones had; no client needs it. `context` is the conversation as tokens,
which mean nothing to another node."""


@pytest.fixture(scope="module")
def nodes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Node, Node]]:
    """One that serves the pocket model, and one that only asks; both call it `tiny` as well."""
    folder, network = tmp_path_factory.mktemp("ollama"), private_network()
    aliases = {"tiny": "pocket"}
    with Node(folder, "serves", network, engine={"kind": "pocket"}, aliases=aliases) as serves:
        joined = {"bootstrap": [serves.endpoint]}
        with Node(folder, "asks", network, aliases=aliases, wire=joined) as asks:
            until(lambda: asks.get("/api/tags")["models"], "the model is offered")
            yield serves, asks


@pytest.fixture(params=["serves", "asks"])
def node(request: pytest.FixtureRequest, nodes: tuple[Node, Node]) -> Node:
    return nodes[request.param == "asks"]


@pytest.fixture
def client(node: Node) -> Iterator[ollama.Client]:
    made = ollama.Client(node.http, timeout=30)
    yield made
    made._client.close()


def exchange(node: Node, method: str, path: str, body: Any) -> tuple[int, str, bytes]:
    host, _, port = node.http.removeprefix("http://").partition(":")
    connection = http.client.HTTPConnection(host, int(port), timeout=30)
    raw = body if isinstance(body, str) else None if body is None else json.dumps(body)
    connection.request(method, path, raw)
    answer = connection.getresponse()
    data = answer.read()
    connection.close()
    return answer.status, answer.headers.get_content_type(), data


def shape(value: Any, name: str = "") -> Any:
    """What is there, without what it says: keys and kinds of values."""
    if name in ("model_info", "tensors", "arguments", "families"):
        return "any"
    if isinstance(value, dict):
        return {key: shape(inner, key) for key, inner in value.items()}
    if isinstance(value, list):
        return [shape(value[0])] if value else []
    return type(value).__name__


def part_of(expected: Any, got: Any, where: str = "") -> list[str]:
    """What of `expected` is not in `got`."""
    if isinstance(expected, dict) and isinstance(got, dict):
        return [
            line
            for key, inner in expected.items()
            for line in (
                part_of(inner, got[key], f"{where}.{key}") if key in got else [f"{where}.{key} lacks"]
            )
        ]
    if isinstance(expected, list) and isinstance(got, list) and expected and got:
        return part_of(expected[0], got[0], f"{where}[]")
    return [] if shape(expected) == shape(got) or expected == "any" else [f"{where}: {got} for {expected}"]


def lines(body: bytes | str) -> list[Any]:
    return [json.loads(line) for line in (body.decode() if isinstance(body, bytes) else body).splitlines()]


RECORDED = [path for path in sorted(GOLDEN.glob("*.json")) if not path.stem.startswith("v1_")]


@pytest.mark.parametrize("path", RECORDED, ids=lambda path: path.stem)
def test_what_a_real_server_answered_is_answered_here_in_the_same_shape(
    nodes: tuple[Node, Node], path: Path
) -> None:
    if path.stem in ELSEWHERE:
        pytest.skip(ELSEWHERE[path.stem])
    golden = json.loads(path.read_text())
    status, kind, body = exchange(nodes[0], golden["method"], golden["path"], golden["request"])
    assert status == golden["status"], body
    assert kind == golden["headers"]["Content-Type"].partition(";")[0]
    expected, got = lines(golden["body"]), lines(body)
    if path.stem in OURS:
        assert set(got[0]) == {"error"}
        return
    assert got[-1].get("done_reason") == expected[-1].get("done_reason")
    missing = part_of(shape(expected[-1]), shape(got[-1]))
    # A call comes in the last line of the recording, and in the one before here, as newer servers have it.
    allowed = {"chat_tools": ".message.tool_calls lacks", "show": ".tensors lacks"}.get(path.stem)
    assert [line for line in missing if line not in OPTIONAL | {allowed}] == []
    if len(expected) > 1:
        assert not part_of(shape(expected[0]), shape(got[0]))


# -- the package, against the node that serves and against the one that only asks --------------------


def test_it_chats(client: ollama.Client) -> None:
    answer = client.chat("tiny", MESSAGES, options=GREEDY)
    assert (answer.message.content or "").strip() == "4"
    assert (answer.done, answer.done_reason, answer.model) == (True, "stop", "tiny")
    assert answer.prompt_eval_count == 19
    assert answer.eval_count == 2
    assert min(answer.total_duration or 0, answer.prompt_eval_duration or 0) > 0
    assert (answer.total_duration or 0) >= (answer.eval_duration or 0) >= 0


def test_it_streams_a_chat(client: ollama.Client) -> None:
    parts = list(client.chat("tiny", MESSAGES, stream=True, options=GREEDY, keep_alive="5m"))
    assert "".join(part.message.content or "" for part in parts).strip() == "4"
    assert [part.done for part in parts] == [False] * (len(parts) - 1) + [True]
    assert parts[-1].eval_count == 2


def test_it_generates(client: ollama.Client) -> None:
    answer = client.generate("tiny", "What is 2+2?", system="Be brief.", options=GREEDY)
    assert answer.response
    raw = client.generate("tiny", "The sky", raw=True, options={**GREEDY, "num_predict": 3})
    assert (raw.eval_count, raw.done_reason) == (3, "length")
    streamed = list(client.generate("tiny", "What is 2+2?", stream=True, options=GREEDY))
    assert "".join(part.response or "" for part in streamed).strip() == "4"


def test_a_format_is_kept_to(client: ollama.Client) -> None:
    schema = {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]}
    answer = client.chat("tiny", MESSAGES, format=schema, options={**GREEDY, "num_predict": 60})
    assert isinstance(json.loads(answer.message.content or "")["a"], int)


def weather(city: str) -> str:
    """Get the weather for a city

    Args:
        city: name of the city
    """
    return city


def test_a_tool_is_called_with_an_object_of_arguments(client: ollama.Client) -> None:
    asked = [{"role": "user", "content": "What is the weather in Paris?"}]
    parts = list(
        client.chat("tiny", asked, tools=[weather], stream=True, options={**GREEDY, "num_predict": 90})
    )
    [call] = [call for part in parts for call in part.message.tool_calls or ()]
    assert call.function.name == "weather"
    assert set(call.function.arguments) == {"city"}
    told = [*asked, {"role": "assistant", "content": "", "tool_calls": [call.model_dump()]}]
    told.append({"role": "tool", "tool_name": "weather", "content": "sunny"})
    assert client.chat("tiny", told, tools=[weather], options={**GREEDY, "num_predict": 20}).done


def test_logprobs_come_as_ollama_has_them(client: ollama.Client) -> None:
    answer = client.chat("tiny", MESSAGES, logprobs=True, top_logprobs=2, options=GREEDY)
    assert answer.logprobs
    assert answer.logprobs[0].token.strip() == "4"
    assert len(answer.logprobs[0].top_logprobs or ()) == 2


def test_it_lists_shows_and_sees_what_runs(client: ollama.Client, node: Node) -> None:
    names = [model.model for model in client.list().models]
    assert {"pocket:latest", "tiny:latest"} <= set(names)
    shown = client.show("tiny")
    assert "completion" in (shown.capabilities or [])
    assert (shown.modelinfo or {})["general.parameter_count"] >= 1e6
    running = [model.model for model in client.ps().models]
    assert bool(running) is (node.config["engine"]["kind"] == "pocket")


def test_an_empty_chat_loads_or_unloads_and_computes_nothing(client: ollama.Client) -> None:
    assert client.chat("tiny", []).done_reason == "load"
    assert client.chat("tiny", [], keep_alive=0).done_reason == "unload"
    assert client.generate("tiny", "").done_reason == "load"


@pytest.mark.parametrize(
    ("call", "status", "said"),
    [
        (lambda c: c.chat("nope", MESSAGES), 404, "not found"),
        (lambda c: c.chat("nope", []), 404, "not found"),
        (lambda c: list(c.chat("nope", MESSAGES, stream=True)), 404, "not found"),
        (lambda c: c.show("nope"), 404, "not found"),
        (lambda c: c.chat("tiny", MESSAGES, options={"mirostat": 2}), 400, "mirostat"),
        (lambda c: c.chat("tiny", MESSAGES, options={"temperature": 9}), 400, "temperature"),
        (lambda c: c.chat("tiny", MESSAGES, think=True), 400, "reasoning"),
        (lambda c: c.chat("tiny", [{"role": "user", "content": "x", "images": ["AAAA"]}]), 400, "vision"),
        (lambda c: c.generate("tiny", "a", suffix="b"), 400, "insert"),
        (lambda c: c.generate("tiny", "a", template="x"), 400, "template"),
        (lambda c: c.embed("tiny", "hello"), 400, "embedding"),
        (lambda c: c.embeddings("tiny", "hello"), 400, "embedding"),
        (lambda c: c.pull("tiny"), 400, "engine"),
        (lambda c: c.delete("tiny"), 400, "not offered"),
        (lambda c: c.chat("tiny", [{"role": "user", "content": "word " * 3000}]), 400, "context"),
    ],
)
def test_errors_are_in_ollamas_shape(client: ollama.Client, call: Any, status: int, said: str) -> None:
    with pytest.raises(ollama.ResponseError) as caught:
        call(client)
    assert caught.value.status_code == status
    assert said in caught.value.error
    assert not caught.value.error.startswith("{")


def test_its_command_line_finds_somebody_at_home(nodes: tuple[Node, Node]) -> None:
    """`ollama` asks for HEAD / before anything else."""
    assert exchange(nodes[0], "HEAD", "/", None)[0] == 200


def test_a_wrong_address_below_api_is_in_ollamas_shape_too(nodes: tuple[Node, Node]) -> None:
    status, _, body = exchange(nodes[0], "GET", "/api/nothing", None)
    assert (status, set(json.loads(body))) == (404, {"error"})
    assert isinstance(json.loads(body)["error"], str)
