"""What comes over a connection and is no request that can be read: answered in the one shape of all errors.

aiohttp answers it with a line of text, and logs a traceback at every one, which lets a stranger write our log
full. It offers no other way to say something else, so each of its connections becomes one of these, which
differ by two methods.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError
from aiohttp.web_protocol import RequestHandler

from opengateway.app.gateway.errors import error_response
from opengateway.errors import BadRequest, OpenGatewayError


class UnknownEncoding(OpenGatewayError):
    """The body is compressed in a way that is not understood here."""

    code = "unsupported_encoding"
    status = 415


def speaker(noted: Callable[[], None]) -> type[RequestHandler]:
    """The class of a connection that says what is wrong in our words. `noted`: it has."""

    class Speaker(RequestHandler):
        __slots__ = ()  # an instance of its parent can become one

        def handle_error(
            self,
            request: web.BaseRequest,
            status: int = 500,
            exc: BaseException | None = None,
            message: str | None = None,
        ) -> web.StreamResponse:
            if status >= 500 or request.writer.output_size > 0:
                return super().handle_error(request, status, exc, message)
            noted()
            response = error_response(_said(status, message or ""))
            response.force_close()
            return response

        def log_exception(self, *args: Any, **kw: Any) -> None:
            """aiohttp reads what is left of a body that was refused, and fails with it once more."""
            if not isinstance(kw.get("exc_info"), (web.RequestPayloadError, HttpProcessingError)):
                super().log_exception(*args, **kw)

    return Speaker


def become(protocol: Any, kind: type[RequestHandler]) -> None:
    protocol.__class__ = kind


def _said(status: int, message: str) -> OpenGatewayError:
    words = message.partition("\n")[0].strip().rstrip(":")[:200]
    if "content-encoding" in words.lower():
        return UnknownEncoding(
            "the body's Content-Encoding is not known here", hint="send it plain, or with gzip or deflate"
        )
    sealed = "HTTPS traffic" in words or "Invalid method" in words  # the older words
    hint = "the address begins with http://, or set http.certificate" if sealed else ""
    kind = type("Garbled", (BadRequest,), {"status": status, "code": "invalid_request"})
    shown: OpenGatewayError = kind(f"this is no HTTP request that can be read: {words}", hint=hint)
    return shown
