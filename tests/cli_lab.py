"""A stand-in for a node's HTTP port, for what a real node cannot be made to do on command: pause between two
tokens, break off, send control characters. It speaks the node's HTTP contract and nothing else; everything
that a real node can show is tested against one.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from opengateway.home import Home

PATIENCE_S = 20.0

Chunk = bytes | threading.Event
"""Bytes to send, or an event to wait for before going on."""


@dataclass
class Script:
    """What the port answers, and what it saw."""

    chunks: list[Chunk] = field(default_factory=list)
    answers: dict[str, tuple[int, Any]] = field(default_factory=dict)
    requests: list[tuple[str, dict[str, str], Any]] = field(default_factory=list)
    left: threading.Event = field(default_factory=threading.Event)
    """The client closed the connection in the middle of a stream."""


def sse(event: object) -> bytes:
    return b"data: " + (event.encode() if isinstance(event, str) else json.dumps(event).encode()) + b"\n\n"


def token(text: str) -> bytes:
    return sse({"choices": [{"index": 0, "delta": {"content": text}}]})


DONE = sse("[DONE]")


@contextmanager
def scripted_node(home: Home, script: Script) -> Iterator[None]:
    """Be the node of `home` while the block runs."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *args: object) -> None:
            pass

        def do_GET(self) -> None:
            self.reply(None)

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            self.reply(json.loads(body) if body else None)

        def reply(self, body: Any) -> None:
            script.requests.append((self.path, dict(self.headers), body))
            self.close_connection = True
            status, content = script.answers.get(self.path.partition("?")[0], (200, None))
            if content is not None:
                raw = content if isinstance(content, bytes) else json.dumps(content).encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(raw)))
                self.end_headers()
                self.wfile.write(raw)
                return
            self.send_response(200)
            self.send_header("Content-Type", "text/event-stream")
            self.send_header("Connection", "close")
            self.end_headers()
            self.stream()

        def stream(self) -> None:
            watcher = threading.Thread(target=self.watch)
            watcher.start()
            try:
                for chunk in script.chunks:
                    if isinstance(chunk, threading.Event):
                        chunk.wait(PATIENCE_S)
                    else:
                        self.wfile.write(chunk)
            except OSError:
                pass
            finally:
                self.finish_stream(watcher)

        def watch(self) -> None:
            try:
                if not self.connection.recv(1):
                    script.left.set()
            except OSError:
                pass

        def finish_stream(self, watcher: threading.Thread) -> None:
            with suppress(OSError):
                self.connection.shutdown(socket.SHUT_WR)
            watcher.join(PATIENCE_S)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = False
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        with home.hold():
            home.new_control_token()
            url = f"http://127.0.0.1:{server.server_address[1]}"
            home.announce(http=url, wire_port=1, node_id="a" * 52, version="0")
            yield
    finally:
        for chunk in script.chunks:
            if isinstance(chunk, threading.Event):
                chunk.set()
        server.shutdown()
        thread.join()
        server.server_close()


def command(*args: str, home: Path | None = None) -> list[str]:
    return [sys.executable, "-m", "opengateway", *(["--home", str(home)] if home else []), *args]


def opengateway(*args: str, home: Path | None = None, **more: Any) -> subprocess.CompletedProcess[str]:
    """Run the command to its end, as a user would."""
    more.setdefault("stdin", subprocess.DEVNULL) if "input" not in more else None
    env = {key: value for key, value in os.environ.items() if key != "OPENGATEWAY_HOME"}
    return subprocess.run(
        command(*args, home=home), capture_output=True, text=True, timeout=50, check=False, env=env, **more
    )


Run = Callable[..., tuple[int, str, str]]
"""`main()` in this process: exit code, stdout, stderr."""
