"""Our requests at peers: what we asked, what has come back, and what we shall pay for.

Runs on the I/O loop. A peer is hostile until proven otherwise: chunks must be numbered without a gap,
must stay inside the window that we granted, and the tokens that it claims are bounded by the bytes that
travelled (a token is at least one byte of text).
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from hashlib import sha256
from typing import Any

import orjson

from opengateway.engines.prompt_size import least_prompt
from opengateway.engines.protocol import GenerateRequest
from opengateway.engines.refusal import open_refusal
from opengateway.engines.stream import Chunk, Finished, Route, Stream, Waits
from opengateway.engines.tab import Tab
from opengateway.engines.ticket import Ticket
from opengateway.errors import AllBusy, BadRequest, Cancelled, OpenGatewayError, WorkerLost, from_code
from opengateway.units import NetworkId, NodeId
from opengateway.wire.continue_messages import Continue, Continued
from opengateway.wire.limits import FRAME_LIMIT
from opengateway.wire.messages import (
    INSTALMENT,
    STREAM_WINDOW,
    Accepted,
    Ask,
    Cancel,
    Chunks,
    Ended,
    Failed,
    Grant,
    Message,
    Refused,
)
from opengateway.wire.waiting_messages import Queued

GRANT_AT = STREAM_WINDOW // 4
"""Chunks read before we grant more: a quarter of the window keeps the peer sending at one grant per 64."""
LEAST_INSTALMENT = 8
"""Tokens: a worker that wants a voucher more often than that does not get it, as each costs us a commit."""
QUEUED_AT_ONCE, QUEUED_A_SECOND = 64, 4
"""Times that a peer may say where a request stands: the Scheduler looks 4 times a second."""
BODY_LIMIT = FRAME_LIMIT - 16 * 1024
"""Bytes of a request that fit into one frame beside its signed OPEN and the seal."""


@dataclass(slots=True)
class Asker:
    """All our requests at all peers."""

    net: NetworkId
    send: Callable[[NodeId, Message], bool]
    hang_up: Callable[[NodeId, str], None]
    counters: dict[str, int] = field(default_factory=lambda: {"asked": 0, "protocol_errors": 0})
    _tickets: dict[tuple[NodeId, int], Ticket] = field(default_factory=dict)
    _last: int = 0

    def ask(
        self,
        peer: NodeId,
        request: GenerateRequest,
        stream: Stream,
        route: Route,
        *,
        deadline_ms: int,
        opening: bytes,
        salt: bytes,
        ended: Callable[[Ticket], None],
        vouch: Callable[[Ticket], object] | None = None,
        tab: Tab | None = None,
    ) -> Ticket:
        """`ended` is called exactly once, after the stream is finished or instead of failing it."""
        body = orjson.dumps(request.body)
        size = len(body) + sum(len(text.encode()) + 5 for text in request.partial)
        least = least_prompt(request)
        ticket = Ticket(peer, self.number(), stream, route, size, least, ended, vouch, hashed=sha256(salt))
        if tab is not None:
            ticket.tab, ticket.account = tab, tab.account
            tab.number = tab.number or ticket.number  # the first one brings its OPEN
        ask = _ask(ticket.number, request, body, max(1, deadline_ms), opening)
        if size > BODY_LIMIT and not stream.done:
            ticket.error = _too_large(size)
            ended(ticket)
            return ticket
        if stream.done or not self.send(peer, ask):
            ticket.error = stream.error or AllBusy("the connection to the peer is full", retry_after=1.0)
            ended(ticket)
            return ticket
        self.counters["asked"] += 1
        self._tickets[peer, ticket.number] = ticket
        stream.on_cancel = lambda: self._cancel(ticket)
        stream.on_drain = lambda count: self._drained(ticket, count)
        return ticket

    def number(self) -> int:
        """The next number for a stream."""
        self._last += 1
        return self._last

    def knows(self, ticket: Ticket) -> bool:
        """Its answer is still coming."""
        return self._tickets.get((ticket.peer, ticket.number)) is ticket

    def heard(self, peer: NodeId, message: Message) -> None:
        """A message about one of our requests; one that we no longer know is late, not wrong."""
        match message:
            case Accepted(stream=number, engine=engine, lead=lead):
                if ticket := self._tickets.get((peer, number)):
                    self._accepted(ticket, lead)
                    ticket.stream.opened(replace(ticket.route, engine=engine))
            case Queued(stream=number):
                if ticket := self._tickets.get((peer, number)):
                    self._queued(ticket, message)
            case Chunks(stream=number, first=first, items=items):
                if ticket := self._tickets.get((peer, number)):
                    self._chunks(ticket, first, items)
            case Continued(stream=number, tokens=tokens):
                if ticket := self._tickets.get((peer, number)):
                    ticket.partial_tokens = min(tokens, ticket.sent_bytes)
            case Ended() as end:
                if ticket := self._tickets.get((peer, end.stream)):
                    self._finish(ticket, end)
            case Failed() as fault:
                retry = None if fault.retry_after_ms < 0 else fault.retry_after_ms / 1000
                self._fail(
                    peer,
                    fault.stream,
                    from_code(fault.code, fault.message, hint=fault.hint, retry_after=retry),
                )
            case Refused(stream=number, refusal=refusal):
                if (peer, number) in self._tickets:
                    self._fail(peer, number, open_refusal(refusal, self.net, peer, number))
            case _:
                self._violation(peer, "not an answer")

    def lost(self, peer: NodeId, reason: str) -> None:
        """The session is gone, and every answer that came over it."""
        for who, number in [key for key in self._tickets if key[0] == peer]:
            self._fail(who, number, WorkerLost(f"the answering node is gone: {reason}"))

    def in_flight(self) -> int:
        return len(self._tickets)

    def tickets(self) -> list[Ticket]:
        """Those whose answers are still coming."""
        return list(self._tickets.values())

    def give_up(self, ticket: Ticket, error: OpenGatewayError) -> None:
        """Wait no longer for the rest; the peer is told, should it hear us."""
        if self.knows(ticket):
            self.send(ticket.peer, Cancel(ticket.number))
            self._fail(ticket.peer, ticket.number, error)

    def _chunks(self, ticket: Ticket, first: int, items: list[str | bytes]) -> None:
        if first != ticket.chunks or len(items) > ticket.window:
            self._violation(ticket.peer, "chunks out of order or beyond the window")
            return
        before = ticket.came
        ticket.chunks += len(items)
        ticket.window -= len(items)
        chunks: list[Chunk] = []
        for item in items:
            raw = item.encode() if isinstance(item, str) else item
            ticket.received_bytes += len(raw)
            ticket.hashed.update(raw)
            delta = item if isinstance(item, str) else _delta(item)
            if delta is None:
                self._violation(ticket.peer, "a delta that is no JSON object")
                return
            chunks.append(delta)
        if ticket.stream.route is None:
            ticket.stream.opened(ticket.route)
        ticket.stream.put(chunks)
        ticket.account.tokens += ticket.came - before
        if ticket.vouch is not None and ticket.account.instalment:
            self._instalment(ticket)

    def _accepted(self, ticket: Ticket, lead: int) -> None:
        account, ticket.accepted = ticket.account, True
        if lead:
            account.instalment = min(INSTALMENT, max(LEAST_INSTALMENT, lead // 2))
        account.vouched_at = account.vouched_at or time.monotonic()
        if ticket.tab is not None:
            ticket.tab.accepted = True

    def _queued(self, ticket: Ticket, said: Queued) -> None:
        ticket.queued += 1
        if ticket.queued > QUEUED_AT_ONCE + QUEUED_A_SECOND * (time.monotonic() - ticket.asked_at):
            self._violation(ticket.peer, "it says too often where a request stands")
        elif ticket.chunks:
            self._violation(ticket.peer, "a request that is being answered stands in no queue")
        else:
            eta = said.eta_ms / 1000 if said.eta_ms else None
            ticket.stream.queued(Waits(said.position, eta) if said.position else None)

    def _instalment(self, ticket: Ticket) -> None:
        """Vouch for what has come, once it is enough or a while ago."""
        if ticket.account.falls_due(time.monotonic()):
            assert ticket.vouch is not None
            ticket.vouch(ticket)

    def _drained(self, ticket: Ticket, count: int) -> None:
        ticket.unread += count
        if ticket.unread >= GRANT_AT and (ticket.peer, ticket.number) in self._tickets:
            ticket.window += ticket.unread
            self.send(ticket.peer, Grant(ticket.number, ticket.unread))
            ticket.unread = 0

    def _finish(self, ticket: Ticket, end: Ended) -> None:
        self._forget(ticket)
        ticket.finished = Finished(
            end.reason,
            end.prompt_tokens,
            end.completion_tokens,
            end.prompt_us / 1e6,
            end.generate_us / 1e6,
            ticket.partial_tokens,
        )
        ticket.ended(ticket)

    def _fail(self, peer: NodeId, number: int, error: OpenGatewayError) -> None:
        ticket = self._tickets.get((peer, number))
        if ticket is not None:
            self._forget(ticket)
            ticket.error = error
            ticket.ended(ticket)

    def _cancel(self, ticket: Ticket) -> None:
        self.give_up(ticket, Cancelled())

    def _forget(self, ticket: Ticket) -> None:
        del self._tickets[ticket.peer, ticket.number]
        ticket.stream.on_cancel = ticket.stream.on_drain = None

    def _violation(self, peer: NodeId, what: str) -> None:
        self.counters["protocol_errors"] += 1
        self.hang_up(peer, f"protocol error: {what}")


def _ask(
    number: int, request: GenerateRequest, body: bytes, deadline_ms: int, opening: bytes
) -> Ask | Continue:
    row = (number, request.kind, request.model, body, request.stream, deadline_ms, opening)
    return Continue(*row, list(request.partial)) if request.partial else Ask(*row)


def _too_large(size: int) -> BadRequest:
    return BadRequest(
        f"the request has {size // 1024} kB, and at most {BODY_LIMIT // 1024} kB travel to another node",
        hint="shorten it, or ask a node that serves the model itself",
    )


def _delta(raw: bytes) -> dict[str, Any] | None:
    try:
        value = orjson.loads(raw)
    except orjson.JSONDecodeError:
        return None
    return value if isinstance(value, dict) else None
