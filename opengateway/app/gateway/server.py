"""The HTTP server: one port, who may use it, and one place where errors become answers."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import socket
import time
from collections.abc import Awaitable, Callable, Iterable

from aiohttp import web

from opengateway.app.gateway.callers import NOBODY, Callers, is_local
from opengateway.app.gateway.cors import Cors
from opengateway.app.gateway.door import KEEP_S, SWEEP_S, Door
from opengateway.app.gateway.errors import error_response, plain
from opengateway.app.gateway.guard import Guard, check_token
from opengateway.app.gateway.ollama_lines import ollama_refusal
from opengateway.app.gateway.tls import server_context
from opengateway.errors import BadRequest, ConfigInvalid, OpenGatewayError, PortTaken, Unauthorized
from opengateway.sections import HttpConfig
from opengateway.units import MIB

logger = logging.getLogger(__name__)

BACKLOG = 512
HANDSHAKE_S = 10.0
"""Seconds for a TLS handshake."""
OPEN = ("/healthz", "/readyz", "/")
"""What anybody may ask who reaches the port: it says nothing of anybody. `/` is a page that shows nothing
until one has logged in."""

ENDLESS: web.AppKey[set[asyncio.Task[None]]] = web.AppKey("endless", set)
"""Tasks that answer for as long as the reader stays. They never end by themselves: a closing port ends them
first."""

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class HttpServer:
    """Opened and closed by the Gateway actor, on the I/O loop; can be opened again."""

    def __init__(
        self,
        config: HttpConfig,
        token: str,
        callers: Callers,
        *,
        routes: Callable[[], Iterable[web.RouteDef]],
        not_ready: Callable[[], list[str]],
    ) -> None:
        self._config = config
        self.host = config.host
        self.port = config.port
        """0 until the first start chooses one; a restart keeps it."""
        self._token = token
        self._callers = callers
        self._guard = Guard((config.host, *config.names), config.origins)
        self._cors = Cors(config.origins)
        self._routes = routes
        self._not_ready = not_ready
        self._runner: web.AppRunner | None = None
        self._server: asyncio.Server | None = None
        self._upkeep: asyncio.Task[None] | None = None
        self.door: Door | None = None

    @property
    def url(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'https' if self._config.certificate else 'http'}://{host}:{self.port}"

    def routes(self) -> list[web.RouteDef]:
        return [web.get("/healthz", _healthz), web.get("/readyz", self._readyz), *self._routes()]

    async def start(self) -> None:
        if self.host not in ("127.0.0.1", "::1", "localhost") and not self._callers.keys:
            raise ConfigInvalid(
                f"http.host is {self.host}, which others reach, and there is no API key that they must have",
                hint="opengateway keys add NAME, or: opengateway config set http.host 127.0.0.1",
            )
        tls = server_context(self._config.certificate, self._config.certificate_key)
        app = web.Application(middlewares=[self._middleware], client_max_size=self._config.body_mib * MIB)
        app[ENDLESS] = set()
        app.on_shutdown.append(_hang_up)
        app.add_routes(self.routes())
        if self._config.origins:
            app.on_response_prepare.append(self._cors.mark)
        # A caller who hangs up must free its slot at once, hence handler_cancellation.
        runner = web.AppRunner(
            app, handler_cancellation=True, access_log=None, shutdown_timeout=2.0, keepalive_timeout=KEEP_S
        )
        await runner.setup()
        self._runner = runner
        assert runner.server is not None
        self.door = Door(runner.server)
        listening = self._listen()
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(
            self.door,
            sock=listening,
            backlog=BACKLOG,
            ssl=tls,
            ssl_handshake_timeout=HANDSHAKE_S if tls else None,
        )
        self._upkeep = asyncio.create_task(self._keep_up(self.door))

    async def close(self) -> None:
        if self._upkeep is not None:
            self._upkeep.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._upkeep
            self._upkeep = None
        if self._server is not None:
            self._server.close()
            self._server = None
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None
        self._callers.save()

    async def _keep_up(self, door: Door) -> None:
        while True:
            await asyncio.sleep(SWEEP_S)
            door.sweep(time.monotonic())
            await self._callers.save_sometimes()

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
        path = request.path
        said = ollama_refusal if path.startswith("/api/") else error_response
        if self.door is not None:
            self.door.began(request.protocol)
        try:
            self._guard.check(request.headers)
            if (answer := self._cors.preflight(request)) is not None:
                return answer
            if path.startswith("/node/"):
                check_token(request.headers, self._token)
                self._check_owner(request)
            elif path.startswith("/dashboard"):
                self._check_owner(request)  # beside what its own login checks
            elif path not in OPEN:
                caller = self._callers.at_once(request) or await self._callers.who(request)
                if caller is not NOBODY:
                    request["caller"] = caller
            return await handler(request)
        except web.HTTPMethodNotAllowed as error:
            return said(self._named(error, request), {"Allow": ", ".join(sorted(error.allowed_methods))})
        except web.HTTPException as error:
            if error.status < 400:
                raise
            return said(self._named(error, request))
        except web.RequestPayloadError as error:  # no chunks, or not compressed as it says
            why = " ".join(str(error).split())[-200:]
            return said(BadRequest(f"the body cannot be read: {why}"))
        except OpenGatewayError as error:
            return said(error)
        except (ConnectionError, TimeoutError) as error:
            return said(plain(error))
        except Exception as error:
            shown = plain(error)
            if shown.code == "internal_error":
                logger.exception("%s %s failed", request.method, request.path)
            return said(shown)

    def _check_owner(self, request: web.Request) -> None:
        """What opens the whole node must not cross a network in the clear."""
        self._guard.check_own_page(request.headers)
        if not self._config.certificate and not is_local(request.remote):
            raise Unauthorized(
                f"{request.path[:80]} is for this machine only, as long as the port has no TLS",
                hint="set http.certificate and http.certificate_key",
            )

    async def _readyz(self, _request: web.Request) -> web.Response:
        why = self._not_ready()
        return web.json_response({"ready": not why, "why": why}, status=503 if why else 200)

    def _named(self, error: web.HTTPException, request: web.Request) -> OpenGatewayError:
        hints = {
            404: "GET /v1/models and POST /v1/chat/completions are there",
            405: f"{request.path[:200]} wants {_wanted(error)}",
            413: f"a request may have {self._config.body_mib} MiB (http.body_mib)",
        }
        code = f"http_{error.status}"
        kind = type("HttpError", (OpenGatewayError,), {"code": code, "status": error.status})
        words = f"{request.method} {request.path[:200]}: {error.reason}"
        shown: OpenGatewayError = kind(words, hint=hints.get(error.status, ""))
        return shown


def _wanted(error: web.HTTPException) -> str:
    methods = error.allowed_methods if isinstance(error, web.HTTPMethodNotAllowed) else set()
    return " or ".join(sorted(methods - {"HEAD"})) or "another method"


async def _hang_up(app: web.Application) -> None:
    for task in app[ENDLESS]:
        task.cancel()


async def _healthz(_request: web.Request) -> web.Response:
    return web.Response(text="ok")
