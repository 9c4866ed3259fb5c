"""The Ollama adapter against exchanges recorded from a real Ollama server, replayed over real sockets.

The replay checks what we send against what was sent then: same path, same fields, same values.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from engine_lab import chat, run, serving

from opengateway.engines.ollama import Ollama, default_url, detect
from opengateway.engines.ollama_format import LineStream, body_for
from opengateway.engines.protocol import GenerateRequest
from opengateway.errors import (
    BadRequest,
    ContextTooLong,
    EngineFailed,
    EngineUnavailable,
    RequestError,
    UnknownModel,
)

GOLDEN = Path(__file__).parent.parent / "data" / "ollama_golden"
QUESTION = [{"role": "user", "content": "What is 2+2?"}]
STORY = [{"role": "user", "content": "Tell me a story about a fox."}]


def recorded(name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((GOLDEN / f"{name}.json").read_text())
    return found


def differences(sent: dict[str, Any], then: dict[str, Any]) -> list[str]:
    """What the request of ours lacks or says otherwise. `num_thread` was the recorder's own."""
    options = {key: value for key, value in then.get("options", {}).items() if key != "num_thread"}
    wanted = {"stream": True} | then | ({"options": options} if options else {})
    extra = sent.keys() - wanted.keys() - {"truncate"}
    wrong = [key for key, value in wanted.items() if key != "messages" and sent.get(key) != value]
    if [(m["role"], m["content"]) for m in sent.get("messages", ())] != [
        (m["role"], m["content"]) for m in then.get("messages", ())
    ]:
        wrong.append("messages")
    return [f"extra {key}" for key in extra] + [f"{key}: {sent.get(key)!r}" for key in wrong]


class Replay:
    """Answers as the real server did. Only the named exchanges exist."""

    def __init__(self, *names: str) -> None:
        self.exchanges = [recorded(name) for name in ("root", "version", *names)]
        self.problems: list[str] = []
        self.busy = 0
        """How many times 503 comes first."""

    async def answer(self, request: web.Request) -> web.StreamResponse:
        found = next(
            (e for e in self.exchanges if (e["method"], e["path"]) == (request.method, request.path)), None
        )
        if found is None:
            self.problems.append(f"asked for {request.method} {request.path}")
            return web.Response(status=418)
        if self.busy and request.method == "POST":
            self.busy -= 1
            error = {"error": "server busy, please try again. maximum pending requests exceeded"}
            return web.json_response(error, status=503)
        sent = await request.read()
        if found["path"] in ("/api/chat", "/api/generate"):
            self.problems += differences(json.loads(sent), found["request"])
        response = web.StreamResponse(status=found["status"])
        response.content_type = found["headers"]["Content-Type"].split(";")[0]
        await response.prepare(request)
        for line in found["body"].splitlines(keepends=True):
            await response.write(line.encode())
        return response


@asynccontextmanager
async def replaying(*names: str, busy: int = 0) -> AsyncIterator[Ollama]:
    replay = Replay(*names)
    async with serving(replay.answer) as url:
        engine = Ollama(url)
        await engine.start()
        replay.busy = busy
        try:
            yield engine
        finally:
            await engine.close()
    assert not replay.problems


def answered(name: str, request: GenerateRequest, *, busy: int = 0) -> tuple[list[Any], Any]:
    async def main() -> tuple[list[Any], Any]:
        async with replaying(name, busy=busy) as engine:
            return await run(engine, request)

    return asyncio.run(main())


def tiny(messages: list[dict[str, Any]], *, stream: bool = True, **body: Any) -> GenerateRequest:
    return chat("", model="tiny", stream=stream, messages=messages, **body)


@pytest.mark.parametrize(("name", "stream"), [("chat_stream", True), ("chat_nostream", False)])
def test_a_chat_is_answered_as_recorded(name: str, stream: bool) -> None:
    chunks, end = answered(name, tiny(QUESTION, stream=stream, max_tokens=40))
    assert chunks == ["4"]
    assert (end.reason, end.prompt_tokens, end.completion_tokens) == ("stop", 19, 2)
    assert 0 < end.generate_seconds < 0.01


def test_an_answer_cut_by_its_limit_says_so() -> None:
    chunks, end = answered("chat_length", tiny(STORY, stream=False, max_completion_tokens=5))
    assert chunks == ["Once upon a time there"]
    assert (end.reason, end.completion_tokens) == ("length", 5)


def test_stop_words_become_a_list() -> None:
    count = [{"role": "user", "content": "Count to 5."}]
    chunks, end = answered("chat_stop", tiny(count, stream=False, max_tokens=40, stop="4"))
    assert (chunks, end.reason) == (["1, 2, 3, "], "stop")


def test_a_json_schema_becomes_the_format() -> None:
    schema = {"type": "object", "properties": {"answer": {"type": "integer"}}, "required": ["answer"]}
    wanted = {"type": "json_schema", "json_schema": {"name": "x", "schema": schema}}
    chunks, _ = answered("chat_format", tiny(QUESTION, stream=False, max_tokens=40, response_format=wanted))
    assert json.loads(chunks[0]) == {"answer": 63600}


def test_tool_calls_come_back_as_openai_has_them() -> None:
    then = recorded("chat_tools")["request"]
    chunks, end = answered("chat_tools", tiny(then["messages"], max_tokens=100, tools=then["tools"]))
    (call,) = chunks[0]["tool_calls"]
    assert call["id"] == "ABCSG5AL8ovM5I3XcdN5qJt2VENqROzU"
    assert (call["index"], call["type"]) == (0, "function")
    assert call["function"] == {"name": "get_weather", "arguments": '{"city":"Cairo"}'}
    assert end.reason == "tool_calls"


def test_a_completion_is_raw_so_that_the_text_is_continued() -> None:
    prompt = recorded("generate_raw")["request"]["prompt"]
    body = {"prompt": prompt, "max_tokens": 40, "temperature": 0}
    chunks, end = answered("generate_raw", GenerateRequest("completion", "tiny", body, stream=False))
    assert (chunks, end.completion_tokens) == (["Hello! How can I help you?"], 11)


def test_streamed_lines_are_understood_however_they_are_cut() -> None:
    data = recorded("generate_stream")["body"].encode()
    for step in (1, 3, 50, 10_000):
        lines = LineStream()
        chunks = [c for at in range(0, len(data), step) for c in lines.feed(data[at : at + step])]
        assert "".join(map(str, chunks)) == "Hello! How can I help you?"
        assert lines.finished().completion_tokens == 11


@pytest.mark.parametrize("name", ["chat_load", "unload"])
def test_an_empty_request_that_only_loads_a_model_is_an_empty_answer(name: str) -> None:
    lines = LineStream()
    assert lines.feed(recorded(name)["body"].encode() + b"\n") == []
    assert lines.finished().reason == "stop"


@pytest.mark.parametrize(
    ("name", "kind", "words"),
    [
        ("chat_404", UnknownModel, "model 'nope' not found"),
        ("chat_nomodel", BadRequest, "model is required"),
        ("chat_badjson", BadRequest, "invalid character"),
    ],
)
def test_a_recorded_refusal_means_what_it_says(name: str, kind: type[RequestError], words: str) -> None:
    exchange = recorded(name)

    async def answer(request: web.Request) -> web.Response:
        await request.read()
        if request.method == "GET":
            return web.Response(body=recorded("root")["body"])
        return web.Response(status=exchange["status"], body=exchange["body"], content_type="application/json")

    async def main() -> None:
        async with serving(answer) as url:
            engine = Ollama(url)
            await engine.start()
            with pytest.raises(kind, match=words):
                await run(engine, tiny(QUESTION))
            await engine.close()

    asyncio.run(main())


def test_an_embedding_that_the_model_cannot_give_is_refused() -> None:
    async def main() -> None:
        async with replaying("embed") as engine:
            with pytest.raises(BadRequest, match="does not support embeddings"):
                await engine.embed(GenerateRequest("embedding", "tiny", {"input": "hello"}))

    asyncio.run(main())


def test_embeddings_come_back_as_openai_has_them() -> None:
    async def answer(request: web.Request) -> web.Response:
        if request.method == "GET":
            return web.Response(body=recorded("root")["body"])
        assert await request.json() == {"model": "tiny", "input": ["a", "b"]}
        return web.json_response({"embeddings": [[0.5, 1.0], [2.0, 0.25]], "prompt_eval_count": 2})

    async def main() -> None:
        async with serving(answer) as url:
            engine = Ollama(url)
            await engine.start()
            body: dict[str, Any] = {"input": ["a", "b"]}
            (reply,), end = await run(engine, GenerateRequest("embedding", "tiny", body))
            assert [item["embedding"] for item in reply["data"]] == [[0.5, 1.0], [2.0, 0.25]]
            assert end.prompt_tokens == 2
            body["encoding_format"] = "base64"
            packed = await engine.embed(GenerateRequest("embedding", "tiny", body))
            assert packed["data"][0]["embedding"] == "AAAAPwAAgD8="
            await engine.close()

    asyncio.run(main())


def test_a_server_that_is_loading_is_waited_for() -> None:
    chunks, _ = answered("chat_stream", tiny(QUESTION, max_tokens=40), busy=2)
    assert chunks == ["4"]


@pytest.mark.parametrize(
    ("line", "kind"),
    [
        (b'{"error":"llama runner process has terminated: exit status 2"}\n', EngineFailed),
        (b'{"error":"prompt exceeds the context length"}\n', ContextTooLong),
        (b'{"message":{"content":3},"done":false}\n', EngineFailed),
        (b"[1]\n", EngineFailed),
        (b"{broken\n", EngineFailed),
        (b"", EngineFailed),
        (b'{"done":true,"eval_count":"many"}\n', EngineFailed),
        (b'{"message":{"tool_calls":[{}]}}\n', EngineFailed),
        (b"x" * (1024 * 1024 + 1), EngineFailed),
    ],
)
def test_an_error_in_mid_stream_under_http_200_is_a_named_failure(
    line: bytes, kind: type[RequestError]
) -> None:
    begun = b'{"message":{"role":"assistant","content":"4"},"done":false}\n'
    lines = LineStream()
    with pytest.raises(kind):
        lines.feed(begun + line)
        lines.finished()


def test_models_are_listed_with_what_they_can_do() -> None:
    async def main() -> None:
        async with replaying("tags", "show", "ps_loaded") as engine:
            for _ in range(2):
                (info,) = await engine.models()
            assert (info.name, info.quantisation, info.context) == ("tiny", "F16", 1024)
            assert info.digest.startswith("9441aeec")
            assert info.parameters == pytest.approx(0.00116)
            assert info.size == 2_350_230
            assert {"chat", "completion"} <= info.abilities
            assert "embedding" not in info.abilities
            assert await engine.loaded() == ["tiny:latest"]
            await engine.health()

    asyncio.run(main())


def test_control_calls_fail_by_name() -> None:
    async def main() -> None:
        async with replaying("show_404", "delete_404", "pull_fail") as engine:
            with pytest.raises(UnknownModel, match="not found"):
                await engine.show("nope")
            with pytest.raises(UnknownModel):
                await engine.remove("nope")
            steps: list[str] = []
            with pytest.raises(EngineFailed, match="no such host"):
                async for step in engine.pull("nope"):
                    steps.append(step["status"])  # noqa: PERF401 - what came before the error counts
            assert steps == ["pulling manifest"]

    asyncio.run(main())


def test_a_conversation_is_put_into_ollamas_terms() -> None:
    called = {"function": {"name": "f", "arguments": {"a": 1}}}
    call = {"id": "c1", "type": "function", "function": {"name": "f", "arguments": '{"a": 1}'}}
    image = {"type": "image_url", "image_url": {"url": "data:image/png;base64,QUJD"}}
    messages = [
        {"role": "developer", "content": "Be brief."},
        {"role": "user", "content": [{"type": "text", "text": "What is this?"}, image]},
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "c1", "content": "7"},
    ]
    body = json.loads(body_for(tiny(messages, reasoning_effort="low", top_k=3), "tiny", 2048))
    assert body["messages"] == [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "What is this?", "images": ["QUJD"]},
        {"role": "assistant", "content": "", "tool_calls": [called]},
        {"role": "tool", "content": "7", "tool_name": "f"},
    ]  # fmt: skip
    assert body["options"] == {"temperature": 0, "top_k": 3, "num_ctx": 2048}
    assert body["think"] == "low"
    assert body["truncate"] is False


@pytest.mark.parametrize(
    "body",
    [
        {"messages": [{"content": "x"}]},
        {"messages": "x"},
        {"messages": [{"role": "user", "content": [{"type": "audio"}]}]},
        {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "http://x/"}}]}]},
        {"messages": [{"role": "assistant", "tool_calls": [{"function": {"name": "f", "arguments": "{"}}]}]},
        {"messages": [], "response_format": {"type": "json_schema"}},
        {"messages": [], "n": 2},
    ],
)  # fmt: skip
def test_what_ollama_has_no_words_for_is_a_bad_request(body: dict[str, Any]) -> None:
    with pytest.raises(BadRequest):
        body_for(GenerateRequest("chat", "tiny", body), "tiny", None)


@pytest.mark.parametrize(
    ("given", "url"),
    [
        ("", "http://127.0.0.1:11434"),
        ("0.0.0.0", "http://127.0.0.1:11434"),
        ("0.0.0.0:8080", "http://127.0.0.1:8080"),
        (":9000", "http://127.0.0.1:9000"),
        ("gpu.lan:1", "http://gpu.lan:1"),
        ("https://gpu.lan", "https://gpu.lan:11434"),
        ("http://[::1]:7/", "http://[::1]:7"),
        ("[::]", "http://127.0.0.1:11434"),
    ],
)
def test_its_address_follows_ollama_host(monkeypatch: pytest.MonkeyPatch, given: str, url: str) -> None:
    monkeypatch.setenv("OLLAMA_HOST", given)
    assert default_url() == url


def test_only_ollama_itself_is_taken_for_ollama() -> None:
    async def other(request: web.Request) -> web.Response:
        return web.json_response({"version": "1.0"})

    async def silent(request: web.Request) -> web.Response:
        await asyncio.sleep(30)
        return web.Response()

    async def main() -> None:
        async with serving(Replay().answer) as url:
            assert await detect(url)
        for server in (other, silent):
            async with serving(server) as url:
                assert not await detect(url)
        assert not await detect(url)
        with pytest.raises(EngineUnavailable) as refusal:
            await Ollama(url).start()
        assert "ollama serve" in refusal.value.hint

    asyncio.run(main())


def test_without_a_control_call_the_package_is_not_imported() -> None:
    code = "import sys, opengateway.engines.ollama; print('ollama' in sys.modules, 'httpx' in sys.modules)"
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert printed.split() == ["False", "False"]
