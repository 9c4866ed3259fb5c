"""One run from the first start to the last goodbye; its history is all that comes of it."""

from __future__ import annotations

import contextlib
import io
import os
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final, TypeVar

import psutil

from opengateway.ledger.audit_cli import main as audit
from tools.chaos.history import History, errors_in, ids_to_names
from tools.chaos.inject import UNREACHABLE, Injector
from tools.chaos.invariants import AGAIN_S, GHOST_S, LIMIT_S, WHILE, violations
from tools.chaos.load import HANGS, Load, ask, wholes
from tools.chaos.node import PORT, ChaosNode
from tools.chaos.place import Loopback, Place, build
from tools.chaos.plan import LEAVE, Fault, names
from tools.local_node import NodeFailed, merged, private_network

T = TypeVar("T")
MEET_S: Final = 30.0
SETTLE_S: Final = 30.0
"""For receipts that were on their way to arrive, and for books to agree."""
WAITS_S: Final = 15
"""Of a request for a free slot."""
STAYS_S: Final = 1.0
LOOK_S: Final = 0.25
SAMPLE_S: Final = 1.0
MOST_SLOW: Final = 4.0


class Run:
    def __init__(
        self, folder: Path, seed: int, nodes: int, faults: Sequence[Fault], tell: Callable[[str], None]
    ) -> None:
        self.history = History()
        self.slow = 1.0
        """Load average per core, the highest seen, MOST_SLOW at most: what limits are multiplied by."""
        self.missing: dict[str, str] = {}
        self._folder, self._seed, self._faults, self._tell = folder, seed, faults, tell
        self._workers, self._callers = names(nodes)
        self._zero = time.monotonic()
        self._nodes: dict[str, ChaosNode] = {}
        self._ids: dict[str, str] = {}
        self._over = threading.Event()
        self._judged = (0, 0)
        """Requests and ends of processes that have been looked at."""

    def now(self) -> float:
        return time.monotonic() - self._zero

    def go(self) -> History:
        """Raises `RuntimeError` or `NodeFailed` if the network does not work before anything is broken."""
        with contextlib.ExitStack() as stack:
            place = build(self._folder)
            stack.callback(place.close)
            self.missing = place.missing
            stack.callback(self._end_nodes)
            self._begin_nodes(place)
            self._wait(self._all_met, MEET_S, "everybody meets everybody")
            if not self._all_met():
                raise RuntimeError(f"the nodes did not meet: {self._meetings()}")
            self.history.wholes = wholes(self._nodes[self._workers[0]], self.now)
            sampler = threading.Thread(target=self._sample, name="sampler")
            stack.callback(sampler.join)
            stack.callback(self._over.set)
            self._break(place, sampler)
        self.history.asked.sort(key=lambda one: one.sent_s)
        return self.history

    # -- before --------------------------------------------------------------------------------

    def _begin_nodes(self, place: Place) -> None:
        port = 0 if isinstance(place, Loopback) else PORT
        config = merged(
            private_network(),
            {
                "wire": {"port": port, "map_port": False},
                "http": {"patience_s": WAITS_S},
            },
        )
        for name in (*self._workers, *self._callers):
            engine = {"engine": {"kind": "pocket", "slots": 2, "threads": 1}} if name in self._workers else {}
            self._nodes[name] = ChaosNode(place.settle(name), name, merged(config, engine))
        first, *others = self._nodes.values()
        first.begin()
        for node in others:
            known = [f"{first.spot.address}:{first.info['wire_port']}"]
            node.config = merged(node.config, {"wire": {"bootstrap": known}})
        with ThreadPoolExecutor(2) as pool:
            list(pool.map(ChaosNode.begin, others))
        for node in self._nodes.values():
            node.config = merged(node.config, {"wire": {"port": node.info["wire_port"]}})
            self._ids[str(node.info["node_id"])] = node.name

    # -- while ---------------------------------------------------------------------------------

    def _break(self, place: Place, sampler: threading.Thread) -> None:
        load = Load(self._seed, self.now)
        injector = Injector(self._nodes, place, self.now, load.busy)
        self.history.struck, self.history.gone = injector.struck, injector.gone
        self.history.asked = load.asked
        self._zero = time.monotonic()
        sampler.start()
        injector.start()
        try:
            for name in (*self._callers, *self._callers, self._workers[0]):
                load.user(self._nodes[name])
            load.user(self._nodes[self._callers[-1]], waits=False)
            for fault in self._faults:
                time.sleep(max(0.0, fault.at_s - self.now()))
                if fault.kind in place.missing:
                    continue
                if fault.kind == LEAVE:
                    injector.wait()  # whoever was restarted last is back
                self._tell(str(fault))
                injector.strike(fault)
            injector.wait()
            self._after(injector)
        finally:
            load.stop()
            injector.stop()
        self._at_rest()

    def _sample(self) -> None:
        while True:
            cores = os.cpu_count() or 1
            self.slow = min(MOST_SLOW, max(self.slow, psutil.getloadavg()[0] / cores))
            for node in self._nodes.values():
                if (held := node.held(self.now())) is not None:
                    self.history.held.setdefault(node.name, []).append(held)
            self._judge()
            if self._over.wait(SAMPLE_S):
                return

    def _judge(self) -> None:
        """Says at once what is violated; the end counts, and says it again."""
        seen = self.history
        first, until = self._judged, (len(seen.asked), len(seen.gone))
        part = History(
            asked=seen.asked[first[0] : until[0]],
            wholes=seen.wholes,
            struck=list(seen.struck),
            gone=seen.gone[first[1] : until[1]],
        )
        for one in violations(part, self.slow, WHILE):
            self._tell(f"{one.at_s:7.1f} s  VIOLATED  {one.invariant}: {one.says}")
        self._judged = until

    # -- after ---------------------------------------------------------------------------------

    def _after(self, injector: Injector) -> None:
        """Load goes on; one worker is gone."""
        history, ended = self.history, self.now()
        history.ended_s = ended
        history.absent = tuple(
            one.fault.targets[0] for one in injector.struck if one.fault.kind == LEAVE and not one.skipped
        )
        asking = [self._nodes[name] for name in self._callers]
        with ThreadPoolExecutor(len(asking)) as pool:
            took = pool.map(self._served_again, asking)
            history.served_again_s = dict(zip(self._callers, took, strict=True))
        self._wait(lambda: self._all_met(history.absent), GHOST_S, "nobody lists who is gone")
        history.met = self._meetings()
        for one in injector.struck:
            if one.fault.kind == LEAVE and not one.skipped:
                self._nodes[one.fault.targets[0]].begin()
                one.ended_s = self.now()
        self._wait(self._all_met, MEET_S, "everybody is back")
        history.met_again = self._meetings()

    def _served_again(self, node: ChaosNode) -> float | None:
        ended = self.now()
        while (took := self.now() - ended) < 3 * AGAIN_S * self.slow:
            asked = node.inside(lambda: ask(node, 0, self.now, LIMIT_S * HANGS))
            self.history.asked.append(asked)
            if asked.ending == "answer":
                return took
            time.sleep(LOOK_S)
        return None

    def _at_rest(self) -> None:
        """The load has ended."""
        history = self.history
        self._wait(self._books_settled, SETTLE_S, "all books agree, and stay so")
        for name, node in self._nodes.items():
            with contextlib.suppress(*UNREACHABLE, NodeFailed):
                history.nets[name] = self._nets(node)
                history.holds[name] = int(node.get("/node/ledger/balance")["held"])
                rows = node.get("/node/actors")["actors"]
                history.actors_down[name] = [row["name"] for row in rows if row["state"] != "running"]
        exports = self._folder / "exports"
        exports.mkdir()
        for name, node in self._nodes.items():
            file = exports / f"{name}.ogwl"
            try:
                file.write_bytes(node.get("/node/ledger/export"))
                history.audits[name] = audited("verify", file)
            except (*UNREACHABLE, NodeFailed) as error:
                history.audits[name] = (-1, f"no export: {error}")
        history.audits["all together"] = audited("net", exports)
        for name, node in self._nodes.items():
            if (held := node.held(self.now())) is not None:
                history.held.setdefault(name, []).append(held)

    def _end_nodes(self) -> None:
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(ChaosNode.close, self._nodes.values()))
        outputs = [
            node.output.read_text(errors="replace") for node in self._nodes.values() if node.output.exists()
        ]
        self.history.logged = errors_in(line for text in outputs for line in text.splitlines())
        self.history.left_behind = {name: node.left_behind for name, node in self._nodes.items()}

    # -- questions -----------------------------------------------------------------------------

    def _meetings(self) -> dict[str, dict[str, str]]:
        found = {}
        for name, node in self._nodes.items():
            if node.running() is None:
                continue
            with contextlib.suppress(*UNREACHABLE, NodeFailed):
                rows = node.get("/node/peers")["peers"]
                found[name] = {self._ids.get(row["id"], row["id"]): str(row["state"]) for row in rows}
        return found

    def _all_met(self, absent: Sequence[str] = ()) -> bool:
        here, meetings = set(self._nodes) - set(absent), self._meetings()
        return all(
            {peer for peer, state in meetings.get(one, {}).items() if state == "up"} == here - {one}
            for one in here
        )

    def _nets(self, node: ChaosNode) -> dict[str, int]:
        rows: list[dict[str, Any]] = node.get("/node/ledger/peers")["peers"]
        return ids_to_names(self._ids, {row["id"]: int(row["net"]) for row in rows})

    def _books_agree(self) -> bool:
        try:
            nets = {name: self._nets(node) for name, node in self._nodes.items()}
            held = sum(node.get("/node/ledger/balance")["held"] for node in self._nodes.values())
        except (*UNREACHABLE, NodeFailed):
            return False
        return not held and all(
            nets[one].get(other, 0) + nets[other].get(one, 0) == 0 for one in nets for other in nets
        )

    def _books_settled(self) -> bool:
        """An answer that nobody waited for is still paid a moment after its user has gone."""
        if not self._books_agree():
            return False
        time.sleep(STAYS_S)
        return self._books_agree()

    def _wait(self, condition: Callable[[], bool], limit_s: float, what: str) -> None:
        """Whether it came about is seen by what is read afterwards."""
        began = time.monotonic()
        while not condition():
            if time.monotonic() - began > limit_s * self.slow:
                self._tell(f"in vain for {limit_s * self.slow:.0f} s: {what}")
                return
            time.sleep(LOOK_S)
        self._tell(f"{time.monotonic() - began:.1f} s until {what}")


def audited(command: str, path: Path) -> tuple[int, str]:
    """Exit code of `opengateway-audit`, and what it printed."""
    with contextlib.redirect_stdout(io.StringIO()) as said:
        code = audit([command, str(path)])
    return code, said.getvalue().strip()[-1500:]
