"""The node's log: one line an event on stderr, which the daemon keeps in logs/node.log.

No prompt, answer or key is ever logged: the loggers are given ids, counts and types only.
"""

from __future__ import annotations

import json
import logging
import time
from types import TracebackType
from typing import Any

from opengateway.app import request_log
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


class JsonLines(LogFormat):
    """One JSON object a line: time, level, logger, message, and the facts of a request's line beside it."""

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "time": f"{self.formatTime(record, self.datefmt)}.{int(record.msecs):03d}Z",
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        facts = getattr(record, "facts", None)
        if isinstance(facts, dict):
            line |= facts
        if record.exc_info:
            line["error"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False, default=str)


def configure_logs(level: str, form: str = "text", *, requests: bool = False) -> None:
    """`form`: text or json. `requests`: a line for each (request_log.py)."""
    handler = logging.StreamHandler()
    kind = JsonLines if form == "json" else LogFormat
    formatter = kind(FORMAT, "%Y-%m-%dT%H:%M:%S")
    formatter.converter = time.gmtime
    handler.setFormatter(formatter)
    request_log.logger.setLevel(logging.INFO if requests else logging.WARNING)
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    for name in QUIET:
        logging.getLogger(name).setLevel(max(logging.WARNING, root.level))
