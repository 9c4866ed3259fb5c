"""The node's log: one line an event on stderr, which the daemon keeps in logs/node.log.

No prompt, answer or key is ever logged: the loggers are given ids, counts and types only.
"""

from __future__ import annotations

import logging
import time
from types import TracebackType

from opengateway.errors import OpenGatewayError

FORMAT = "%(asctime)s.%(msecs)03dZ %(levelname)-7s %(name)s: %(message)s"
QUIET = ("asyncio", "aiohttp", "zeroconf", "pykka", "httpx", "httpcore")
"""Libraries that are heard from warnings on: at INFO some of them log every request."""


class LogFormat(logging.Formatter):
    """An error with a name is told in its words: a taken port is no bug of ours and has no traceback."""

    def formatException(  # noqa: N802 - the name that logging calls
        self,
        ei: tuple[type[BaseException], BaseException, TracebackType | None] | tuple[None, None, None],
    ) -> str:
        error = ei[1]
        if isinstance(error, OpenGatewayError):
            return f"{error.message} ({error.hint})" if error.hint else error.message
        return super().formatException(ei)


def configure_logs(level: str) -> None:
    handler = logging.StreamHandler()
    formatter = LogFormat(FORMAT, "%Y-%m-%dT%H:%M:%S")
    formatter.converter = time.gmtime
    handler.setFormatter(formatter)
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    for name in QUIET:
        logging.getLogger(name).setLevel(max(logging.WARNING, root.level))
