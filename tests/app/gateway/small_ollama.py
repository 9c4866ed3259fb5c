"""A server with one small model that embeds, by Ollama's protocol: what an Ollama engine needs to be tested
without one. Prints its URL; ends when it is killed."""

from __future__ import annotations

import asyncio
import json

from aiohttp import web

LOADED: set[str] = {"small:latest"}
DETAILS = {"format": "gguf", "family": "small", "parameter_size": "1.0M", "quantization_level": "F16"}


async def root(_request: web.Request) -> web.Response:
    return web.Response(text="Ollama is running")


async def answer(request: web.Request) -> web.StreamResponse:
    path = request.match_info["path"]
    body = await request.json() if request.can_read_body else {}
    if path == "pull":
        return await pull(request, body)
    if path == "generate":
        name = body["model"].removesuffix(":latest") + ":latest"
        if body.get("keep_alive") == 0:
            LOADED.discard(name)
        else:
            LOADED.add(name)
        return web.json_response({"model": body["model"], "response": "", "done": True})
    listed = {
        "name": "small:latest",
        "model": "small:latest",
        "digest": "ab" * 32,
        "size": 9,
        "details": DETAILS,
    }
    if path == "embed":
        texts = body["input"] if isinstance(body["input"], list) else [body["input"]]
        vectors = [[float(i) for i in range(body.get("dimensions", 3))] for _ in texts]
        return web.json_response({"model": "small", "embeddings": vectors, "prompt_eval_count": len(texts)})
    return web.json_response(
        {
            "tags": {"models": [listed]},
            "ps": {"models": [listed] if LOADED else []},
            "version": {"version": "0.12.11"},
            "show": {
                "template": "{{ .Prompt }}",
                "details": DETAILS,
                "model_info": {"general.architecture": "small", "small.embedding_length": 3},
                "capabilities": ["embedding"],
            },
        }[path]
    )


async def pull(request: web.Request, body: dict[str, str]) -> web.StreamResponse:
    response = web.StreamResponse(headers={"Content-Type": "application/x-ndjson"})
    await response.prepare(request)
    steps: list[dict[str, object]] = [{"status": "pulling manifest"}]
    if body["model"] == "missing":
        steps.append({"error": "no such model"})
    else:
        steps += [{"status": "pulling ab", "completed": done, "total": 100} for done in (50, 100)]
        steps.append({"status": "success"})
    for step in steps:
        await response.write(json.dumps(step).encode() + b"\n")
    return response


async def main() -> None:
    app = web.Application()
    app.router.add_get("/", root)
    app.router.add_route("*", "/api/{path}", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    host, port = runner.addresses[0][:2]
    print(f"http://{host}:{port}", flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main())
