"""A node that asks, others that serve, and a hand that kills who is answering at a token of its choice."""

from __future__ import annotations

import contextlib
import random
import signal
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Self, TypeAlias

import psutil
from harness import Node, NodeFailed, private_network, until
from sse import Streamed, chat

from opengateway.ledger.audit import verify_pair
from opengateway.units import CREDIT

ASKED = (
    chat("Count to 20."),
    chat("Count from 5 to 25."),
    chat("Count to 19."),
    chat("Count to 20.", max_tokens=70),
    chat("Name the months."),
    chat("Name the months.", stop=["September"]),
)
"""The model is sure of every token of these: the second best is at least 0.4 nats behind. Its stories have
places where two words are 0.01 apart, and there llama.cpp itself says now the one and now the other,
uninterrupted, by how much of the prompt lay in its cache (a batch of another size rounds in another way)."""


How: TypeAlias = Literal["node", "engine", "freeze"]


@dataclass
class Told:
    """One answer, as its reader had it."""

    text: str = ""
    finish: str = ""
    usage: tuple[int, int] = (0, 0)
    stats: dict[str, Any] = field(default_factory=dict)
    killed_at: float = 0.0
    """Monotonic seconds."""
    next_token: float = 0.0
    """Seconds from the kill to the token after the longest pause: until then the reader lives on what the
    dead worker had sent."""
    pause: float = 0.0

    @property
    def places(self) -> list[str]:
        return [place["node"] for place in self.stats["places"]]

    @property
    def cost(self) -> int:
        """ucr."""
        return round(float(self.stats["credits"]) * CREDIT)


class Network:
    """`workers` are brought back in the background after each kill."""

    def __init__(self, folder: Path, workers: int) -> None:
        self.folder = folder
        self._stack = contextlib.ExitStack()
        network = private_network()
        self._settings = network
        self.workers = [
            Node(folder, f"worker{n}", network, engine={"kind": "pocket"}) for n in range(workers)
        ]
        self._returning: list[threading.Thread] = []
        self._frozen: list[Node] = []
        self._kills: Counter[str] = Counter()
        self._locks = {worker.name: threading.Lock() for worker in self.workers}

    def __enter__(self) -> Self:
        with contextlib.ExitStack() as stack:
            for worker in self.workers:
                stack.enter_context(worker)
                worker.config["wire"] = {**worker.config["wire"], "port": worker.info["wire_port"]}
            known = {"bootstrap": [worker.endpoint for worker in self.workers]}
            self.asking = stack.enter_context(Node(self.folder, "asking", self._settings, wire=known))
            until(lambda: self._offered() == len(self.workers), "all workers are offered")
            stack.callback(self.wait_returned)
            stack.callback(self.thaw)
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def _offered(self) -> int:
        return sum(int(model["nodes"]) for model in self.asking.get("/node/models")["network"])

    def ready(self, least: int) -> None:
        """Until so many workers are offered to the one who asks."""
        until(lambda: self._offered() >= least, f"{least} workers are offered", patience_s=60)

    def tell(self, body: dict[str, Any], kill_at: int | None = None, how: How = "node") -> Told:
        """Ask, and strike who answers once `kill_at` tokens have been read."""
        told, tokens, before = Told(), 0, 0.0
        more = {"stream_options": {"include_usage": True}}
        with Streamed(self.asking, {**body, **more}, {"x-opengateway-stats": "1"}, timeout_s=60) as answer:
            assert answer.status == 200, answer.answer.read()
            for event in answer.events():
                if event == "[DONE]":
                    break
                assert "error" not in event, event["error"]
                for choice in event["choices"]:
                    piece = choice["delta"].get("content") or ""
                    tokens += bool(piece)
                    if piece and told.killed_at:
                        now = time.monotonic()
                        if now - max(before, told.killed_at) > told.pause:
                            told.pause = now - max(before, told.killed_at)
                            told.next_token = now - told.killed_at
                        before = now
                    told.text += piece
                    told.finish = choice["finish_reason"] or told.finish
                if usage := event.get("usage"):
                    told.usage = (usage["prompt_tokens"], usage["completion_tokens"])
                told.stats = event.get("opengateway") or told.stats
                # On a busy machine the headers may go out before anybody answers; then nobody is named.
                if tokens == kill_at and not told.killed_at and (who := answer.headers["x-opengateway-node"]):
                    self.strike(who, how)
                    told.killed_at = time.monotonic()
        return told

    def strike(self, short_id: str, how: How) -> None:
        """node, engine: kill -9. freeze: as if its cable were pulled, until `thaw`; nothing is closed."""
        [worker] = [one for one in self.workers if one.info["node_id"].startswith(short_id)]
        assert worker.process is not None
        if how == "engine":
            for child in worker.children():
                with contextlib.suppress(psutil.Error):
                    child.kill()
        elif how == "freeze":
            worker.process.send_signal(signal.SIGSTOP)
            self._frozen.append(worker)
        else:
            self._kills[worker.name] += 1
            worker.process.kill()
            thread = threading.Thread(target=self._bring_back, args=(worker,), name=f"start {worker.name}")
            self._returning.append(thread)
            thread.start()

    def thaw(self) -> None:
        for worker in self._frozen:
            assert worker.process is not None
            worker.process.send_signal(signal.SIGCONT)
        self._frozen.clear()

    @contextlib.contextmanager
    def stopped_engine(self, short_id: str) -> Iterator[None]:
        [worker] = [one for one in self.workers if one.info["node_id"].startswith(short_id)]
        engines = [child for child in worker.children() if child.net_connections(kind="inet")]
        for engine in engines:
            engine.suspend()
        try:
            yield
        finally:
            for engine in engines:
                engine.resume()

    def _bring_back(self, worker: Node) -> None:
        with self._locks[worker.name]:
            if worker.process is not None:
                worker.kill9()  # collects what is dead
            kills = self._kills[worker.name]
            try:
                worker.start()
            except NodeFailed:
                if kills == self._kills[worker.name]:
                    raise  # else it was killed again as soon as it served: the next thread has it

    def wait_returned(self) -> None:
        for thread in self._returning:
            thread.join(120)
        self._returning.clear()

    def settle_up(self, answers: Sequence[Told]) -> None:
        """What the users were told that it cost is what the workers have, and the books are in order."""
        self.wait_returned()

        def agreed() -> bool:
            rows = self.asking.get("/node/ledger/peers")["peers"]
            nets = {row["id"]: row["net"] for row in rows}
            theirs = {
                worker.info["node_id"]: sum(row["net"] for row in worker.get("/node/ledger/peers")["peers"])
                for worker in self.workers
            }
            held = self.asking.get("/node/ledger/balance")["held"]
            return not held and all(-nets.get(node_id, 0) == net for node_id, net in theirs.items())

        until(agreed, "all books agree", patience_s=60)
        owed = -sum(row["net"] for row in self.asking.get("/node/ledger/peers")["peers"])
        assert owed == sum(told.cost for told in answers)
        ours = self._export(self.asking)
        for worker in self.workers:
            report = verify_pair(ours, self._export(worker))
            assert report.exit <= 1, [f for part in report for f in part.findings][:10]

    def _export(self, node: Node) -> Path:
        file = self.folder / f"{node.name}.ogwl"
        file.write_bytes(node.get("/node/ledger/export"))
        return file


def chosen(chance: random.Random, whole: Told) -> int:
    """A token of this answer, so that some are left: on its way there are more than have been read."""
    return chance.randrange(1, max(2, whole.usage[1] // 2))
