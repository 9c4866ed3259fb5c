"""llama.cpp as an engine: a child process of our own that serves one GGUF file to us alone.

Nothing else needs to be installed. The child (`llama_child`) listens on a free port of 127.0.0.1 behind
a random key, so other users of the machine cannot spend its slots, batches up to `slots` requests, and
ends with us however we end: it watches its stdin. One `LlamaServer` serves one file; a node with two
files has two.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import signal
import sys
from asyncio.subprocess import PIPE, Process
from pathlib import Path
from typing import Any, Final

import orjson
import psutil

from opengateway.engines import llama_child
from opengateway.engines.gguf import GgufHeader, read_header
from opengateway.engines.llama_continue import PROMPT_FIELDS, go_on, prefix_of
from opengateway.engines.openai_client import OpenAIClient
from opengateway.engines.protocol import GenerateRequest, ModelInfo
from opengateway.engines.resuming import CONTINUE
from opengateway.engines.stream import Stream
from opengateway.errors import EngineFailed, EngineUnavailable, UnknownModel

CHILD: Final = Path(llama_child.__file__)
"""Run by its path with -P, so that neither the folder that the user is in nor this one (which has an
`http.py`) is searched for modules."""
SLOTS: Final = 4
"""Requests batched at once; on a CPU more slots add memory and little throughput."""
CONTEXT: Final = 8192
"""Tokens per slot at most, unless configured: an 8B model needs 1 GiB of cache for these."""
LOAD_S: Final = 900.0
"""Seconds to load and hash the model: 40 GB from a disk that gives 100 MB/s, twice."""
LEAVE_S: Final = 2.0
"""Seconds for the child to leave when its stdin closes, and again after SIGTERM; measured 5 ms."""
DYING_S: Final = 1.0
"""Seconds between a connection's end and its process's at most; a large core is being freed meanwhile."""
LAST_WORDS: Final = 5
"""Lines of the log that an error quotes."""


class LlamaServer:
    """`name` is what the model is called to users (default: the file's name), `threads` default to
    the physical cores but one, `context` is per slot in tokens. `log` is a file, begun anew by
    `start`; the one before is kept beside it as `.1`."""

    def __init__(
        self,
        path: Path,
        *,
        log: Path,
        name: str = "",
        slots: int = SLOTS,
        threads: int | None = None,
        context: int | None = None,
        demo: bool = False,
    ) -> None:
        self.name = "llama_server"
        self.slots = slots
        self.model = name or path.stem
        self._path = path
        self._log = log
        # Threads beyond the free cores spin: 2 on a busy 2-core machine made 12 s of 0.6 s.
        self._threads = threads or max(1, (psutil.cpu_count(logical=False) or 2) - 1)
        self._context = context
        self._demo = demo
        self._info: ModelInfo | None = None
        self._process: Process | None = None
        self._client: OpenAIClient | None = None
        self._watch: asyncio.Task[str] | None = None

    @property
    def pid(self) -> int | None:
        """The child's process id while it runs."""
        running = self._process is not None and self._process.returncode is None
        return self._process.pid if running and self._process is not None else None

    async def start(self) -> None:
        await self.close()
        header = read_header(self._path)
        self._roll_log()
        key = secrets.token_urlsafe(32)
        context = self._context or min(header.context or CONTEXT, CONTEXT)
        order = {
            "model": str(self._path), "alias": self.model, "slots": self.slots, "threads": self._threads,
            "context": context, "embedding": header.embedding, "key": key,
        }  # fmt: skip
        try:
            ready = await self._launch(order)
            self._client = OpenAIClient(f"http://127.0.0.1:{ready['port']}/v1", key, pool_streams=False)
            await self._client.open()
            await self._client.get_json("/health")
        except BaseException:
            await self.close()
            raise
        self._info = self._describe(header, ready["digest"], context)

    async def close(self) -> None:
        if self._watch is not None:
            self._watch.cancel()
            self._watch = None
        if self._client is not None:
            client, self._client = self._client, None
            await client.close()
        if self._process is not None:
            process, self._process = self._process, None
            await _end(process)

    async def models(self) -> list[ModelInfo]:
        if self._info is None or self.pid is None:
            raise self._down()
        return [self._info]

    async def generate(self, request: GenerateRequest, stream: Stream) -> None:
        client = self._client_for(request)
        try:
            if request.partial:
                await go_on(client, request, self.model, stream)
            else:
                await client.answer(request, self.model, stream)
        except (EngineFailed, EngineUnavailable) as error:
            raise await self._explained(error) from error

    async def embed(self, request: GenerateRequest) -> dict[str, Any]:
        client = self._client_for(request)
        try:
            return await client.embed(request, self.model)
        except (EngineFailed, EngineUnavailable) as error:
            raise await self._explained(error) from error

    async def count_prompt(self, request: GenerateRequest) -> int | None:
        """Chat and plain completions; 1 ms. Pictures have no count that llama.cpp would tell."""
        client = self._client_for(request)
        if request.partial:
            return (await prefix_of(client, request)).tokens
        if request.kind == "chat":
            body = {key: value for key, value in request.body.items() if key in PROMPT_FIELDS}
            told = await client.post_json(
                client.target("/v1/chat/completions/input_tokens"), orjson.dumps(body)
            )
            count = told.get("input_tokens") if isinstance(told, dict) else None
            return count if type(count) is int else None
        text = request.body.get("prompt")
        if request.kind != "completion" or not isinstance(text, str):
            return None
        body = {"content": text, "add_special": True, "parse_special": True}
        told = await client.post_json(client.target("/tokenize"), orjson.dumps(body))
        return len(told["tokens"])

    async def busy_slots(self) -> int:
        """Slots that are at work inside llama.cpp now, the engine's own word for it."""
        if self._client is None:
            raise self._down()
        return sum(slot["is_processing"] for slot in await self._client.get_json("/slots"))

    async def health(self) -> None:
        if self._client is None or self.pid is None:
            raise self._down()
        await self._client.get_json("/health")

    async def ended(self) -> str:
        """See `Engine.ended`. `close` cancels whoever waits here."""
        if self._watch is None:
            raise self._down()
        return await asyncio.shield(self._watch)

    # -- the child -------------------------------------------------------------------

    async def _launch(self, order: dict[str, Any]) -> dict[str, Any]:
        with self._log.open("ab") as log:
            self._process = process = await asyncio.create_subprocess_exec(
                sys.executable, "-P", str(CHILD),
                stdin=PIPE, stdout=PIPE, stderr=log,
            )  # fmt: skip
        assert process.stdin is not None
        assert process.stdout is not None
        self._watch = asyncio.create_task(self._ending(process))
        with contextlib.suppress(ConnectionError):  # it died at once; its stdout says so below
            process.stdin.write(orjson.dumps(order) + b"\n")
            await process.stdin.drain()
        try:
            async with asyncio.timeout(LOAD_S):
                line = await process.stdout.readline()
        except TimeoutError as error:
            raise self._down(f"has not loaded {self._path.name} within {LOAD_S:.0f} s") from error
        words: dict[str, Any] = orjson.loads(line) if line else {}
        if "port" not in words:
            how = words.get("error") or await self._watch
            raise self._down(f"could not load {self._path.name}: {how}")
        return words

    async def _ending(self, process: Process) -> str:
        code = await process.wait()
        if code < 0:
            with contextlib.suppress(ValueError):
                return f"llama.cpp was ended by signal {-code} ({signal.Signals(-code).name})"
        return f"llama.cpp ended by itself with exit code {code}"

    def _client_for(self, request: GenerateRequest) -> OpenAIClient:
        if request.model not in ("", self.model):
            raise UnknownModel(f"This engine serves {self.model}, not {request.model}.")
        if self._client is None:
            raise self._down()
        if self._watch is not None and self._watch.done():
            raise self._down(f"is not running: {self._watch.result()}")
        return self._client

    def _describe(self, header: GgufHeader, digest: str, context: int) -> ModelInfo:
        abilities = {"embedding"}
        if not header.embedding:
            abilities = {"completion", CONTINUE, "json_schema", "logprobs", "seed", "logit_bias"}
        if header.chat_template and not header.embedding:
            abilities |= {"chat", "template_kwargs"}
            if "tools" in header.chat_template:
                abilities |= {"tools", "tool_choice"}
        return ModelInfo(
            name=self.model,
            digest=digest,
            parameters=header.parameters,
            quantisation=header.quantisation,
            context=context,
            size=header.size,
            demo=self._demo,
            abilities=frozenset(abilities),
        )

    # -- what went wrong -------------------------------------------------------------

    async def _explained(self, error: EngineFailed | EngineUnavailable) -> EngineFailed | EngineUnavailable:
        """A broken connection usually means that the child is dying; give it a moment to be dead."""
        watch = self._watch
        if watch is None:
            return error
        done, _ = await asyncio.wait({watch}, timeout=DYING_S)
        if not done or watch.cancelled():
            return error
        return EngineFailed(f"{watch.result()} while it was answering.{self._last_words()}",
                            hint="The node starts it again; repeat the request.")  # fmt: skip

    def _down(self, how: str = "is not running") -> EngineUnavailable:
        return EngineUnavailable(
            f"llama.cpp {how}.{self._last_words()}", hint=f"Its log is {self._log}.", retry_after=2.0
        )

    def _last_words(self) -> str:
        try:
            with self._log.open("rb") as log:
                log.seek(max(0, log.seek(0, 2) - 2000))
                lines = log.read().decode("utf-8", "replace").splitlines()[-LAST_WORDS:]
        except OSError:
            return ""
        return " Its last words: " + " | ".join(line.strip() for line in lines) if lines else ""

    def _roll_log(self) -> None:
        try:
            self._log.parent.mkdir(parents=True, exist_ok=True)
            if self._log.exists():
                self._log.replace(self._log.with_name(self._log.name + ".1"))
        except OSError as error:
            raise EngineUnavailable(
                f"The log file {self._log} cannot be written: {error.strerror}.",
                hint="Free some disk space, or correct the folder's permissions.",
            ) from error


async def _end(process: Process) -> None:
    """Stdin first, then SIGTERM, then SIGKILL: gone within 2 x LEAVE_S, usually within milliseconds."""
    if process.stdin is not None:
        process.stdin.close()
    for urge in (None, process.terminate, process.kill):
        if urge is not None:
            with contextlib.suppress(ProcessLookupError):
                urge()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LEAVE_S):
                await process.wait()
                return
