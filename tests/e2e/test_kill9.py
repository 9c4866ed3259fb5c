"""kill -9 of nodes while they serve, again and again: what others were shown stays, and nobody forks.

Three nodes: `serving` has a real engine, `asking` has users, and a notary (tests/kill_lab.py) asks and pays
on its own and writes down every EARN in the instant in which it arrives. Who is killed, and when, follows
from the seed, which a failure prints.

    OPENGATEWAY_KILLS=200 OPENGATEWAY_SEED=7 .venv/bin/pytest -m slow tests/e2e/test_kill9.py -s
"""

from __future__ import annotations

import contextlib
import os
import random
import threading
import time
from collections.abc import Iterator
from http.client import HTTPException
from pathlib import Path
from typing import Self

import pytest
from harness import Node, private_network, until
from kill_lab import Memory, Notary
from sse import chat

from opengateway.ledger.audit import verify, verify_pair
from tools.local_node import NodeFailed

CHAT = "/v1/chat/completions"
FEW = 3
USERS = 3


class Users:
    """They ask one prompt after the other and shrug at errors."""

    def __init__(self, node: Node, chance: random.Random) -> None:
        self.answers = 0
        self._node = node
        self._over = threading.Event()
        seeds = [chance.random() for _ in range(USERS)]
        self._threads = [threading.Thread(target=self._live, args=(random.Random(s),)) for s in seeds]

    def _live(self, chance: random.Random) -> None:
        while not self._over.is_set():
            body = chat(max_tokens=chance.choice((1, 8, 64)), stream=chance.random() < 0.5)
            with contextlib.suppress(OSError, HTTPException, NodeFailed, ValueError):
                status, _ = self._node.request("POST", CHAT, body)
                self.answers += status == 200
            self._over.wait(0.005)

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join(60)


class Scene:
    def __init__(self, folder: Path, seed: int) -> None:
        self.folder = folder
        self.chance = random.Random(seed)
        self.memory = Memory()
        self.kills = {"serving": 0, "asking": 0, "starting": 0}

    @contextlib.contextmanager
    def running(self) -> Iterator[Scene]:
        network = private_network()
        with contextlib.ExitStack() as stack:
            self.serving = stack.enter_context(
                Node(self.folder, "serving", network, engine={"kind": "pocket"})
            )
            fixed = {"port": self.serving.info["wire_port"]}
            self.serving.config["wire"] = {**self.serving.config["wire"], **fixed}
            known = {"bootstrap": [self.serving.endpoint]}
            self.asking = stack.enter_context(Node(self.folder, "asking", network, wire=known))
            until(lambda: self.asking.get("/node/models")["network"], "the model is offered")
            self.notary = Notary(self.folder, self.serving, self.memory)
            stack.callback(self.notary.close)
            self.notary.start()
            yield self

    def life(self) -> None:
        """Some prompts, a death in the middle of them, and a start."""
        victim = self.serving if self.chance.random() < 0.75 else self.asking
        with Users(self.asking, self.chance):
            time.sleep(self.chance.uniform(0.02, 0.8))
            victim.kill9()
            self.kills[victim.name] += 1
            if self.chance.random() < 0.15:  # and once more while it reads its ledger
                victim.launch()
                time.sleep(self.chance.uniform(0.05, 0.9))
                victim.kill9()
                self.kills["starting"] += 1
            victim.start()
        assert self.notary.failure is None, self.notary.failure

    def look(self) -> None:
        """The books of both nodes against everything that anybody was ever shown."""
        for node in (self.serving, self.asking):
            assert not node.get("/node/status").get("ledger_damage")
            shown = self.memory.so_far()
            self.memory.read(self.export(node), shown)

    def export(self, node: Node) -> Path:
        file = self.folder / f"{node.name}.ogwl"
        file.write_bytes(node.get("/node/ledger/export"))
        return file

    def settle_up(self) -> None:
        """In the end everything arrives, the books agree, and strangers find nothing wrong with them."""

        def agreed() -> bool:
            [ours] = self.asking.get("/node/ledger/peers")["peers"]
            theirs = [row["net"] for row in self.serving.get("/node/ledger/peers")["peers"]]
            return not self.asking.get("/node/ledger/balance")["held"] and -ours["net"] in theirs

        until(agreed, "both books agree", patience_s=60)
        self.notary.stop()
        files = self.export(self.serving), self.export(self.asking)
        report = verify_pair(*files)
        assert report.exit <= 1, [f for part in report for f in part.findings][:10]
        notary = self.folder / "notary.ogwl"
        self.notary.export(notary)
        self.memory.read(notary, {})
        assert verify(notary).exit <= 1
        assert verify_pair(files[0], notary).exit <= 1


def kill(folder: Path, kills: int, seed: int) -> Scene:
    scene = Scene(folder, seed)
    with scene.running():
        for life in range(kills):
            try:
                scene.life()
                scene.look()
            except BaseException as error:
                error.add_note(f"in life {life}: OPENGATEWAY_SEED={seed}")
                raise
        scene.settle_up()
    return scene


@pytest.mark.timeout(180)
def test_a_node_that_is_killed_while_it_serves_forgets_nothing_it_showed(tmp_path: Path) -> None:
    scene = kill(tmp_path, FEW, seed=3)
    assert scene.memory.receipts > 0


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_two_hundred_kills_and_nothing_that_was_shown_is_lost(tmp_path: Path) -> None:
    seed = int(os.environ.get("OPENGATEWAY_SEED", "0")) or random.SystemRandom().randrange(1, 10**6)
    kills, started = int(os.environ.get("OPENGATEWAY_KILLS", "200")), time.monotonic()
    scene = kill(tmp_path, kills, seed)
    print(
        f"\n{sum(scene.kills.values())} kills {scene.kills}, seed {seed}: {len(scene.memory.leaves)} entries "
        f"were shown to others and are all there, {scene.notary.receipts} EARNs of them seen on the wire; "
        f"no fork; {time.monotonic() - started:.0f} s"
    )
    assert scene.notary.receipts > kills
