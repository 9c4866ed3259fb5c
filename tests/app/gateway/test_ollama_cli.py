"""What the `ollama` command line says, request by request, and what it does with the answers.

The program itself is a Go binary that no package here brings. Its requests are the JSON of its Go types, in
which a field without `omitempty` is always there, empty or not; its answers go into Go types, which take no
float for a whole number and no other format for a time. Both are written down here from its source
(api/client.go, api/types.go and cmd/cmd.go, 0.5 to 0.12).
"""

from __future__ import annotations

import http.client
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from harness import Node, private_network, until

SERVER = Path(__file__).with_name("small_ollama.py")
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,9})?(Z|[+-]\d\d:\d\d)")
WHOLE = ("total_duration", "load_duration", "prompt_eval_count", "prompt_eval_duration", "eval_count")
WHOLE += ("eval_duration", "size", "size_vram", "context_length", "total", "completed")
TIMES = ("created_at", "modified_at", "expires_at")
LINE = 512 * 1000
"""Bytes: the longest line that its scanner takes."""


def call(node: Node, method: str, path: str, body: Any = None, *, streamed: bool = False) -> list[Any]:
    """As client.go: the lines of the answer. Raises `AssertionError` with what it would print."""
    host, _, port = node.http.removeprefix("http://").partition(":")
    connection = http.client.HTTPConnection(host, int(port), timeout=30)
    headers = {
        "Content-Type": "application/json",
        "Accept": "application/x-ndjson" if streamed else "application/json",
        "User-Agent": "ollama/0.12.11 (amd64 linux) Go/go1.24.1",
        "Accept-Encoding": "gzip",
    }
    connection.request(method, path, None if body is None else json.dumps(body), headers)
    answer = connection.getresponse()
    raw = answer.read()
    connection.close()
    lines = raw.splitlines() if streamed else [raw] if raw else []
    assert all(len(line) < LINE for line in lines)
    found = [json.loads(line) for line in lines]
    failed = [line["error"] for line in found if isinstance(line, dict) and line.get("error")]
    assert not failed, failed[0]
    assert answer.status < 400, f"{answer.status}"
    for line in found:
        decode(line)
    return found


def decode(value: Any, name: str = "") -> None:
    """What Go's decoder would not take."""
    if isinstance(value, dict):
        for key, inner in value.items():
            decode(inner, key)
    elif isinstance(value, list):
        for inner in value:
            decode(inner, name)
    elif name in WHOLE:
        assert type(value) is int, (name, value)
    elif name in TIMES:
        assert TIME.fullmatch(value), (name, value)


def show(node: Node, model: str, **more: Any) -> dict[str, Any]:
    hollow = {"system": "", "template": "", "verbose": False, "options": None, "name": ""}
    [found] = call(node, "POST", "/api/show", {"model": model, **hollow, **more})
    assert isinstance(found, dict)
    return found


def generate(node: Node, name: str, prompt: str = "", **more: Any) -> list[Any]:
    body = {"model": name, "prompt": prompt, "suffix": "", "system": "", "template": "", "options": {}}
    return call(node, "POST", "/api/generate", body | more, streamed=True)


def pull(node: Node, **named: str) -> list[Any]:
    body = {"model": "", "username": "", "password": "", "name": ""} | named
    return call(node, "POST", "/api/pull", body, streamed=True)


@pytest.fixture(scope="module")
def nodes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Node, Node]]:
    """One that has an Ollama, with a model that embeds, and one that has the pocket model."""
    folder, network = tmp_path_factory.mktemp("cli"), private_network()
    process = subprocess.Popen([sys.executable, str(SERVER)], stdout=subprocess.PIPE)
    assert process.stdout is not None
    try:
        url = process.stdout.readline().decode().strip()
        with Node(folder, "pocket", network, engine={"kind": "pocket"}) as pocket:
            joined = {"bootstrap": [pocket.endpoint]}
            with Node(folder, "o", network, engine={"kind": "ollama", "url": url}, wire=joined) as behind:
                until(lambda: len(behind.get("/api/tags")["models"]) == 2, "both models are offered")
                yield behind, pocket
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


@pytest.fixture
def node(nodes: tuple[Node, Node]) -> Node:
    """Where OLLAMA_HOST points: an Ollama of its own, and the network behind it."""
    return nodes[0]


def test_list_shows_the_networks_models(node: Node) -> None:
    assert call(node, "HEAD", "/") == []
    [found] = call(node, "GET", "/api/tags")
    rows = {m["name"]: m["digest"][:12] for m in found["models"]}
    assert set(rows) == {"small:latest", "pocket:latest"}
    assert all(re.fullmatch("[0-9a-f]{12}", digest) for digest in rows.values())


@pytest.mark.parametrize("name", ["pocket", "small"])
def test_show_has_what_its_table_is_made_of(node: Node, name: str) -> None:
    found = show(node, name)
    architecture = found["model_info"]["general.architecture"]
    assert isinstance(architecture, str)
    assert found["details"]["quantization_level"]
    assert found["capabilities"]
    older = show(node, "", name=name)  # before 0.6 it said the name in the older field
    assert older["details"] == found["details"]
    assert show(node, name, verbose=True)["details"] == found["details"]
    if name == "pocket":
        assert found["model_info"][f"{architecture}.context_length"] == found["details"]["context_length"]


def test_show_of_what_nobody_has_is_what_makes_it_pull(node: Node) -> None:
    with pytest.raises(AssertionError, match="model 'nope' not found"):
        show(node, "nope")


def test_run_loads_the_model_and_then_talks(node: Node) -> None:
    info = show(node, "pocket")
    assert "thinking" not in info["capabilities"]  # else it would ask with `think`
    [loaded] = generate(node, "pocket", options=None, keep_alive="5m0s")
    assert (loaded["done"], loaded["done_reason"]) == (True, "load")
    messages = [{"role": "user", "content": "What is 2+2?"}]
    body = {"model": "pocket", "messages": messages, "options": {"temperature": 0}}
    lines = call(node, "POST", "/api/chat", body, streamed=True)
    said = "".join(line["message"]["content"] for line in lines)
    assert (said.strip(), lines[-1]["done"], lines[-1]["message"]["role"]) == ("4", True, "assistant")
    messages += [{"role": "assistant", "content": said}, {"role": "user", "content": "What is 3+3?"}]
    assert call(node, "POST", "/api/chat", body | {"keep_alive": "5m0s"}, streamed=True)[-1]["done"]


def test_run_with_a_prompt_answers_and_has_what_verbose_prints(node: Node) -> None:
    lines = generate(node, "pocket", "What is 2+2?", options={"temperature": 0})
    assert "".join(line["response"] for line in lines).strip() == "4"
    last = lines[-1]
    assert all(last[name] > 0 for name in ("total_duration", "prompt_eval_count", "eval_count"))


def test_run_of_a_model_that_embeds_prints_the_vector(node: Node) -> None:
    assert "embedding" in show(node, "small")["capabilities"]
    [found] = call(node, "POST", "/api/embed", {"model": "small", "input": "hello", "options": None})
    assert [len(vector) for vector in found["embeddings"]] == [3]


def test_ps_and_stop(node: Node) -> None:
    generate(node, "small", keep_alive="5m0s")
    [found] = call(node, "GET", "/api/ps")
    assert [model["name"] for model in found["models"]] == ["small:latest"]
    [stopped] = generate(node, "small", options=None, keep_alive="0s")
    assert stopped["done_reason"] == "unload"


@pytest.mark.parametrize("named", [{"model": "small"}, {"name": "small"}])
def test_pull_shows_its_progress(node: Node, named: dict[str, str]) -> None:
    steps = pull(node, **named)
    assert [step["status"] for step in steps] == ["pulling manifest", "pulling ab", "pulling ab", "success"]
    assert [(step["completed"], step["total"]) for step in steps if "total" in step] == [
        (50, 100),
        (100, 100),
    ]
    with pytest.raises(AssertionError, match="no such model"):
        pull(node, name="missing")


def test_what_is_the_owners_says_so(node: Node) -> None:
    for method, path, body in (
        ("DELETE", "/api/delete", {"model": "", "name": "pocket"}),
        ("POST", "/api/copy", {"source": "pocket", "destination": "other"}),
        ("POST", "/api/push", {"model": "", "username": "", "password": "", "name": "pocket"}),
    ):
        with pytest.raises(AssertionError, match="opengateway models"):
            call(node, method, path, body, streamed=path == "/api/push")


def test_version(node: Node) -> None:
    [found] = call(node, "GET", "/api/version")
    assert re.fullmatch(r"\d+\.\d+\.\d+", found["version"])


@pytest.mark.parametrize(
    ("path", "field", "value"),
    [
        ("/api/show", "system", "Be brief."),
        ("/api/show", "options", {"num_ctx": 1}),
        ("/api/pull", "username", "me"),
        ("/api/chat", "truncate", True),
        ("/api/generate", "shift", True),
    ],
)
def test_what_is_not_hollow_is_refused_by_name(node: Node, path: str, field: str, value: Any) -> None:
    body = {"model": "pocket", "prompt": "x", "messages": [{"role": "user", "content": "x"}], field: value}
    wanted = {"/api/chat": ("messages",), "/api/generate": ("prompt",)}.get(path, ())
    with pytest.raises(AssertionError, match=f"`{field}`"):
        call(node, "POST", path, {k: v for k, v in body.items() if k in ("model", field, *wanted)})


TOOL = {"type": "function", "function": {"name": "add", "parameters": {"type": "object"}}}


@pytest.mark.parametrize(
    ("more", "named"),
    [
        ({"tools": [TOOL], "tool_choice": "required"}, ("tools", "tool_choice", "messages")),
        ({"response_format": {"type": "json_object"}}, ("response_format", "messages")),
        ({}, ("messages",)),
    ],
)
def test_what_a_model_of_an_ollama_cannot_is_refused_by_name(
    node: Node, more: dict[str, Any], named: tuple[str, ...]
) -> None:
    """`small` embeds, and nothing else."""
    asked = {"model": "small", "messages": [{"role": "user", "content": "x"}], **more}
    status, answer = node.request("POST", "/v1/chat/completions", asked)
    assert status == 400, answer
    assert answer["error"]["code"] == "unsupported_parameter"
    assert answer["error"]["param"] in named
