"""What travels on one session, and how much of it has arrived.

What is on its way to a peer is bounded in bytes (`Limits.queued_bytes`), measured end to end: a Pong
proves that everything sent before its Ping has been read. ZeroMQ's own high-water mark counts messages,
and a thousand of 1 MiB each would be a gigabyte for one peer that never reads.

What is said within one turn of the loop travels in one frame. Each frame costs 50 us at both ends together
(seal, system calls, open), a message in it 5; a short answer was three frames, a busy worker's tokens
hundreds a turn.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from functools import partial
from typing import Final

from opengateway.wire.carrier import Carrier
from opengateway.wire.clock import Clock
from opengateway.wire.codec import MessageRefused, decode_messages, encode_message
from opengateway.wire.limits import MESSAGES_PER_FRAME, Limits
from opengateway.wire.link_messages import Ping
from opengateway.wire.messages import Message
from opengateway.wire.peer import Session
from opengateway.wire.session import BOX_BYTES, HEADER_BYTES, FrameRefused

_FULL: Final = 32 * 1024
"""Bytes from which a frame is not filled any further: sealing it takes 30 us, and what comes next may go."""

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
        """Have it sent with the next frame. False, and counted, if the carrier took the last one no more."""
        try:
            body = encode_message(message)
        except MessageRefused:
            log.exception("a message has no encoding")
            self._count["not_sent_unencodable"] += 1
            return False
        if len(body) + HEADER_BYTES + BOX_BYTES > self._limits.frame:
            self._count["not_sent_oversized"] += 1
            return False
        outbox = session.outbox
        full = session.outbox_bytes + len(body) > _FULL or len(outbox) >= MESSAGES_PER_FRAME
        if (session.stuck or (outbox and full)) and not self.flush(session):
            self._count["not_sent_busy"] += 1
            return False
        if not outbox:
            self._carrier.soon(partial(self.flush, session))
        outbox.append(body)
        session.outbox_bytes += len(body)
        session.bytes_out += len(body)
        return True

    def flush(self, session: Session) -> bool:
        """Seal what waits into one frame and hand it to the carrier. False if that did not take it: then it
        still waits, and nothing more is accepted."""
        frame, outbox = session.stuck, session.outbox
        if not frame and outbox:
            frame = session.keys.sealer.seal(b"".join(outbox), self._now())
            session.bytes_out += len(frame) - session.outbox_bytes
            session.outbox_bytes = 0
            outbox.clear()
        if frame and not self._carrier.send(session.link, frame):
            session.stuck = frame  # to be sent as it is: a frame left out would be a gap
            return False
        session.frames_out += bool(frame)
        session.stuck = b""
        return True

    def retry(self, sessions: Iterable[Session]) -> None:
        """What a carrier did not take a moment ago."""
        for session in sessions:
            if session.stuck:
                self.flush(session)

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
        session.best_ms = sample if session.best_ms is None else min(sample, session.best_ms)
        # 1/8 as TCP smooths it (RFC 6298).
        session.rtt_ms = sample if session.rtt_ms is None else session.rtt_ms + (sample - session.rtt_ms) / 8
        return True


def read_frame(session: Session, frame: bytes) -> tuple[list[Message], int] | str:
    """The messages in this frame and how many are of unknown kinds, or why it is refused."""
    try:
        return decode_messages(session.keys.opener.open(frame))
    except FrameRefused as refused:
        return refused.reason
    except MessageRefused:
        return "malformed_message"
