"""A node that can be broken, and is brought back."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final, TypeVar

import psutil

from tools.chaos.history import Held
from tools.chaos.place import ROOT, Spot
from tools.local_node import LocalNode, merged

T = TypeVar("T")
HOOK: Final = Path(__file__).parent / "hook"
PORT: Final = 11436
"""In a namespace of its own."""


class ChaosNode(LocalNode):
    """What others may do to it, and what it holds. Its `life` is held while it is ended and begun."""

    def __init__(self, spot: Spot, name: str, config: Mapping[str, Any]) -> None:
        here = {"region": spot.region, "wire": {"host": spot.listens}}
        super().__init__(spot.folder, name=name, config=merged(config, here))
        self.spot = spot
        self.life = threading.RLock()
        self.wanted = False
        """It is to run: whoever sees it ended starts it."""
        # A process in a namespace is killed when the thread that started it ends: nothing outlives us.
        self._starter = ThreadPoolExecutor(1, f"starter of {name}")
        self._inside = ThreadPoolExecutor(4, f"in {name}", initializer=spot.enter)

    # -- life ----------------------------------------------------------------------------------

    def command(self, *words: str) -> list[str]:
        return self.spot.command(super().command(*words))

    @property
    def environment(self) -> dict[str, str]:
        return super().environment | {
            "PYTHONPATH": f"{HOOK}{os.pathsep}{ROOT}",
            "OPENGATEWAY_CHAOS": "1",
            "PYTHONUNBUFFERED": "1",
        }

    def launch(self) -> ChaosNode:
        self.home.mkdir(parents=True, exist_ok=True)
        with contextlib.suppress(OSError):  # a full disk: it has the one of its last start
            (self.home / "config.json").write_text(json.dumps(self.config, indent=2))
        self.process = self._starter.submit(self._spawn).result()
        return self

    def _spawn(self) -> subprocess.Popen[bytes]:
        with self.output.open("ab") as output:
            return subprocess.Popen(
                self.command("start", "--foreground"),
                env=self.environment,
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    @property
    def output(self) -> Path:
        """Not on the node's own disk, which may be full."""
        return self.spot.folder.parent / f"{self.name}.output"

    def begin(self) -> None:
        with self.life:
            self._collect()
            self.start()
            self.wanted = True

    def end(self, *, kill: bool) -> None:
        with self.life:
            self.wanted = False
            if self.process is not None and kill:
                self.kill9()
                self._collect()
            else:
                self.stop()

    def _collect(self) -> None:
        """What is dead, with its pipe."""
        if self.process is not None:
            if self.process.stdin is not None:
                self.process.stdin.close()
            self.process.wait()
            self.process = None

    def stop(self) -> None:
        pipe = self.process.stdin if self.process is not None else None
        super().stop()
        if pipe is not None:
            pipe.close()

    def close(self) -> None:
        self.wanted = False
        self.stop()
        self._starter.shutdown()
        self._inside.shutdown()

    # -- questions -----------------------------------------------------------------------------

    def inside(self, what: Callable[[], T]) -> T:
        """Called where this node's addresses are."""
        return self._inside.submit(what).result()

    def request(
        self, method: str, path: str, body: Any = None, headers: Mapping[str, str] | None = None
    ) -> tuple[int, Any]:
        plain = super().request
        return self.inside(lambda: plain(method, path, body, headers))

    def order(self, words: str) -> None:
        """To the hook inside it. Raises `OSError` if it has ended."""
        assert self.process is not None
        assert self.process.stdin is not None
        self.process.stdin.write(f"{words}\n".encode())
        self.process.stdin.flush()

    def running(self) -> psutil.Process | None:
        process = self.process
        if process is None or process.poll() is not None:
            return None
        with contextlib.suppress(psutil.Error):
            return psutil.Process(process.pid)
        return None

    def held(self, at_s: float) -> Held | None:
        """None while it does not run."""
        process = self.running()
        with contextlib.suppress(psutil.Error, OSError):
            if process is not None:
                files = sum(len(names) for _, _, names in os.walk(self.home))
                return Held(
                    at_s,
                    process.pid,
                    process.memory_info().rss / 2**20,
                    process.num_fds(),
                    process.num_threads(),
                    1 + len(process.children(recursive=True)),
                    files,
                )
        return None
