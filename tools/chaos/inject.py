"""Each fault, made and taken back, on a thread of its own; and who starts again what has ended by itself."""

from __future__ import annotations

import contextlib
import errno
import http.client
import signal
import threading
import time
from collections.abc import Callable, Mapping
from typing import Final

import psutil

from tools.chaos.history import Gone, Struck
from tools.chaos.invariants import RECOVERY_S
from tools.chaos.load import Busy
from tools.chaos.node import ChaosNode
from tools.chaos.place import Place
from tools.chaos.plan import KINDS, LEAVE, Fault
from tools.local_node import NodeFailed

LOOK_S: Final = 0.1
BLOCK: Final = 2**20
MIDST: Final = frozenset({"kill", "engine", "freeze"})
"""Faults that strike a worker in the middle of an answer, if it gives one within MIDST_S."""
MIDST_S: Final = 2.0
SHORT: Final = 10
"""Characters of a node's id in `x-opengateway-node`."""
GIVES_UP: Final = 6
"""Times RECOVERY_S after which nobody waits for a crashed actor any more."""
UNREACHABLE: Final = (OSError, http.client.HTTPException, ValueError, KeyError)
"""What a question to a broken node may raise."""


class Skip(Exception):
    """This fault cannot be made now."""


class Injector:
    """`struck` and `gone` fill while it works."""

    def __init__(
        self, nodes: Mapping[str, ChaosNode], place: Place, now: Callable[[], float], busy: Busy
    ) -> None:
        self.struck: list[Struck] = []
        self.gone: list[Gone] = []
        self._nodes, self._place, self._now, self._busy = nodes, place, now, busy
        self._turns = {name: threading.Lock() for name in nodes}
        self._over = threading.Event()
        self._threads: list[threading.Thread] = []
        self._keeper = threading.Thread(target=self._keep, name="keeper")

    def start(self) -> None:
        self._keeper.start()

    def stop(self) -> None:
        """Takes back at once whatever still acts. Whoever left stays away."""
        self._over.set()
        for thread in [*self._threads, self._keeper]:
            if thread.ident is not None:
                thread.join()

    def strike(self, fault: Fault) -> None:
        """Returns at once."""
        self._threads = [one for one in self._threads if one.is_alive()]
        thread = threading.Thread(target=self._strike, args=(fault,), name=str(fault), daemon=True)
        self._threads.append(thread)
        thread.start()

    def wait(self) -> None:
        """Until every fault is taken back."""
        for thread in self._threads:
            thread.join()

    def _strike(self, fault: Fault) -> None:
        if fault.kind in KINDS and KINDS[fault.kind].network:
            self._make(fault)
            return
        with self._turns[fault.targets[0]]:  # on a busy machine the node may not be back from the one before
            self._make(fault)

    def _make(self, fault: Fault) -> None:
        if fault.kind in MIDST:
            self._busy.wait(str(self._nodes[fault.targets[0]].info["node_id"])[:SHORT], MIDST_S)
        struck = Struck(fault, self._now(), float("inf"))
        self.struck.append(struck)
        try:
            if fault.kind in KINDS and KINDS[fault.kind].network:
                self._reign(fault)
            else:
                self._break(fault, self._nodes[fault.targets[0]], struck)
        except Skip as reason:
            struck.skipped = str(reason)
        except (OSError, psutil.Error) as error:  # it had ended just now
            struck.skipped = f"{type(error).__name__}: {error}"
        finally:
            if fault.kind != LEAVE:
                struck.ended_s = self._now()

    def _reign(self, fault: Fault) -> None:
        end = self._place.weather(fault.kind, fault.targets, fault.amount)
        try:
            self._over.wait(fault.for_s)
        finally:
            end()

    def _break(self, fault: Fault, node: ChaosNode, struck: Struck) -> None:
        process = node.running()
        if process is None:
            raise Skip(f"{node.name} does not run")
        match fault.kind:
            case "kill" | "restart":
                with node.life:
                    node.end(kill=fault.kind == "kill")
                    self._over.wait(fault.for_s)
                    self._begin(node)
            case "leave":
                node.end(kill=True)
            case "engine":
                self._kill_engine(process)
            case "crash":
                struck.recovered_s = self._crash(fault, node)
            case "freeze":
                process.send_signal(signal.SIGSTOP)
                try:
                    self._over.wait(fault.for_s)
                finally:
                    process.send_signal(signal.SIGCONT)
            case "files":
                self._limit(fault, process, psutil.RLIMIT_NOFILE, process.num_fds() + int(fault.amount))
            case "memory":
                more = int(fault.amount) * BLOCK
                self._limit(fault, process, psutil.RLIMIT_AS, process.memory_info().vms + more)
            case "disk":
                self._fill(fault, node)
            case "clock":
                node.order(f"clock {fault.amount:g}")
                try:
                    self._over.wait(fault.for_s)
                finally:
                    node.order("clock 0")

    def _begin(self, node: ChaosNode) -> None:
        try:
            node.begin()
        except NodeFailed as error:
            node.wanted = True  # the keeper tries again
            self.gone.append(Gone(node.name, self._now(), -1, f"it did not start: {last_words(str(error))}"))

    def _kill_engine(self, process: psutil.Process) -> None:
        children = process.children(recursive=True)
        if not children:
            raise Skip("its engine does not run")
        for child in children:
            with contextlib.suppress(psutil.NoSuchProcess):
                child.kill()

    def _limit(self, fault: Fault, process: psutil.Process, which: int, most: int) -> None:
        soft, hard = process.rlimit(which)
        process.rlimit(which, (most, hard))
        try:
            self._over.wait(fault.for_s)
        finally:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.rlimit(which, (soft, hard))

    def _fill(self, fault: Fault, node: ChaosNode) -> None:
        if "disk" in self._place.missing:
            raise Skip(self._place.missing["disk"])
        file = node.spot.folder / "filler"
        try:
            with file.open("wb", buffering=0) as filler:
                for size in (BLOCK, 4096, 1):
                    try:
                        while filler.write(bytes(size)) == size:
                            pass
                    except OSError as error:
                        if error.errno != errno.ENOSPC:
                            raise
            self._over.wait(fault.for_s)
        finally:
            file.unlink(missing_ok=True)

    def _crash(self, fault: Fault, node: ChaosNode) -> float | None:
        """Seconds until the next life of this actor runs."""
        try:
            life, _ = self._actor(node, fault.actor)
        except (*UNREACHABLE, NodeFailed) as error:
            raise Skip(f"{node.name} does not say who lives there: {error}") from error
        began = time.monotonic()
        node.order(f"crash {fault.actor}")
        while (took := time.monotonic() - began) < GIVES_UP * RECOVERY_S:
            with contextlib.suppress(*UNREACHABLE, NodeFailed):
                now, state = self._actor(node, fault.actor)
                if now > life and state == "running":
                    return took
            time.sleep(LOOK_S)
        return None

    def _actor(self, node: ChaosNode, name: str) -> tuple[int, str]:
        for row in node.get("/node/actors")["actors"]:
            if row["name"] == name or row["name"].startswith(f"{name}-"):
                return int(row["life"]), str(row["state"])
        raise KeyError(name)

    # -- what a service manager does -----------------------------------------------------------

    def _keep(self) -> None:
        while not self._over.wait(LOOK_S):
            for node in self._nodes.values():
                if node.wanted and node.running() is None and node.life.acquire(blocking=False):
                    try:
                        self._again(node)
                    finally:
                        node.life.release()

    def _again(self, node: ChaosNode) -> None:
        if not node.wanted or node.running() is not None:
            return
        if node.process is not None:
            words = last_words(node.log_tail())
            self.gone.append(Gone(node.name, self._now(), node.process.returncode, words))
        self._begin(node)


def last_words(log: str) -> str:
    return " / ".join(line.strip() for line in log.splitlines()[-3:])
