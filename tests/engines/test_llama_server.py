"""llama.cpp as a child process: it starts, answers, is cancelled, dies, and never outlives us."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import aiohttp
import psutil
import pytest
from engine_lab import ask, chat, pocket_engine, run, until

from opengateway.engines.llama_server import LlamaServer
from opengateway.engines.protocol import GenerateRequest
from opengateway.engines.stream import Stream
from opengateway.errors import (
    BadRequest,
    ContextTooLong,
    EngineFailed,
    EngineUnavailable,
    RequestError,
    UnknownModel,
)
from opengateway.models import pocket

ENDLESS = {"logit_bias": {"2": -100}}
"""The pocket model never ends its answer: token 2 is its end mark. It goes on to its 1,024 tokens."""

PARENT = """
import asyncio, sys
from pathlib import Path
from opengateway.engines.llama_server import LlamaServer
from opengateway.models import pocket

async def main():
    engines = [LlamaServer(pocket.path(), log=Path(sys.argv[1]) / f"{i}.log", threads=1) for i in range(2)]
    for engine in engines:
        await engine.start()
    print(*(engine.pid for engine in engines), flush=True)
    await asyncio.Event().wait()

asyncio.run(main())
"""


def gone(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def test_the_model_is_described_from_its_file(tmp_path: Path) -> None:
    async def main() -> None:
        async with pocket_engine(tmp_path) as engine:
            (info,) = await engine.models()
            assert (info.name, info.quantisation, info.context) == ("pocket", "Q8_0", 1024)
            assert info.digest == pocket.SHA256
            assert info.size == pocket.path().stat().st_size
            assert 0.0011 < info.parameters < 0.0012
            assert info.demo
            assert {"chat", "completion", "tools", "continue"} <= info.abilities

    asyncio.run(main())


def test_usage_and_times_are_told(tmp_path: Path) -> None:
    async def main() -> None:
        async with pocket_engine(tmp_path) as engine:
            for stream in (True, False):
                chunks, end = await run(engine, chat("What is 2+2?", stream=stream))
                assert chunks == ["4"]
                assert (end.reason, end.prompt_tokens, end.completion_tokens) == ("stop", 19, 2)
                assert end.prompt_seconds > 0
                assert end.generate_seconds > 0
            _, end = await run(engine, chat("Tell me a story.", max_completion_tokens=5))
            assert (end.reason, end.completion_tokens) == ("length", 5)

    asyncio.run(main())


def test_a_prompt_is_counted_as_it_will_be_when_it_is_answered(tmp_path: Path) -> None:
    function = {"name": "get_weather", "parameters": {"type": "object", "properties": {}}}
    begun = [{"role": "user", "content": "Count."}, {"role": "assistant", "content": "1, 2"}]
    plain = {"prompt": "<|im_start|>user\nHello<|im_end|>\n", "max_tokens": 1}
    requests = [
        chat("What is 2+2?", max_tokens=1),
        chat("", messages=begun, max_tokens=1),
        chat("Is it warm?", tools=[{"type": "function", "function": function}], max_tokens=1),
        GenerateRequest("completion", "", plain, stream=False),
    ]

    async def main() -> None:
        async with pocket_engine(tmp_path) as engine:
            for request in requests:
                counted = await engine.count_prompt(request)
                _, end = await run(engine, request)
                assert counted == end.prompt_tokens
            assert await engine.count_prompt(GenerateRequest("embedding", "", {"input": "x"})) is None

    asyncio.run(main())


def test_a_plain_completion_goes_on_with_the_text(tmp_path: Path) -> None:
    async def main() -> None:
        async with pocket_engine(tmp_path) as engine:
            prompt = "<|im_start|>user\nHello<|im_end|>\n<|im_start|>assistant\n"
            for stream in (True, False):
                body = {"prompt": prompt, "temperature": 0}
                chunks, _ = await run(engine, GenerateRequest("completion", "", body, stream))
                assert "".join(map(str, chunks)) == "Hello! How can I help you?"

    asyncio.run(main())


def test_a_tool_call_arrives_as_deltas(tmp_path: Path) -> None:
    city = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
    function = {"name": "get_weather", "description": "Get the weather for a city", "parameters": city}
    tools = [{"type": "function", "function": function}]

    async def main() -> None:
        async with pocket_engine(tmp_path) as engine:
            for stream in (True, False):
                request = chat("What is the weather in Paris?", stream=stream, tools=tools)
                chunks, end = await run(engine, request)
                calls = [call for chunk in chunks for call in chunk["tool_calls"]]
                assert calls[0]["function"]["name"] == "get_weather"
                assert calls[0]["index"] == 0
                assert "city" in json.loads("".join(call["function"]["arguments"] for call in calls))
                assert end.reason == "tool_calls"

    asyncio.run(main())


def test_a_partial_answer_is_continued_with_the_same_words(tmp_path: Path) -> None:
    async def main() -> None:
        async with pocket_engine(tmp_path) as engine:
            question = {"role": "user", "content": "Tell me a story about a fox."}
            chunks, _ = await run(engine, chat("", messages=[question]))
            for cut in (1, 20, len(chunks) - 2):
                begun = "".join(map(str, chunks[:cut]))
                messages = [question, {"role": "assistant", "content": begun}]
                rest = await ask(engine, "", messages=messages)
                assert begun + rest == "".join(map(str, chunks))

    asyncio.run(main())


def test_a_request_that_cannot_be_met_is_refused_by_its_name(tmp_path: Path) -> None:
    refusals: list[tuple[GenerateRequest, type[RequestError]]] = [
        (chat("What " * 5000), ContextTooLong),
        (chat("Hello", model="another"), UnknownModel),
        (chat("Hello", n=2), BadRequest),
        (chat("", messages="none"), BadRequest),
        (GenerateRequest("embedding", "pocket", {"input": "Hello"}), BadRequest),
    ]

    async def main() -> None:
        async with pocket_engine(tmp_path) as engine:
            for request, kind in refusals:
                with pytest.raises(kind):
                    await run(engine, request)
            assert await ask(engine, "What is 2+2?") == "4"

    asyncio.run(main())


def test_another_user_of_the_machine_gets_nothing(tmp_path: Path) -> None:
    async def main() -> None:
        async with pocket_engine(tmp_path) as engine, aiohttp.ClientSession() as stranger:
            assert engine.pid is not None
            child = psutil.Process(engine.pid)
            (listening,) = [c for c in child.net_connections() if c.status == psutil.CONN_LISTEN]
            assert listening.laddr.ip == "127.0.0.1"
            url = f"http://127.0.0.1:{listening.laddr.port}/v1/chat/completions"
            async with stranger.post(url, json={"messages": []}) as reply:
                assert reply.status == 401
            assert not [word for word in child.cmdline() if len(word) > 35 and "opengateway" not in word
                        and os.sep not in word]  # fmt: skip

    asyncio.run(main())


def test_cancelling_frees_the_slot_inside_llama_cpp(tmp_path: Path) -> None:
    async def main() -> None:
        async with pocket_engine(tmp_path, slots=1) as engine:
            stream = Stream()
            task = asyncio.create_task(engine.generate(chat("Tell me a story.", **ENDLESS), stream))
            await stream.read()
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

            async def idle() -> bool:
                return await engine.busy_slots() == 0

            await until(idle)
            assert "cancel task" in (tmp_path / "llama.log").read_text()
            assert await ask(engine, "What is 2+2?") == "4"

    asyncio.run(main())


def test_a_reader_who_goes_away_ends_the_request(tmp_path: Path) -> None:
    async def main() -> None:
        async with pocket_engine(tmp_path, slots=1) as engine:
            stream = Stream(limit=1)
            task = asyncio.create_task(engine.generate(chat("Tell me a story.", **ENDLESS), stream))
            await stream.read()
            stream.cancel()
            with pytest.raises(RequestError):
                await task

    asyncio.run(main())


def test_a_killed_engine_says_so_and_starts_again(tmp_path: Path) -> None:
    async def main() -> None:
        async with pocket_engine(tmp_path) as engine:
            ended = asyncio.create_task(engine.ended())
            stream = Stream(limit=1)
            task = asyncio.create_task(engine.generate(chat("Tell me a story.", **ENDLESS), stream))
            await stream.read()
            assert engine.pid is not None
            os.kill(engine.pid, signal.SIGSTOP)  # so that it cannot finish before it is killed
            os.kill(engine.pid, signal.SIGKILL)
            while not task.done():  # the reader goes on reading what had arrived
                reading = asyncio.create_task(stream.read())
                await asyncio.wait({task, reading}, return_when=asyncio.FIRST_COMPLETED)
                reading.cancel()
            with pytest.raises(EngineFailed, match="SIGKILL") as failure:
                await task
            assert "last words" in failure.value.message
            assert "SIGKILL" in await ended
            with pytest.raises(EngineUnavailable):
                await engine.health()
            with pytest.raises(EngineUnavailable, match="SIGKILL"):
                await ask(engine, "What is 2+2?")
            await engine.start()
            assert await ask(engine, "What is 2+2?") == "4"

    asyncio.run(main())


def test_closing_ends_the_child_and_frees_its_port(tmp_path: Path) -> None:
    async def main() -> None:
        async with pocket_engine(tmp_path) as engine:
            pid = engine.pid
            assert pid is not None
            ports = [c.laddr.port for c in psutil.Process(pid).net_connections() if not c.raddr]
            await engine.close()
            assert gone(pid)
            for port in ports:
                with pytest.raises(ConnectionRefusedError):
                    await asyncio.open_connection("127.0.0.1", port)
            with pytest.raises(EngineUnavailable):
                await engine.models()

    asyncio.run(main())


def test_a_child_that_ignores_the_request_to_leave_is_killed(tmp_path: Path) -> None:
    async def main() -> None:
        async with pocket_engine(tmp_path) as engine:
            pid = engine.pid
            assert pid is not None
            os.kill(pid, signal.SIGSTOP)  # neither stdin nor SIGTERM reaches it now
            await engine.close()
            assert gone(pid)

    asyncio.run(main())


@pytest.mark.skipif(sys.platform == "win32", reason="kills as POSIX does")
def test_no_child_outlives_a_parent_that_is_killed(tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", PARENT, str(tmp_path)], stdout=subprocess.PIPE, text=True
    ) as parent:
        assert parent.stdout is not None
        children = [int(word) for word in parent.stdout.readline().split()]
        assert len(children) == 2
        parent.kill()
    asyncio.run(until(lambda: all(gone(child) for child in children), limit_s=5))


def test_the_child_leaves_when_its_stdin_closes(tmp_path: Path) -> None:
    order = {
        "model": str(pocket.path()), "alias": "pocket", "slots": 1, "threads": 1, "context": 512,
        "embedding": False, "key": "k",
    }  # fmt: skip
    command = [sys.executable, "-m", "opengateway.engines.llama_child"]
    with (tmp_path / "log").open("w") as log, subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True
    ) as child:  # fmt: skip
        assert child.stdin is not None
        assert child.stdout is not None
        child.stdin.write(json.dumps(order) + "\n")
        child.stdin.flush()
        assert json.loads(child.stdout.readline())["digest"] == pocket.SHA256
        child.stdin.close()
        assert child.wait(5) == 0


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "cannot be read"),
        (b"", "too short"),
        (b"PK\x03\x04 something else altogether", "letters GGUF"),
        (pocket.path().read_bytes()[:3000], "ends early"),
    ],
)
def test_a_file_that_is_no_model_is_refused_before_a_process_starts(
    tmp_path: Path, content: bytes | None, words: str
) -> None:
    file = tmp_path / "model.gguf"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(EngineUnavailable, match=words) as refusal:
        asyncio.run(LlamaServer(file, log=tmp_path / "log").start())
    assert refusal.value.hint


def test_a_model_that_llama_cpp_cannot_load_is_explained_by_its_own_words(tmp_path: Path) -> None:
    whole = pocket.path().read_bytes()
    file = tmp_path / "half.gguf"
    file.write_bytes(whole[: len(whole) // 2])  # the header is good, the weights are cut off
    with pytest.raises(EngineUnavailable, match=r"could not load half\.gguf.*last words") as refusal:
        asyncio.run(LlamaServer(file, log=tmp_path / "llama.log", threads=1).start())
    assert "llama.log" in refusal.value.hint


def test_the_log_begins_anew_and_the_one_before_is_kept(tmp_path: Path) -> None:
    async def main() -> None:
        (tmp_path / "llama.log").write_text("from the run before\n")
        async with pocket_engine(tmp_path):
            assert "from the run before" not in (tmp_path / "llama.log").read_text()
            assert (tmp_path / "llama.log.1").read_text() == "from the run before\n"

    asyncio.run(main())
