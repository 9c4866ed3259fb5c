"""The least that a proxy in Python can do: aiohttp in, aiohttp out, nothing looked at.

    python tools/bench/bare_proxy.py http://127.0.0.1:8000

Prints `{"port": N}` when it listens on 127.0.0.1. The yardstick beside which the gateway is measured.
"""

from __future__ import annotations

import argparse
import asyncio
import json

from aiohttp import ClientSession, ClientTimeout, TCPConnector, web


async def serve(upstream: str, port: int) -> None:
    session = ClientSession(
        connector=TCPConnector(limit=0), timeout=ClientTimeout(total=None), auto_decompress=False
    )

    async def forward(request: web.Request) -> web.StreamResponse:
        body = await request.read()
        headers = {"Content-Type": request.content_type}
        async with session.request(
            request.method, upstream + request.path_qs, data=body, headers=headers
        ) as up:
            kind = up.headers.get("Content-Type", "application/octet-stream")
            if up.content_length is not None:
                return web.Response(status=up.status, body=await up.read(), headers={"Content-Type": kind})
            answer = web.StreamResponse(status=up.status, headers={"Content-Type": kind})
            await answer.prepare(request)
            async for data in up.content.iter_any():
                await answer.write(data)
            await answer.write_eof()
            return answer

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", forward)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", port)
    await site.start()
    print(json.dumps({"port": runner.addresses[0][1]}), flush=True)
    try:
        await asyncio.Event().wait()
    finally:
        await session.close()
        await runner.cleanup()


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("upstream")
    parser.add_argument("--port", type=int, default=0)
    given = parser.parse_args()
    import uvloop

    uvloop.run(serve(given.upstream.rstrip("/"), given.port))


if __name__ == "__main__":
    main()
