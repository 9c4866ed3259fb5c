"""OpenAI's protocol over `EngineHttp`, for remote servers and for our own llama.cpp."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from opengateway.engines import openai_format as fmt
from opengateway.engines.http import EngineHttp
from opengateway.engines.protocol import GenerateRequest
from opengateway.engines.stream import Stream
from opengateway.errors import BadRequest


class OpenAIClient(EngineHttp):
    """`base` ends in `/v1` or the like. `pool_streams` false: a fresh connection for every streamed
    answer, for servers that close it afterwards without saying so (llama.cpp)."""

    def __init__(self, base: str, key: str = "", *, pool_streams: bool = True) -> None:
        super().__init__(base, key)
        self._targets = {kind: self.target(path) for kind, path in fmt.PATHS.items()}
        self._fresh_streams = not pool_streams
        self._usage_option = True
        """Whether `stream_options` may be sent: older servers refuse it."""

    async def answer(
        self, request: GenerateRequest, model: str, stream: Stream, *, partial_tokens: int = 0
    ) -> None:
        """See `Engine.generate`. `partial_tokens`: see `Finished`."""
        if request.kind == "embedding":
            reply = await self.embed(request, model)
            stream.put([reply])
            stream.finish(fmt.end_of("stop", reply.get("usage") or {}))
            return
        body = fmt.body_for(request, model, stream=request.stream, usage=self._usage_option)
        fresh = request.stream and self._fresh_streams
        response = await self.post(self._targets[request.kind], body, fresh=fresh)
        try:
            if response.status == 200 and request.stream and response.content_type != "application/json":
                events = fmt.EventStream(
                    fmt.prompt_bytes(request.body), partial_tokens, fmt.blanks_after(request)
                )
                await self.copy(response, events, stream)
                return
            reply = await self.whole(response)
        except BadRequest as error:
            if not (self._usage_option and request.stream and "stream_options" in error.message):
                raise
            self._usage_option = False
        else:
            chunks, end = fmt.whole_answer(reply, fmt.prompt_bytes(request.body))
            if chunks and isinstance(chunks[0], str):
                chunks[0], _ = fmt.beyond_blanks(chunks[0], fmt.blanks_after(request))
            stream.put(chunks)
            stream.finish(replace(end, partial_tokens=partial_tokens))
            return
        finally:
            response.close()  # after the end of the body this leaves a pooled connection alone
        await self.answer(request, model, stream, partial_tokens=partial_tokens)

    async def embed(self, request: GenerateRequest, model: str) -> dict[str, Any]:
        body = fmt.body_for(request, model, stream=False)
        reply = await self.post_json(self._targets["embedding"], body)
        if not isinstance(reply, dict):
            raise fmt.not_openai(TypeError("not an object"))
        return reply
