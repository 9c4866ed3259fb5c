"""What goes out on one session, and how much of it has arrived.

What is on its way to a peer is bounded in bytes (`Limits.queued_bytes`), measured end to end: a Pong
proves that everything sent before its Ping has been read. ZeroMQ's own high-water mark counts messages,
and a thousand of 1 MiB each would be a gigabyte for one peer that never reads.
"""

from __future__ import annotations

import logging

from opengateway.wire.carrier import Carrier
from opengateway.wire.clock import Clock
from opengateway.wire.codec import MessageRefused, encode_message
from opengateway.wire.limits import Limits
from opengateway.wire.messages import Message, Ping
from opengateway.wire.peer import Session
from opengateway.wire.session import BOX_BYTES, HEADER_BYTES

log = logging.getLogger("opengateway.wire")


class Traffic:
    """Used by sessions.py only."""

    def __init__(self, carrier: Carrier, limits: Limits, clock: Clock, count: dict[str, int]) -> None:
        self._carrier = carrier
        self._limits = limits
        self._now = clock.now
        self._count = count
        count |= dict.fromkeys(("not_sent_busy", "not_sent_oversized", "not_sent_unencodable"), 0)

    def send(self, session: Session, message: Message) -> bool:
        """Seal and hand to the carrier. False, and counted, if it did not take it."""
        try:
            body = encode_message(message)
        except MessageRefused:
            log.exception("a message has no encoding")
            self._count["not_sent_unencodable"] += 1
            return False
        if len(body) + HEADER_BYTES + BOX_BYTES > self._limits.frame:
            self._count["not_sent_oversized"] += 1
            return False
        frame = session.keys.sealer.seal(body, self._now())
        if not self._carrier.send(session.link, frame):
            self._count["not_sent_busy"] += 1
            return False
        session.frames_out += 1
        session.bytes_out += len(frame)
        return True

    def ping(self, session: Session) -> None:
        """Ask for an answer, which will say that everything before has been read."""
        now = self._now()
        t_us = int(now * 1e6)
        if session.pings and t_us <= session.pings[-1][0]:
            t_us = session.pings[-1][0] + 1
        before = session.pinged_at = session.bytes_out
        session.last_ping = now
        if self.send(session, Ping(t_us)):
            session.pings.append((t_us, before))

    def answered(self, session: Session, t_us: int) -> bool:
        """A Pong has come. False: to no ping of ours."""
        pings = session.pings
        if not any(t_us == sent for sent, _ in pings):
            return False
        while True:
            sent, before = pings.popleft()
            if sent == t_us:
                break
        session.bytes_read = before
        session.last_answer = session.last_heard
        sample = max(0.0, session.last_heard * 1e3 - t_us / 1e3)
        # 1/8 as TCP smooths it (RFC 6298).
        session.rtt_ms = sample if session.rtt_ms is None else session.rtt_ms + (sample - session.rtt_ms) / 8
        return True
