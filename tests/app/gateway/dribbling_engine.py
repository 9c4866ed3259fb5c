"""An OpenAI-compatible server whose answer is full of letters of several bytes and comes three bytes at a
time: nearly every write ends within a letter, an event or a line. Prints its URL; ends when it is killed."""

from __future__ import annotations

import asyncio
import json

from aiohttp import web

TEXT = 'Zażółć gęślą 😀👩‍👩‍👧 日本\u2028語\r\n"quoted" \\ end'
PIECE = 3


def event(delta: dict[str, str], reason: str | None = None) -> str:
    choice = {"index": 0, "delta": delta, "finish_reason": reason}
    return f"data: {json.dumps({'choices': [choice]}, ensure_ascii=False)}\r\n\r\n"


def usage() -> dict[str, int]:
    return {"prompt_tokens": 1, "completion_tokens": len(TEXT), "total_tokens": 1 + len(TEXT)}


async def models(_request: web.Request) -> web.Response:
    return web.json_response({"data": [{"id": "odd", "object": "model", "max_model_len": 4096}]})


async def chat(request: web.Request) -> web.StreamResponse:
    asked = await request.json()
    if not asked.get("stream"):
        message = {"role": "assistant", "content": TEXT}
        choice = {"index": 0, "message": message, "finish_reason": "stop"}
        return web.json_response({"choices": [choice], "usage": usage()})
    response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
    await response.prepare(request)
    said = "".join(event({"content": letter}) for letter in TEXT) + event({}, "stop")
    said += f"data: {json.dumps({'choices': [], 'usage': usage()})}\n\ndata: [DONE]\n\n"
    raw = said.encode()
    for start in range(0, len(raw), PIECE):
        await response.write(raw[start : start + PIECE])
        await asyncio.sleep(0)
    return response


async def main() -> None:
    app = web.Application()
    app.router.add_get("/v1/models", models)
    app.router.add_post("/v1/chat/completions", chat)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    host, port = runner.addresses[0][:2]
    print(f"http://{host}:{port}/v1", flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main())
