"""The dashboard's HTTP routes. What they show and do is the owner's, so all but the page want a session.

Against other pages in the same browser: the Host check of guard.py (DNS rebinding), a key in a header of our
own (a foreign page cannot send one without a preflight, which is never granted), Origin and Sec-Fetch-Site of
what changes something (CSRF), and a content security policy that lets the page load and reach this node only.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import orjson
from aiohttp import web

from actors.kernel import answer
from actors.messages import DescribeCurve
from opengateway.app.gateway.dashboard.audit import OwnAudit
from opengateway.app.gateway.dashboard.live import Live
from opengateway.app.gateway.dashboard.login import CODE_S, IDLE_S, Logins
from opengateway.app.gateway.dashboard.look import look
from opengateway.app.gateway.errors import plain
from opengateway.app.gateway.guard import ForbiddenOrigin
from opengateway.app.gateway.picture import PATIENCE, Parts
from opengateway.errors import BadRequest

STATIC = Path(__file__).parent / "static"
KEY_HEADER = "x-opengateway-key"
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; font-src 'self'; img-src 'self' data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
    "require-trusted-types-for 'script'; trusted-types 'none'"
)
HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=()",
    "Cache-Control": "no-cache",
}
KINDS = {
    "html": "text/html",
    "css": "text/css",
    "js": "text/javascript",
    "svg": "image/svg+xml",
    "txt": "text/plain",
    "woff2": "font/woff2",
}
HOUR_MS = 3_600_000
MOST_HOURS = 24 * 366
POINTS = 97
"""Of the credit curve: one a quarter of an hour over a day, and about 2,000 reads of the ledger."""
SHOWN_FINDINGS = 20
BODY_LIMIT = 4096

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Dashboard:
    def __init__(self, parts: Parts, *, chat: Handler, trace: Handler, folder: Path) -> None:
        """`chat` answers as /v1/chat/completions does, `trace` as /node/trace/ID; `folder` is for what lives
        for a moment."""
        self._parts = parts
        self._chat, self._trace = chat, trace
        self._logins = Logins()
        self._live = Live(lambda: look(parts))
        self._audit = OwnAudit(parts.ledger, folder)
        # Read once: what is asked for later can only be one of these names.
        self._files = {file.name: file.read_bytes() for file in STATIC.iterdir() if file.is_file()}

    def routes(self) -> list[web.RouteDef]:
        get, post, owner = web.get, web.post, self._owner
        return [
            get("/", self.page),
            get("/dashboard/static/{name}", self.file),
            post("/node/dashboard", self.new_code),
            post("/dashboard/session", self.enter),
            web.delete("/dashboard/session", owner(self.leave)),
            get("/dashboard/live", owner(self._live.stream)),
            get("/dashboard/credit", owner(self.credit)),
            get("/dashboard/trace/{request}", owner(self._trace)),
            post("/dashboard/audit", owner(self.audit)),
            post("/dashboard/chat", owner(self._chat)),
        ]

    # -- the page --------------------------------------------------------------------------------

    async def page(self, _request: web.Request) -> web.Response:
        return self._static("page.html")

    async def file(self, request: web.Request) -> web.Response:
        name = request.match_info["name"]
        if name not in self._files or name == "page.html":
            raise web.HTTPNotFound
        return self._static(name)

    def _static(self, name: str) -> web.Response:
        kind = KINDS[name.rpartition(".")[2]]
        charset = None if kind.startswith("font/") else "utf-8"
        return web.Response(body=self._files[name], content_type=kind, charset=charset, headers=HEADERS)

    # -- the session -----------------------------------------------------------------------------

    async def new_code(self, _request: web.Request) -> web.Response:
        """For `opengateway dashboard`, which has shown the control token."""
        code = self._logins.new_code()
        # Bound to every interface: this machine's own browser asks on loopback.
        here = (
            self._parts.facts.http_url().replace("//0.0.0.0:", "//127.0.0.1:").replace("//[::]:", "//[::1]:")
        )
        address = f"{here}/#code={code}"
        return _json({"url": address, "expires_s": CODE_S})

    async def enter(self, request: web.Request) -> web.Response:
        """`{"code": ...}` becomes a session: its cookie, and its key in the answer."""
        check_same_origin(request)
        body = await _small_object(request)
        code = body.get("code")
        if not isinstance(code, str) or not 0 < len(code) <= 100:
            raise BadRequest("`code` must be the one in the address that `opengateway dashboard` prints")
        cookie, key = self._logins.enter(code)
        response = _json({"key": key})
        response.set_cookie(
            _cookie_name(request),
            cookie,
            path="/dashboard",
            max_age=int(IDLE_S),
            httponly=True,
            secure=request.secure,
            samesite="Strict",
        )
        return response

    async def leave(self, request: web.Request) -> web.Response:
        self._logins.leave(request.cookies.get(_cookie_name(request), ""))
        response = _json({"left": True})
        response.del_cookie(_cookie_name(request), path="/dashboard")
        return response

    def _owner(self, handler: Handler) -> Handler:
        async def handle(request: web.Request) -> web.StreamResponse:
            check_same_origin(request)
            cookie = request.cookies.get(_cookie_name(request), "")
            self._logins.check(cookie, request.headers.get(KEY_HEADER, ""))
            return await handler(request)

        return handle

    # -- what is shown and done ------------------------------------------------------------------

    async def credit(self, request: web.Request) -> web.Response:
        """`?hours=24`: what was earned and spent by then, at `POINTS` times."""
        try:
            hours = min(MOST_HOURS, max(1, int(request.query.get("hours", "24"))))
        except ValueError as error:
            raise BadRequest("`hours` must be a whole number") from error
        curve = await answer(self._parts.ledger.ask(DescribeCurve(hours * HOUR_MS, POINTS)), PATIENCE)
        return _json({"hours": hours, "points": curve})

    async def audit(self, _request: web.Request) -> web.Response:
        try:
            report = await self._audit.run()
        except TimeoutError as error:
            raise plain(error) from error
        names = ("verdict", "exit", "subject", "totals", "checks", "not_checked", "perf")
        shown: dict[str, Any] = {name: report.get(name) for name in names}
        return _json(shown | {"findings": (report.get("findings") or [])[:SHOWN_FINDINGS]})


def check_same_origin(request: web.Request) -> None:
    """Raises `ForbiddenOrigin` unless the browser says that our own page asks. GET needs no Origin: browsers
    send none to the page's own server."""
    origin, site = request.headers.get("Origin"), request.headers.get("Sec-Fetch-Site", "same-origin")
    same = urlsplit(origin).netloc == request.host if origin else request.method == "GET"
    if not same or site != "same-origin":
        raise ForbiddenOrigin(
            "only the dashboard's own page may ask for this", hint="open it with `opengateway dashboard`"
        )


def _cookie_name(request: web.Request) -> str:
    """With the port: two nodes on one machine share a cookie jar."""
    port = request.url.explicit_port or (443 if request.secure else 80)
    return f"opengateway-{port}"


async def _small_object(request: web.Request) -> dict[str, Any]:
    if (request.content_length or 0) > BODY_LIMIT:
        raise BadRequest("the body is too long")
    try:
        body = orjson.loads(await request.read())
    except orjson.JSONDecodeError as error:
        raise BadRequest("the body is not JSON") from error
    if not isinstance(body, dict):
        raise BadRequest("the body must be a JSON object")
    return body


def _json(value: Any) -> web.Response:
    return web.Response(
        body=orjson.dumps(value), content_type="application/json", headers={"Cache-Control": "no-store"}
    )
