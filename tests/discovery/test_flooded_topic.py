"""Ten thousand fake announcements under one topic from one address, against real libtorrent nodes."""

from __future__ import annotations

import random
import socket
import threading
import time
from dataclasses import dataclass
from typing import Any

import dht_lab
import pytest
from dht_lab import NET, PATIENCE_S, Swarm

from opengateway.discovery.dht import Announced, Dht
from opengateway.discovery.dht_settings import DhtSettings
from opengateway.discovery.hints import PORTS, Hints
from opengateway.discovery.topics import topic

lt = pytest.importorskip("libtorrent")

FAKES = 10_000
ATTACKER = "127.0.0.66"
WANTED = topic(NET, "world", "", "llama3.2:3b")
HONEST = 4001
AGAIN_S = 3.0
"""Between two announcements and searches of the honest, who would be taken for a flood themselves."""


@dataclass(frozen=True, slots=True)
class InTheOpen(DhtSettings):
    """As a node in the open, but for what would keep it from using loopback at all: libtorrent's own limits
    on what one address may send are in force."""

    def pack(self) -> dict[str, Any]:
        limits = ("dht_block_ratelimit", "dht_block_timeout", "dht_upload_rate_limit")
        usual = lt.default_settings()
        return {**DhtSettings.pack(self), **{name: usual[name] for name in limits}}


class Open(Swarm):
    """Each node has an address of its own, as strangers have."""

    def __init__(self, size: int) -> None:
        self.nodes = [Dht(NET, InTheOpen(f"127.0.0.{at + 2}", 0, guarded=False)) for at in range(size)]
        self.heard = [[] for _ in self.nodes]
        self._asked = {}

    def join(self) -> None:
        first, *_ = self.ports()
        for node in self.nodes[1:]:
            node.enter_by("127.0.0.2", first)
        for at in range(1, len(self.nodes)):
            self.until(lambda at=at: self.table(at) > 0, "it knows somebody")

    def found(self, at: int) -> set[str]:
        """Endpoints that this node was told of, whoever told it."""
        return {endpoint for event in self.said(at, Announced) for endpoint in event.endpoints}


class Attacker:
    """Speaks BEP 5 from one address, as fast as it can, and answers questions as any node does."""

    def __init__(self) -> None:
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind((ATTACKER, 0))
        self._id = random.Random(1).randbytes(20)
        self._tokens: dict[tuple[str, int], bytes] = {}
        self._told = threading.Condition()
        self._thread = threading.Thread(target=self._listen)
        self._thread.start()

    def flood(self, where: tuple[str, int], count: int) -> None:
        self._say(where, b"get_peers", {b"id": self._id, b"info_hash": WANTED})
        with self._told:
            assert self._told.wait_for(lambda: where in self._tokens, PATIENCE_S), f"{where} gives no token"
        for port in range(10_000, 10_000 + count):
            values = {b"id": self._id, b"info_hash": WANTED, b"port": port, b"token": self._tokens[where]}
            self._say(where, b"announce_peer", values)

    def _say(self, where: tuple[str, int], what: bytes, values: dict[bytes, Any]) -> None:
        self._socket.sendto(lt.bencode({b"t": b"aa", b"y": b"q", b"q": what, b"a": values}), where)

    def _listen(self) -> None:
        while True:
            data, source = self._socket.recvfrom(4096)
            if not data:
                return
            said = lt.bdecode(data)
            if said.get(b"y") == b"q":
                answer = {b"t": said[b"t"], b"y": b"r", b"r": {b"id": self._id, b"nodes": b""}}
                self._socket.sendto(lt.bencode(answer), source)
            elif b"token" in said.get(b"r", {}):
                with self._told:
                    self._tokens[source] = bytes(said[b"r"][b"token"])
                    self._told.notify_all()

    def close(self) -> None:
        self._socket.sendto(b"", self._socket.getsockname())
        self._thread.join(PATIENCE_S)
        self._socket.close()


def test_ten_thousand_announcements_from_one_address_hide_nobody_and_are_bounded(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # The others mute the flooder, and then wait 15 s for it once, as for any node that is gone.
    monkeypatch.setattr(dht_lab, "PATIENCE_S", 45.0)
    swarm, attacker = Open(6), Attacker()
    try:
        swarm.join()
        for node, port in zip(swarm.nodes, swarm.ports(), strict=True):
            where = (node_host(swarm, node), port)
            attacker.flood(where, FAKES // len(swarm.nodes))
        honest = {f"tcp://127.0.0.{at + 2}:{HONEST}" for at in (1, 2)}

        last = [0.0]

        def seen() -> bool:
            if time.monotonic() - last[0] > AGAIN_S:
                last[0] = time.monotonic()
                for at in (1, 2):
                    swarm.nodes[at].announce(WANTED, HONEST)
                swarm.nodes[5].seek(WANTED)
            return honest <= swarm.found(5)

        swarm.until(seen, "the honest nodes are found")
        fakes = {endpoint for endpoint in swarm.found(5) if ATTACKER in endpoint}
        print(len(fakes), "of the fakes got into the DHT")
        assert len(fakes) < FAKES // 10
        hints = Hints()
        hints.add(sorted(swarm.found(5)), now=0.0)
        assert len(hints) <= PORTS + len(honest)
        assert honest <= set(hints.take(3, now=0.0)), "each address has its turn before any has a second"
    finally:
        attacker.close()
        swarm.close()


def node_host(swarm: Open, node: Dht) -> str:
    return f"127.0.0.{swarm.nodes.index(node) + 2}"
