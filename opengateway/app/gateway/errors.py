"""Errors as HTTP says them: one shape everywhere, in OpenAI's place for it, with our hint inside."""

from __future__ import annotations

from typing import Any

import orjson
from aiohttp import web

from actors.kernel import ActorDeadError, Refused
from opengateway.errors import BadRequest, NotEnoughCredit, OpenGatewayError


def error_body(error: OpenGatewayError) -> dict[str, Any]:
    kind = "invalid_request_error" if error.status in (400, 404) else "opengateway_error"
    return {
        "error": {
            "message": error.message if not error.hint else f"{error.message} ({error.hint})",
            "hint": error.hint,
            "code": error.code,
            "type": kind,
            "param": (error.param or None) if isinstance(error, BadRequest) else None,
            "retry_after": error.retry_after,
            **({"missing": error.missing} if isinstance(error, NotEnoughCredit) else {}),
        }
    }


def error_response(error: OpenGatewayError, headers: dict[str, str] | None = None) -> web.Response:
    more = dict(headers or {})
    if error.retry_after is not None:
        more["Retry-After"] = str(max(1, round(error.retry_after)))
    return web.Response(
        body=orjson.dumps(error_body(error)),
        status=error.status,
        headers=more,
        content_type="application/json",
    )


def plain(error: BaseException) -> OpenGatewayError:
    """What an actor's refusal or failure means to a user."""
    if isinstance(error, OpenGatewayError):
        return error
    if isinstance(error, Refused):
        inner = error.args[0] if error.args else None
        return inner if isinstance(inner, OpenGatewayError) else _Unavailable(str(error), retry_after=1.0)
    if isinstance(error, (ActorDeadError, TimeoutError)):
        return _Unavailable(
            "this part of the node does not answer; `opengateway actors` shows it", retry_after=1.0
        )
    return OpenGatewayError(
        f"an unexpected error: {type(error).__name__}", hint="`opengateway logs` has the details"
    )


class _Unavailable(OpenGatewayError):
    """A part of the node is restarting."""

    code = "unavailable"
    status = 503
