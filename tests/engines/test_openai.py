"""The OpenAI adapter against real sockets: what servers send, refuse, and break."""

from __future__ import annotations

import asyncio
import json
import socket
from typing import Any

import pytest
from aiohttp import web
from engine_lab import chat, run, serving, until

from opengateway.engines.connection import PIECE
from opengateway.engines.openai import OpenAIServer
from opengateway.engines.openai_format import EventStream, whole_answer
from opengateway.engines.protocol import GenerateRequest
from opengateway.engines.stream import STREAM_LIMIT, Chunk, Stream
from opengateway.errors import (
    AllBusy,
    BadRequest,
    Cancelled,
    ContextTooLong,
    EngineFailed,
    EngineUnavailable,
    RequestError,
    UnknownModel,
)


def event(delta: dict[str, Any], reason: str | None = None, **more: Any) -> bytes:
    choice = {"index": 0, "delta": delta, "finish_reason": reason}
    return b"data: " + json.dumps({"choices": [choice], **more}).encode() + b"\n\n"


USAGE = b'data: {"choices":[],"usage":{"prompt_tokens":7,"completion_tokens":2}}\n\n'
DONE = b"data: [DONE]\n\n"
HELLO = (
    event({"role": "assistant", "content": ""}) + event({"content": "Hel"}) + event({"content": "lo"})
    + event({}, "stop") + USAGE + DONE
)  # fmt: skip


def replying(
    body: bytes, *, status: int = 200, kind: str = "text/event-stream", headers: dict[str, str] | None = None
) -> Any:
    async def answer(request: web.Request) -> web.Response:
        if request.path.endswith("/models"):
            return web.json_response({"data": [{"id": "m", "max_model_len": 4096}]})
        await request.read()
        return web.Response(body=body, status=status, content_type=kind, headers=headers)

    return answer


async def asked(handler: Any, request: GenerateRequest | None = None) -> tuple[list[Chunk], Any]:
    async with serving(handler) as url:
        engine = OpenAIServer(url, "secret")
        await engine.start()
        try:
            return await run(engine, request or chat("Hello", model="m"))
        finally:
            await engine.close()


@pytest.mark.parametrize("step", [1, 2, 7, 100, 10_000])
@pytest.mark.parametrize("end", [b"\n", b"\r\n"])
def test_events_are_understood_however_they_are_cut(step: int, end: bytes) -> None:
    data = b": a comment\n\nevent: x\ndata:" + HELLO[6:]
    data = data.replace(b"\n", end)
    events = EventStream()
    chunks = [c for at in range(0, len(data), step) for c in events.feed(data[at : at + step])]
    assert chunks == ["Hel", "lo"]
    assert events.done
    assert (events.finished().prompt_tokens, events.finished().completion_tokens) == (7, 2)


def test_a_stream_and_a_whole_answer_give_the_same_text() -> None:
    whole = {
        "choices": [{"message": {"role": "assistant", "content": "Hello"}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 7, "completion_tokens": 2},
    }
    streamed = asyncio.run(asked(replying(HELLO)))
    at_once = asyncio.run(
        asked(
            replying(json.dumps(whole).encode(), kind="application/json"),
            chat("Hello", model="m", stream=False),
        )
    )
    assert streamed[0] == ["Hel", "lo"]
    assert at_once[0] == ["Hello"]
    assert streamed[1] == at_once[1]


def test_without_usage_chunks_are_counted() -> None:
    _, end = asyncio.run(asked(replying(HELLO.replace(USAGE, b"")), chat("x" * 40, model="m")))
    assert (end.prompt_tokens, end.completion_tokens) == (10, 2)


def test_reasoning_tool_calls_and_logprobs_are_whole_deltas() -> None:
    call = {"index": 0, "id": "a", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    logprobs = {"content": [{"token": "x", "logprob": -0.1}]}
    body = (
        event({"role": "assistant", "content": None, "reasoning_content": "hm"})
        + event({"tool_calls": [call]})
        + b"data: "
        + json.dumps({"choices": [{"delta": {"content": "x"}, "logprobs": logprobs}]}).encode()
        + b"\n\n"
        + event({}, "tool_calls")
        + DONE
    )
    chunks, end = asyncio.run(asked(replying(body)))
    assert chunks == [
        {"reasoning_content": "hm"},
        {"tool_calls": [call]},
        {"content": "x", "logprobs": logprobs},
    ]
    assert end.reason == "tool_calls"


def test_an_old_server_that_refuses_stream_options_is_asked_without_them() -> None:
    seen: list[dict[str, Any]] = []

    async def answer(request: web.Request) -> web.Response:
        if request.path.endswith("/models"):
            return web.json_response({"data": []})
        seen.append(await request.json())
        if "stream_options" in seen[-1]:
            error = {"error": {"message": "Unknown field: stream_options"}}
            return web.json_response(error, status=400)
        return web.Response(body=HELLO, content_type="text/event-stream")

    async def main() -> None:
        async with serving(answer) as url:
            engine = OpenAIServer(url)
            await engine.start()
            for _ in range(2):
                assert (await run(engine, chat("Hello", model="m")))[0] == ["Hel", "lo"]
            await engine.close()

    asyncio.run(main())
    assert ["stream_options" in body for body in seen] == [True, False, False]


def test_only_fields_that_shape_this_answer_are_sent() -> None:
    seen: list[dict[str, Any]] = []

    async def answer(request: web.Request) -> web.Response:
        assert request.headers["Authorization"] == "Bearer secret"
        if request.path.endswith("/models"):
            return web.json_response({"data": []})
        seen.append(await request.json())
        return web.Response(body=HELLO, content_type="text/event-stream")

    request = chat("Hi", model="m", seed=3, stop=["x"], top_p=0.5, id_slot=0, store=True, stream_options=9)
    asyncio.run(asked(answer, request))
    (body,) = seen
    assert body == {
        "messages": [{"role": "user", "content": "Hi"}], "temperature": 0, "seed": 3, "stop": ["x"],
        "top_p": 0.5, "model": "m", "stream": True, "stream_options": {"include_usage": True},
    }  # fmt: skip


def error(message: str, **more: Any) -> bytes:
    return json.dumps({"error": {"message": message, **more}}).encode()


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        (404, error("The model `m` does not exist", code="model_not_found"), UnknownModel),
        (400, error("This model's maximum context length is 4096 tokens"), ContextTooLong),
        (400, error("too long", code="context_length_exceeded"), ContextTooLong),
        (400, error("too long", type="exceed_context_size_error"), ContextTooLong),
        (400, error("temperature must be a number"), BadRequest),
        (422, b'{"detail": "no"}', BadRequest),
        (401, error("Incorrect API key"), EngineUnavailable),
        (403, b"<html>no</html>", EngineUnavailable),
        (429, error("Rate limit"), AllBusy),
        (500, error("CUDA error"), EngineFailed),
        (502, b"", EngineFailed),
        (503, error("Loading model"), EngineUnavailable),
        (302, b"", EngineFailed),
    ],
)
@pytest.mark.parametrize("stream", [True, False])
def test_a_refusal_means_what_it_says(
    status: int, body: bytes, kind: type[RequestError], stream: bool
) -> None:
    handler = replying(body, status=status, kind="application/json", headers={"Retry-After": "7"})
    with pytest.raises(kind) as refusal:
        asyncio.run(asked(handler, chat("Hello", model="m", stream=stream)))
    assert type(refusal.value) is kind
    if status in (429, 503):
        assert refusal.value.retry_after == 7
    if status in (401, 403):
        assert "engine.api_key" in refusal.value.hint


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (event({"content": "He"}), EngineFailed),  # breaks off
        (event({"content": "He"}) + b'data: {"error":{"message":"out of memory"}}\n\n', EngineFailed),
        (b'error: {"message":"out of memory"}\n\n', EngineFailed),
        (b"data: {broken\n\n", EngineFailed),
        (b'data: {"choices":3}\n\n', EngineFailed),
        (event({"content": 3}), EngineFailed),
        (event({"content": ["x"]}), EngineFailed),
        (event({}, "stop") + b'data: {"choices":[],"usage":{"prompt_tokens":"many"}}\n\n', EngineFailed),
        (b"data: {" + b"x" * (1024 * 1024 + 100), EngineFailed),
        (b"<html>hello</html>", EngineFailed),
        (b"", EngineFailed),
    ],
)
def test_a_broken_stream_is_a_named_failure(body: bytes, kind: type[RequestError]) -> None:
    with pytest.raises(kind):
        asyncio.run(asked(replying(body)))


@pytest.mark.parametrize("reply", [{}, {"choices": []}, {"choices": [{}]}, {"choices": [{"message": 3}]}, []])
def test_a_broken_whole_answer_is_a_named_failure(reply: Any) -> None:
    with pytest.raises(EngineFailed):
        whole_answer(reply, 0)


def test_nothing_listening_is_unavailable_and_says_what_to_do() -> None:
    with socket.socket() as reserved:  # bound but not listening: nobody else gets the port
        reserved.bind(("127.0.0.1", 0))
        engine = OpenAIServer(f"http://127.0.0.1:{reserved.getsockname()[1]}")
        with pytest.raises(EngineUnavailable) as refusal:
            asyncio.run(engine.start())
    assert "engine.url" in refusal.value.hint


def test_a_kept_connection_that_the_server_has_closed_is_no_failure() -> None:
    """The server closes after every answer without saying so, as llama.cpp does after streams."""

    async def main() -> None:
        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            head = await reader.readuntil(b"\r\n\r\n")
            length = int(dict(h.split(b": ") for h in head.split(b"\r\n")[1:-2]).get(b"Content-Length", 0))
            await reader.readexactly(length)
            body = b'{"data":[]}' if b"/models" in head else json.dumps(
                {"choices": [{"message": {"content": "x"}, "finish_reason": "stop"}]}
            ).encode()  # fmt: skip
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n")
            writer.write(b"Content-Length: %d\r\n\r\n%s" % (len(body), body))
            await writer.drain()
            writer.close()
            await writer.wait_closed()

        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        async with server:
            engine = OpenAIServer(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}")
            await engine.start()
            for _ in range(20):
                chunks, _ = await run(engine, chat("Hello", model="m", stream=False))
                assert chunks == ["x"]
            await engine.close()

    asyncio.run(main())


@pytest.mark.parametrize("how", ["task", "reader"])
def test_cancelling_closes_the_connection_at_once(how: str) -> None:
    gone = asyncio.Event()

    async def answer(request: web.Request) -> web.StreamResponse:
        if request.path.endswith("/models"):
            return web.json_response({"data": []})
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        try:
            while True:
                await response.write(event({"content": "x"}))
                await asyncio.sleep(0.001)
        finally:
            gone.set()

    async def main() -> None:
        async with serving(answer) as url:
            engine = OpenAIServer(url)
            await engine.start()
            stream = Stream()
            task = asyncio.create_task(engine.generate(chat("Hello", model="m"), stream))
            await stream.read()
            if how == "task":
                task.cancel()
            else:
                stream.cancel()
            (ending,) = await asyncio.gather(task, return_exceptions=True)
            assert isinstance(ending, asyncio.CancelledError | Cancelled)
            async with asyncio.timeout(5):
                await gone.wait()
            await engine.close()

    asyncio.run(main())


def test_a_slow_reader_holds_up_the_engine_and_not_our_memory() -> None:
    total, piece = 60_000, event({"content": "word"})

    async def answer(request: web.Request) -> web.StreamResponse:
        if request.path.endswith("/models"):
            return web.json_response({"data": []})
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        for _ in range(total // 100):
            await response.write(piece * 100)
        await response.write(event({}, "stop") + DONE)
        return response

    async def main() -> None:
        async with serving(answer) as url:
            engine = OpenAIServer(url)
            await engine.start()
            stream = Stream()
            task = asyncio.create_task(engine.generate(chat("Hello", model="m"), stream))
            await until(lambda: len(stream._waiting) >= 256)
            read, most = 0, 0
            while True:
                for _ in range(3):  # the producer gets every chance to run ahead
                    await asyncio.sleep(0)
                most = max(most, len(stream._waiting))
                if not (chunks := await stream.read()):
                    break
                read += len(chunks)
            await task
            assert read == total
            assert most <= STREAM_LIMIT + PIECE // len(piece)
            await engine.close()

    asyncio.run(main())


def test_embeddings_are_passed_through() -> None:
    reply = {"object": "list", "data": [{"index": 0, "embedding": [0.5]}], "usage": {"prompt_tokens": 3}}
    handler = replying(json.dumps(reply).encode(), kind="application/json")
    chunks, end = asyncio.run(asked(handler, GenerateRequest("embedding", "m", {"input": "x"})))
    assert chunks == [reply]
    assert end.prompt_tokens == 3


def test_a_configured_model_is_served_even_if_it_is_not_listed() -> None:
    async def main() -> None:
        async with serving(replying(b"")) as url:
            for model, context in (("", 4096), ("m", 4096), ("hidden", 0)):
                engine = OpenAIServer(url + "/v1/", model=model)
                await engine.start()
                (info,) = await engine.models()
                assert (info.name, info.context) == (model or "m", context)
                await engine.close()

    asyncio.run(main())
