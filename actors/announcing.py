"""Heads of everybody's ledgers, on the I/O loop: what comes in goes to the Ledger, what is news goes on.

A head is 350 bytes. Each node hears each of them from about three others, so most are thrown away here by
their first look; the rest is judged by the Ledger, together, a few times a second (ledger/heads.py).
"""

from __future__ import annotations

import logging
import random
import time
from collections import Counter
from collections.abc import Callable

from actors.io_loop import IoLoop
from actors.kernel import Address, Reply
from actors.messages import HearHeads, LedgerMessage
from actors.together import Together
from opengateway.ledger.witnessing import Heard
from opengateway.units import NodeId
from opengateway.wire.witness_messages import Head

logger = logging.getLogger(__name__)

FAN_OUT = 3
"""Peers that hear of news. In the trial (200 to 5,000 nodes) 99 % knew after 6 to 9 rounds."""
PASSED_PER_S = 5.0
PASSED_AT_ONCE = 50
"""News that goes on at once, and then a second: what a network says all the time by the authors' own measure
(EVERY_MS_EACH). Where many authors begin at once, as after a power cut, the rest waits its turn, the newest
head of each."""
PER_MINUTE = 600
"""From one peer. 5 heads/s go round in a network of any size, three times: 900 a minute over all peers.
Judging one takes 0.1 ms."""
REMEMBERED = 4096
"""Heads that are known by their first look, and authors whose news may wait."""


class Announcing:
    def __init__(
        self,
        io: IoLoop,
        ledger: Address[LedgerMessage],
        *,
        send: Callable[[NodeId, Head], bool],
        peers: Callable[[], list[NodeId]],
    ) -> None:
        self._io = io
        self._ledger = ledger
        self._send = send
        self._peers = peers
        self._new = Together(io, self._judge)
        self._known: dict[str, None] = {}
        self._minute: dict[NodeId, tuple[float, int]] = {}
        """Since when, and how many heads since."""
        self._waiting: dict[str, tuple[Head, NodeId | None]] = {}
        """Author -> its newest head, and who told it."""
        self._budget, self._budget_at = float(PASSED_AT_ONCE), time.monotonic()
        self.counters: Counter[str] = Counter()

    def heard(self, peer: NodeId, head: Head) -> None:
        began, count = self._minute.get(peer, (0.0, 0))
        now = time.monotonic()
        if now - began >= 60.0:
            began, count = now, 0
        self._minute[peer] = began, count + 1
        if count >= PER_MINUTE:
            self.counters["flood"] += 1
        elif head.note in self._known:
            self.counters["known"] += 1
        else:
            self._known[head.note] = None
            while len(self._known) > REMEMBERED:
                del self._known[next(iter(self._known))]
            self._new.add((peer, head))

    def _judge(self, heads: tuple[tuple[NodeId, Head], ...]) -> None:
        self._ledger.ask(HearHeads(heads)).then(lambda r: self._io.call(self._judged, r))

    def _judged(self, reply: Reply[Heard]) -> None:
        try:
            heard = reply.get(timeout=0)
        except Exception as error:  # the next ones will come
            logger.info("heads of ledgers were not read: %s", error)
            return
        self.counters["news"] += len(heard.news)
        for reason, times in heard.refused.items():
            self.counters[f"refused_{reason}"] += times
        for source, head in heard.news:
            self.pass_on(head, source)

    def pass_on(self, head: Head, source: NodeId | None = None) -> None:
        """Soon: after what waits already."""
        self._known[head.note] = None
        author = head.note.partition("\n")[0]
        if author not in self._waiting and len(self._waiting) >= REMEMBERED:
            self.counters["no_room"] += 1
            return
        self._waiting[author] = head, source
        self.tick()

    def tick(self) -> None:
        """Once a second, and with each that is news."""
        now = time.monotonic()
        earned = (now - self._budget_at) * PASSED_PER_S
        self._budget, self._budget_at = min(self._budget + earned, PASSED_AT_ONCE), now
        while self._waiting and self._budget >= 1:
            self._budget -= 1
            self._pass_on(*self._waiting.pop(next(iter(self._waiting))))

    def _pass_on(self, head: Head, source: NodeId | None) -> None:
        others = [peer for peer in self._peers() if peer != source]
        for peer in random.sample(others, min(FAN_OUT, len(others))):  # no secret: only spread
            self.counters["passed_on"] += self._send(peer, head)

    def lost(self, peer: NodeId) -> None:
        self._minute.pop(peer, None)
