"""HTTP to a node on a host of the lab, without starting a program there for each question."""

from __future__ import annotations

import contextlib
import ctypes
import http.client
import json
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from lab.hosts import Host
from lab.namespaces import FOLDER

_NEW_NET = 0x40000000  # CLONE_NEWNET
LIMIT_S = 20.0

T = TypeVar("T")


def ask(
    host: Host, home: Path, path: str, body: dict[str, Any] | None = None, limit_s: float = LIMIT_S
) -> Any:
    """The node's answer: JSON, or text where it is none. Raises `OSError` while nobody answers."""
    return within(host, lambda: _http(home, path, body, limit_s))


def listen(
    host: Host, home: Path, path: str, body: dict[str, Any], heard: Callable[[str], None], limit_s: float
) -> None:
    """A streamed answer, line by line as it comes. Raises `OSError`."""

    def read() -> None:
        with contextlib.closing(_connection(home, limit_s)) as line:
            line.request("POST", path, json.dumps({**body, "stream": True}), _headers(home))
            for raw in line.getresponse():
                if text := raw.decode().strip():
                    heard(text)

    within(host, read)


def within(host: Host, call: Callable[[], T]) -> T:
    """What it returns there. Raises `OSError` for whatever it raises."""
    found: list[T | Exception] = []

    def inside() -> None:
        # A thread's network is its own, and ends with it. os.setns came with Python 3.12 only.
        there = os.open(FOLDER / host.namespace, os.O_RDONLY)
        try:
            if ctypes.CDLL(None, use_errno=True).setns(there, _NEW_NET):
                raise OSError(ctypes.get_errno(), "setns")
            found.append(call())
        except Exception as error:
            found.append(error)
        finally:
            os.close(there)

    thread = threading.Thread(target=inside)
    thread.start()
    thread.join()
    [answer] = found
    if isinstance(answer, Exception):
        raise OSError(f"{host.name}: {answer}") from answer
    return answer


def _connection(home: Path, limit_s: float) -> http.client.HTTPConnection:
    where = json.loads((home / "run" / "node.json").read_text())["http"]
    return http.client.HTTPConnection(where.removeprefix("http://"), timeout=limit_s)


def _headers(home: Path) -> dict[str, str]:
    token = (home / "run" / "control.token").read_text().strip()
    return {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}


def _http(home: Path, path: str, body: dict[str, Any] | None, limit_s: float) -> Any:
    with contextlib.closing(_connection(home, limit_s)) as line:
        line.request("POST" if body else "GET", path, json.dumps(body) if body else None, _headers(home))
        answer = line.getresponse()
        text = answer.read().decode()
    return json.loads(text) if "json" in (answer.headers["content-type"] or "") else text
