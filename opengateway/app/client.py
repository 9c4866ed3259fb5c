"""How the command line talks to the running node: HTTP on loopback, synchronous.

The standard library's client and not aiohttp: `opengateway status` should be there before one has
looked up, and importing aiohttp alone takes 0.2 s.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import socket
from collections.abc import Generator, Iterator
from types import TracebackType
from typing import Any, Final, Self
from urllib.parse import quote, urlencode, urlsplit

from opengateway.errors import EngineFailed, NotRunning, OpenGatewayError, RequestError, from_code
from opengateway.home import Home

ANSWER_LIMIT_S: Final = 30.0
"""For /node/*: the node answers from memory; what takes longer is a node that hangs."""

SILENCE_LIMIT_S: Final = 120.0
"""Between two lines of a stream: the node sends a comment every few seconds while it waits."""

MOST_LINE: Final = 4 * 1024 * 1024
"""Bytes of one streamed line: a whole answer in one chunk fits, an endless line does not."""


class NodeClient:
    """One running node. Raises `NotRunning` where it went away, else the error that the node named."""

    def __init__(self, url: str, token: str = "", certificate: str = "") -> None:
        """`certificate`: PEM file of the node's own, where it speaks TLS."""
        parts = urlsplit(url)
        self._certificate = certificate if parts.scheme == "https" else ""
        host = parts.hostname or "127.0.0.1"
        # Bound to every interface: ask on loopback, where no key is wanted.
        self._host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104 - not a bind
        self._port = parts.port or (443 if parts.scheme == "https" else 80)
        self._token = token
        self.url = url

    def get(self, path: str, **query: str | int | None) -> Any:
        """The JSON that GET answers; `query` values that are None are left out."""
        given = {name: value for name, value in query.items() if value is not None}
        return self._json("GET", f"{path}?{urlencode(given)}" if given else path, None, ANSWER_LIMIT_S)

    def post(self, path: str, body: dict[str, Any] | None = None, *, limit_s: float = ANSWER_LIMIT_S) -> Any:
        return self._json("POST", path, body or {}, limit_s)

    def ready(self) -> tuple[bool, list[str]]:
        """Whether the node takes requests, and if not, why."""
        with self._ask("GET", "/readyz", None, {}, ANSWER_LIMIT_S) as answer:
            try:
                facts = json.loads(answer.read())
                return bool(facts["ready"]), [str(line) for line in facts.get("why", [])]
            except (ValueError, KeyError, TypeError):
                return answer.status == http.client.OK, []

    def events(
        self, path: str, body: dict[str, Any], headers: dict[str, str]
    ) -> Generator[dict[str, Any], None, None]:
        """The events of a streamed answer (SSE), in order; a comment comes as `{"waiting": text}`.

        Closing the iterator closes the connection, which cancels the request on the worker.
        Raises the error that the node sent before or during the stream, or `EngineFailed` if the
        stream ends without `[DONE]`.
        """
        with self._ask("POST", path, body, headers, SILENCE_LIMIT_S) as answer:
            _raise_for(answer)
            for line in _lines(answer):
                if line.startswith(":"):
                    yield {"waiting": line[1:].strip()}
                    continue
                field, _, value = line.partition(":")
                if field != "data":
                    continue
                if value.strip() == "[DONE]":
                    return
                event = _object(value)
                if "error" in event:
                    raise _error(event["error"], 502)
                yield event
            raise EngineFailed(
                "the answer broke off: the node closed the connection",
                hint="see why with `opengateway logs`",
            )

    def records(self, path: str, body: dict[str, Any]) -> Iterator[dict[str, Any]]:
        """The lines of a streamed NDJSON answer. Raises the error that a line holds."""
        with self._ask("POST", path, body, {}, SILENCE_LIMIT_S) as answer:
            _raise_for(answer)
            for line in _lines(answer):
                record = _object(line)
                if "error" in record:
                    raise _error(record["error"], 502)
                yield record

    def download(self, path: str) -> Iterator[bytes]:
        """The bytes that GET answers, in pieces."""
        with self._ask("GET", path, None, {}, ANSWER_LIMIT_S) as answer:
            _raise_for(answer)
            while piece := answer.read(256 * 1024):
                yield piece

    def _json(self, method: str, path: str, body: dict[str, Any] | None, limit_s: float) -> Any:
        with self._ask(method, path, body, {}, limit_s) as answer:
            _raise_for(answer)
            content = answer.read()
        try:
            return json.loads(content)
        except ValueError as error:
            raise _strange(path) from error

    def _ask(
        self, method: str, path: str, body: dict[str, Any] | None, headers: dict[str, str], limit_s: float
    ) -> _Answer:
        content = None if body is None else json.dumps(body).encode()
        sent = {"Content-Type": "application/json"} if content is not None else {}
        if self._token:
            sent["Authorization"] = f"Bearer {self._token}"
        return _Answer(
            self._connection(limit_s), method, quote(path, safe="/?=&%+:,"), content, sent | headers
        )

    def _connection(self, limit_s: float) -> http.client.HTTPConnection:
        if not self._certificate:
            return http.client.HTTPConnection(self._host, self._port, timeout=limit_s)
        from opengateway.app.gateway.tls import client_context

        context = client_context(self._certificate)
        return http.client.HTTPSConnection(self._host, self._port, timeout=limit_s, context=context)


class _Answer:
    """An HTTP exchange whose connection is closed with the block, and whose faults have names."""

    def __init__(
        self,
        connection: http.client.HTTPConnection,
        method: str,
        path: str,
        content: bytes | None,
        headers: dict[str, str],
    ) -> None:
        self._connection = connection
        self._request = (method, path, content, headers)
        self._reply: http.client.HTTPResponse

    def __enter__(self) -> Self:
        try:
            self._connection.request(*self._request)
            self._reply = self._connection.getresponse()
        except BaseException as error:
            self._connection.close()
            self._explain(error)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # The socket outlives close() while the reply holds it: shut it down, or nobody learns of a Ctrl-C.
        if self._connection.sock is not None:
            with contextlib.suppress(OSError):
                self._connection.sock.shutdown(socket.SHUT_RDWR)
        with contextlib.suppress(Exception):
            self._reply.close()
        self._connection.close()
        if error is not None:
            self._explain(error)

    @staticmethod
    def _explain(error: BaseException) -> None:
        """Raise what an owner understands for a fault of the connection."""
        if isinstance(error, TimeoutError):
            raise RequestError(
                "the node does not answer: it is running, but hangs",
                hint="look at `opengateway actors` and `opengateway logs`, then `opengateway restart`",
            ) from error
        if isinstance(error, ConnectionRefusedError):
            raise not_running() from error
        if isinstance(error, (ConnectionError, http.client.HTTPException)):
            raise RequestError(
                "the node went away in the middle of the answer",
                hint="see `opengateway status`, and why with `opengateway logs`",
            ) from error

    @property
    def status(self) -> int:
        return self._reply.status

    def read(self, most: int | None = None) -> bytes:
        return self._reply.read(most) if most is not None else self._reply.read()

    def readline(self) -> bytes:
        return self._reply.readline(MOST_LINE)


def connect(home: Home) -> NodeClient:
    """The node that runs from `home`. Raises `NotRunning`."""
    facts = home.announced()
    if facts is None:
        if (pid := home.running_pid()) is not None:
            raise NotRunning(
                f"the node is still starting, or stopping (pid {pid})",
                hint="try again in a moment; follow it with `opengateway logs -f`",
            )
        raise not_running()
    return NodeClient(
        str(facts.get("http", "")), home.read_control_token(), str(facts.get("certificate", ""))
    )


def not_running() -> NotRunning:
    return NotRunning("no node is running here", hint="start it with `opengateway start`")


def _lines(answer: _Answer) -> Iterator[str]:
    while line := answer.readline():
        if len(line) >= MOST_LINE and not line.endswith(b"\n"):
            raise EngineFailed("the node sent a line that is too long to be an answer")
        if text := line.decode("utf-8", "replace").strip("\r\n"):
            yield text


def _raise_for(answer: _Answer) -> None:
    if answer.status < http.client.BAD_REQUEST:
        return
    content = answer.read(MOST_LINE)
    try:
        described = json.loads(content)["error"]
    except (ValueError, KeyError, TypeError):
        described = None
    raise _error(described, answer.status)


def _error(described: Any, status: int) -> OpenGatewayError:
    if not isinstance(described, dict):
        words = described if isinstance(described, str) else f"the node answered with HTTP status {status}"
        return RequestError(words, hint="see why with `opengateway logs`")
    wait, hint = described.get("retry_after"), str(described.get("hint") or "")
    message = str(described.get("message") or f"the node answered with HTTP status {status}")
    return from_code(
        str(described.get("code") or ""),
        # OpenAI clients show the message only, so the node puts the hint behind it, too.
        message.removesuffix(f" ({hint})") if hint else message,
        hint=hint,
        retry_after=float(wait) if isinstance(wait, (int, float)) else None,
    )


def _object(text: str) -> dict[str, Any]:
    try:
        found = json.loads(text)
    except ValueError as error:
        raise _strange("a stream") from error
    if not isinstance(found, dict):
        raise _strange("a stream")
    return found


def _strange(path: str) -> RequestError:
    return RequestError(
        f"what answers there is no OpenGateway node (asked for {path})",
        hint="is another program on its port? `opengateway doctor` looks",
    )
