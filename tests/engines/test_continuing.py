"""Engines that take up an answer where another left it: a real llama.cpp, and servers that are made up."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from engine_lab import chat, pocket_engine, run, serving

from opengateway.engines.ollama_format import body_for as ollama_body
from opengateway.engines.ollama_format import continues
from opengateway.engines.openai import OpenAIServer
from opengateway.engines.protocol import GenerateRequest
from opengateway.engines.stream import Chunk

FOX = chat("Tell me a story about a fox.", max_tokens=100)
PLAIN = GenerateRequest("completion", "pocket", {"prompt": "The cat", "temperature": 0, "max_tokens": 20})


def texts(chunks: list[Chunk]) -> tuple[str, ...]:
    assert all(isinstance(chunk, str) for chunk in chunks)
    return tuple(map(str, chunks))


@pytest.mark.parametrize(
    "whole", [FOX, chat("What is the capital of France?"), PLAIN], ids=["story", "fact", "text"]
)
def test_llama_cpp_goes_on_from_every_token_as_if_nothing_had_happened(
    tmp_path: Path, whole: GenerateRequest
) -> None:

    async def main() -> None:
        async with pocket_engine(tmp_path) as engine:
            chunks, end = await run(engine, whole)
            said = texts(chunks)
            for cut in range(1, len(said) + 1, 7 if len(said) > 50 else 1):
                rest, finished = await run(engine, replace(whole, partial=said[:cut]))
                assert said[:cut] + texts(rest) == said
                assert finished.reason == end.reason
                assert finished.partial_tokens == cut
                assert finished.prompt_tokens == end.prompt_tokens + cut
                assert finished.completion_tokens == end.completion_tokens - cut

    asyncio.run(main())


def test_a_text_that_its_own_tokenizer_would_cut_otherwise_keeps_its_tokens(tmp_path: Path) -> None:
    """ " vill" is no token, but "v" is: chunks are what the model said, whatever they could have been."""

    async def main() -> None:
        async with pocket_engine(tmp_path) as engine:
            odd = replace(FOX, partial=("O", "n", "c", "e"))
            assert await engine.count_prompt(odd) == (await engine.count_prompt(FOX) or 0) + 4
            _, finished = await run(engine, odd)
            assert finished.prompt_tokens == 26

    asyncio.run(main())


def test_the_last_token_was_there_and_only_the_end_is_missing(tmp_path: Path) -> None:

    async def main() -> None:
        async with pocket_engine(tmp_path) as engine:
            short = chat("Tell me a story about a fox.", max_tokens=3)
            chunks, _ = await run(engine, short)
            rest, finished = await run(engine, replace(short, partial=texts(chunks)))
            assert (rest, finished.reason, finished.completion_tokens) == ([], "length", 0)

    asyncio.run(main())


def test_vllm_is_asked_in_its_own_words_and_blanks_at_the_seam_are_not_doubled() -> None:

    async def main() -> None:
        asked: list[dict[str, Any]] = []

        async def answer(request: web.Request) -> web.StreamResponse:
            if request.method == "GET":
                return web.json_response({"data": [{"id": "m", "owned_by": "vllm", "max_model_len": 100}]})
            asked.append(await request.json())
            events = [
                {"choices": [{"delta": {"content": " sleeps"}}]},
                {"choices": [{"delta": {}, "finish_reason": "stop"}]},
            ]
            body = "".join(f"data: {json.dumps(event)}\n\n" for event in events) + "data: [DONE]\n\n"
            return web.Response(text=body, content_type="text/event-stream")

        async with serving(answer) as url:
            server = OpenAIServer(url)
            await server.start()
            try:
                [info] = await server.models()
                assert "continue" in info.abilities
                request = replace(chat("A story", model="m", max_tokens=10), partial=("The", " fox", " "))
                chunks, _ = await run(server, request)
            finally:
                await server.close()
        assert chunks == ["sleeps"]
        assert asked[0]["messages"][-1] == {"role": "assistant", "content": "The fox"}
        assert (asked[0]["continue_final_message"], asked[0]["add_generation_prompt"]) == (True, False)
        assert asked[0]["max_tokens"] == 7

    asyncio.run(main())


@pytest.mark.parametrize(
    ("version", "can"),
    [
        ("0.6.4", True),
        ("0.11.2rc1.dev5+gabcdef", True),
        ("0.6.4.post1", True),
        ("0.6.3.post1", False),
        ("0.5.9", False),
        ("", True),
    ],
)
def test_a_vllm_that_would_say_the_beginning_once_more_is_not_said_to_continue(
    version: str, *, can: bool
) -> None:

    async def main() -> None:
        async def answer(request: web.Request) -> web.StreamResponse:
            if request.path == "/version":
                return web.json_response(
                    {"version": version} if version else {}, status=200 if version else 404
                )
            return web.json_response({"data": [{"id": "m", "owned_by": "vllm"}]})

        async with serving(answer) as url:
            server = OpenAIServer(url)
            await server.start()
            [info] = await server.models()
            await server.close()
        assert ("continue" in info.abilities) == can

    asyncio.run(main())


def test_a_server_that_may_not_know_how_is_not_said_to_continue() -> None:

    async def main() -> None:
        async def answer(request: web.Request) -> web.StreamResponse:
            del request
            return web.json_response({"data": [{"id": "m", "owned_by": "organization-owner"}]})

        async with serving(answer) as url:
            server = OpenAIServer(url)
            await server.start()
            [info] = await server.models()
            await server.close()
        assert "continue" not in info.abilities

    asyncio.run(main())


def test_ollama_gets_the_beginning_as_its_own_last_message() -> None:
    request = replace(chat("A story", model="m", max_tokens=10), partial=("The", " fox"))
    body = json.loads(ollama_body(request, "m", None))
    assert body["messages"][-1] == {"role": "assistant", "content": "The fox"}
    assert body["options"]["num_predict"] == 8
    raw = json.loads(ollama_body(replace(PLAIN, partial=(" sat",)), "m", None))
    assert (raw["prompt"], raw["raw"]) == ("The cat sat", True)


@pytest.mark.parametrize(
    ("template", "can"),
    [
        ("{{ .System }} USER: {{ .Prompt }} ASSISTANT: {{ .Response }}</s>", True),
        ("{{ range $i, $_ := .Messages }}{{ .Content }}{{ if not $last }}<|im_end|>{{ end }}{{ end }}", True),
        ("{{ range .Messages }}{{ .Role }}{{ .Content }}<end>{{ end }}", False),
        ("", False),
    ],
)
def test_ollama_continues_where_the_template_leaves_the_last_message_open(
    template: str, *, can: bool
) -> None:
    assert continues(template, ["completion"]) == can
    assert not continues(template, ["completion", "thinking"])
    assert not continues(template, ["completion"], "FROM /blob\nTEMPLATE x\nRENDERER qwen3-coder\n")
