"""The HTTP server: one port, who may use it, and one place where errors become answers."""

from __future__ import annotations

import asyncio
import errno
import logging
import socket
from collections.abc import Awaitable, Callable, Iterable

from aiohttp import web

from opengateway.app.gateway.errors import error_response, plain
from opengateway.app.gateway.guard import check_host, check_token
from opengateway.app.gateway.ollama_lines import ollama_refusal
from opengateway.errors import ConfigInvalid, OpenGatewayError, PortTaken

logger = logging.getLogger(__name__)

BODY_LIMIT = 16 * 1024 * 1024
"""Bytes of one request: a prompt of 128k tokens is 0.6 MB, images make the rest."""
BACKLOG = 512

ENDLESS: web.AppKey[set[asyncio.Task[None]]] = web.AppKey("endless", set)
"""Tasks that answer for as long as the reader stays. They never end by themselves: a closing port ends them
first."""

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class HttpServer:
    """Opened and closed by the Gateway actor, on the I/O loop; can be opened again."""

    def __init__(
        self,
        host: str,
        port: int,
        token: str,
        *,
        routes: Callable[[], Iterable[web.RouteDef]],
        not_ready: Callable[[], list[str]],
    ) -> None:
        self.host = host
        self.port = port
        """0 until the first start chooses one; a restart keeps it."""
        self._token = token
        self._routes = routes
        self._not_ready = not_ready
        self._runner: web.AppRunner | None = None

    @property
    def url(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"http://{host}:{self.port}"

    async def start(self) -> None:
        if self.host not in ("127.0.0.1", "::1", "localhost"):
            raise ConfigInvalid(
                f"http.host is {self.host}, but the port asks nobody for a key: it must be on this machine",
                hint="opengateway config set http.host 127.0.0.1",
            )
        app = web.Application(middlewares=[self._middleware], client_max_size=BODY_LIMIT)
        app[ENDLESS] = set()
        app.on_shutdown.append(_hang_up)
        app.add_routes([web.get("/healthz", _healthz), web.get("/readyz", self._readyz), *self._routes()])
        # A caller who hangs up must free its slot at once, hence handler_cancellation.
        runner = web.AppRunner(app, handler_cancellation=True, access_log=None, shutdown_timeout=2.0)
        await runner.setup()
        self._runner = runner
        listening = self._listen()
        await web.SockSite(runner, listening, backlog=BACKLOG).start()

    async def close(self) -> None:
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    def _listen(self) -> socket.socket:
        family = socket.AF_INET6 if ":" in self.host else socket.AF_INET
        listening = socket.socket(family, socket.SOCK_STREAM)
        try:
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listening.bind((self.host, self.port))
        except OSError as error:
            listening.close()
            if error.errno in (errno.EADDRINUSE, errno.EACCES):
                why = "is in use by another program" if error.errno == errno.EADDRINUSE else "needs root"
                raise PortTaken(
                    f"the HTTP port {self.port} on {self.host} {why}",
                    hint="end that program, or choose another port: opengateway config set http.port 0",
                ) from error
            raise
        self.port = listening.getsockname()[1]
        return listening

    @web.middleware
    async def _middleware(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        said = ollama_refusal if request.path.startswith("/api/") else error_response
        try:
            check_host(request.headers, self.host)
            if request.path.startswith("/node/"):
                check_token(request.headers, self._token)
            return await handler(request)
        except web.HTTPException as error:
            if error.status < 400:
                raise
            return said(_named(error, request))
        except OpenGatewayError as error:
            return said(error)
        except (ConnectionError, TimeoutError) as error:
            return said(plain(error))
        except Exception as error:
            shown = plain(error)
            if shown.code == "internal_error":
                logger.exception("%s %s failed", request.method, request.path)
            return said(shown)

    async def _readyz(self, _request: web.Request) -> web.Response:
        why = self._not_ready()
        return web.json_response({"ready": not why, "why": why}, status=503 if why else 200)


async def _hang_up(app: web.Application) -> None:
    for task in app[ENDLESS]:
        task.cancel()


async def _healthz(_request: web.Request) -> web.Response:
    return web.Response(text="ok")


def _named(error: web.HTTPException, request: web.Request) -> OpenGatewayError:
    hints = {
        404: "GET /v1/models and POST /v1/chat/completions are there",
        405: f"{request.path} wants another method",
        413: f"a request may have {BODY_LIMIT // 1024 // 1024} MiB",
    }
    kind = type("HttpError", (OpenGatewayError,), {"code": f"http_{error.status}", "status": error.status})
    shown: OpenGatewayError = kind(
        f"{request.method} {request.path[:200]}: {error.reason}", hint=hints.get(error.status, "")
    )
    return shown
