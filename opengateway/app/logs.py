"""The node's log: one line an event on stderr, which the daemon keeps in logs/node.log.

No prompt, answer or key is ever logged: the loggers are given ids, counts and types only.
"""

from __future__ import annotations

import logging
import time

FORMAT = "%(asctime)s.%(msecs)03dZ %(levelname)-7s %(name)s: %(message)s"
QUIET = ("asyncio", "aiohttp", "zeroconf", "pykka", "httpx", "httpcore")
"""Libraries that are heard from warnings on: at INFO some of them log every request."""


def configure_logs(level: str) -> None:
    handler = logging.StreamHandler()
    formatter = logging.Formatter(FORMAT, "%Y-%m-%dT%H:%M:%S")
    formatter.converter = time.gmtime
    handler.setFormatter(formatter)
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    for name in QUIET:
        logging.getLogger(name).setLevel(max(logging.WARNING, root.level))
