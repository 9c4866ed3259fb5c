"""Ollama's protocol in front of an Ollama: models are fetched, embedded with, loaded and unloaded there."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import ollama
import pytest
from harness import Node, until

SERVER = Path(__file__).with_name("small_ollama.py")


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    folder = tmp_path_factory.mktemp("behind")
    process = subprocess.Popen([sys.executable, str(SERVER)], stdout=subprocess.PIPE)
    try:
        assert process.stdout is not None
        url = process.stdout.readline().decode().strip()
        with Node(folder, "a", engine={"kind": "ollama", "url": url}) as made:
            until(lambda: made.get("/api/tags")["models"], "the model is served")
            yield made
    finally:
        process.kill()
        process.wait()
        assert process.stdout is not None
        process.stdout.close()


@pytest.fixture
def client(node: Node) -> Iterator[ollama.Client]:
    made = ollama.Client(node.http, timeout=30)
    yield made
    made._client.close()


def test_a_pull_shows_its_progress_and_ends_with_success(client: ollama.Client) -> None:
    steps = list(client.pull("small", stream=True))
    assert steps[0].status == "pulling manifest"
    assert [(step.completed, step.total) for step in steps if step.total] == [(50, 100), (100, 100)]
    assert steps[-1].status == "success"
    assert client.pull("small").status == "success"


def test_a_pull_that_fails_says_so_in_the_stream_and_by_its_status(client: ollama.Client) -> None:
    with pytest.raises(ollama.ResponseError, match="no such model"):
        list(client.pull("missing", stream=True))
    with pytest.raises(ollama.ResponseError, match="no such model"):
        client.pull("missing")


def test_embeddings_come_in_both_formats(client: ollama.Client) -> None:
    answer = client.embed("small", ["one", "two"], dimensions=3, truncate=True)
    assert [len(vector) for vector in answer.embeddings] == [3, 3]
    assert answer.prompt_eval_count == 2
    assert list(client.embeddings("small", "one").embedding) == [0.0, 1.0, 2.0]
    assert list(client.embeddings("small", "").embedding) == []


def test_what_runs_is_what_ollama_has_loaded(client: ollama.Client) -> None:
    client.generate("small", "", keep_alive=0)
    assert not client.ps().models
    client.generate("small", "", keep_alive="5m")
    assert [model.model for model in client.ps().models] == ["small:latest"]


def test_a_model_of_this_nodes_ollama_is_shown_in_its_own_words(client: ollama.Client) -> None:
    shown = client.show("small")
    assert shown.template == "{{ .Prompt }}"
    assert (shown.modelinfo or {})["small.embedding_length"] == 3
