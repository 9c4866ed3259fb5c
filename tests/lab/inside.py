"""HTTP to a node on a host of the lab, without starting a program there for each question."""

from __future__ import annotations

import ctypes
import http.client
import json
import os
import threading
from pathlib import Path
from typing import Any

from lab.hosts import Host
from lab.namespaces import FOLDER

_NEW_NET = 0x40000000  # CLONE_NEWNET
LIMIT_S = 20.0


def ask(
    host: Host, home: Path, path: str, body: dict[str, Any] | None = None, limit_s: float = LIMIT_S
) -> Any:
    """The node's answer: JSON, or text where it is none. Raises `OSError` while nobody answers."""
    found: list[Any] = []

    def inside() -> None:
        # A thread's network is its own, and ends with it. os.setns came with Python 3.12 only.
        there = os.open(FOLDER / host.namespace, os.O_RDONLY)
        try:
            if ctypes.CDLL(None, use_errno=True).setns(there, _NEW_NET):
                raise OSError(ctypes.get_errno(), "setns")
            found.append(_http(home, path, body, limit_s))
        except Exception as error:
            found.append(error)
        finally:
            os.close(there)

    thread = threading.Thread(target=inside)
    thread.start()
    thread.join()
    if isinstance(found[0], Exception):
        raise OSError(f"{host.name}: {found[0]}") from found[0]
    return found[0]


def _http(home: Path, path: str, body: dict[str, Any] | None, limit_s: float) -> Any:
    where = json.loads((home / "run" / "node.json").read_text())["http"]
    token = (home / "run" / "control.token").read_text().strip()
    line = http.client.HTTPConnection(where.removeprefix("http://"), timeout=limit_s)
    try:
        headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
        line.request("POST" if body else "GET", path, json.dumps(body) if body else None, headers)
        answer = line.getresponse()
        text = answer.read().decode()
    finally:
        line.close()
    return json.loads(text) if "json" in (answer.headers["content-type"] or "") else text
