"""The sealed sessions of one node, and the peers at their other ends."""

from __future__ import annotations

from opengateway.identity import short
from opengateway.units import NodeId
from opengateway.wire.aliveness import Watch
from opengateway.wire.audience import Audience
from opengateway.wire.carrier import Carrier, Link
from opengateway.wire.circuits import relay_of
from opengateway.wire.clock import Clock as Clocks
from opengateway.wire.handshake import Established
from opengateway.wire.limits import ACK_EVERY_BYTES, HELD_FRAMES, REFUSALS_PER_SESSION, Limits
from opengateway.wire.link_messages import Clock, Moved, Ping, Pong
from opengateway.wire.messages import Bye, Message
from opengateway.wire.peer import SESSIONS_PER_PEER, Peer, Session, SessionInfo, Tally, info, session_of
from opengateway.wire.roll import Roll
from opengateway.wire.timekeeping import Timekeeping
from opengateway.wire.traffic import Traffic, read_frame

_COUNTED = ("sessions_up", "sessions_down", "not_sent_no_session", "not_sent_queue_full", "relay_tampered")


class Sessions(Roll):
    """Used by hub.py only. `count` is the node's table of counters, shared with it."""

    def __init__(
        self,
        us: NodeId,
        *,
        audience: Audience,
        carrier: Carrier,
        limits: Limits,
        clock: Clocks,
        count: dict[str, int],
    ) -> None:
        self._us = us
        self._audience = audience
        self._carrier = carrier
        self._clock = clock
        self._now = clock.now
        self._count = count
        self._traffic = Traffic(carrier, limits, clock, count)
        count |= dict.fromkeys(_COUNTED, 0)
        super().__init__(self._traffic, limits)
        self.tampered: set[tuple[NodeId, NodeId]] = set()
        self._tally = Tally()
        self._watch = Watch(clock.now(), count)
        self._timekeeping = Timekeeping(self._traffic, clock)

    def __len__(self) -> int:
        return len(self._live)

    # -- sending -----------------------------------------------------------------------

    def send(self, node_id: NodeId, message: Message) -> bool:
        session = self.sending.get(node_id)
        if session is None:
            self._count["not_sent_no_session"] += 1
            return False
        if session.bytes_out - session.bytes_read > self._limits.queued_bytes:
            self._count["not_sent_queue_full"] += 1
            return False
        if not self._traffic.send(session, message):
            return False
        if session.bytes_out - session.pinged_at > ACK_EVERY_BYTES:
            self._traffic.ping(session)
        return True

    # -- receiving ---------------------------------------------------------------------

    def received(self, link: Link, frame: bytes) -> bool:
        """False: no session on this link."""
        session = self._live.get(link)
        if session is None:
            return False
        read = read_frame(session, frame)
        if type(read) is str:
            self._refused(session, read)
        else:
            self._heard_all(session, frame, *read)
        return True

    def _heard_all(self, session: Session, frame: bytes, messages: list[Message], unknown: int) -> None:
        session.last_heard = self._now()
        session.frames_in += 1
        session.bytes_in += len(frame)
        if unknown:
            self._count["refused_unknown_message"] += unknown
        for message in messages:
            self._heard(session, message)
            if session.link not in self._live:  # it said goodbye, or was hung up on
                return

    def _heard(self, session: Session, message: Message) -> None:
        kind = type(message)
        if kind is Ping:
            self._traffic.send(session, Pong(message.t_us))  # type: ignore[union-attr]
        elif kind is Pong:
            new = session.rtt_ms is None
            if not self._traffic.answered(session, message.t_us):  # type: ignore[union-attr]
                self._refused(session, "unknown_pong")
            else:
                self._audience.room(session.keys.peer)
                if new and len((peer := self._peers[session.keys.peer]).sessions) > 1:
                    self._settle(peer)
        else:
            peer = self._peers[session.keys.peer]
            if kind is Moved:
                session.moved_in = True
                self._release(peer, session)  # all that it held is older than anything on the other
                if peer is self._peers.get(peer.node_id):
                    self._settle(peer)
            elif kind is Clock:
                self._timekeeping.heard(session, message)  # type: ignore[arg-type]
            elif peer.must_wait(session):
                self._hold(session, message)
            else:
                self._deliver(session.keys.peer, message)

    def _deliver(self, node_id: NodeId, message: Message) -> None:
        if type(message) is Bye:
            self._down(
                self._peers[node_id], f"it said goodbye: {message.reason}" if message.reason else "it left"
            )
            return
        self._audience.message(node_id, message)

    def _hold(self, session: Session, message: Message) -> None:
        session.held.append(message)
        if len(session.held) > HELD_FRAMES:
            self._end(session, "it never finished moving between two connections", bye=True)

    def _refused(self, session: Session, reason: str) -> None:
        self._count[f"refused_{reason}"] += 1
        session.refusals += 1
        if session.relay is not None and reason not in ("malformed_message", "unknown_pong"):
            # TCP delivers or breaks: the relay has done this, or the peer pretends that it has.
            self._count["relay_tampered"] += 1
            self.tampered.add((session.relay, session.keys.peer))
            why = f"a frame was altered or lost on the way over {short(session.relay)}: {reason}"
            self._end(session, why)
        elif session.refusals >= REFUSALS_PER_SESSION:
            self._end(session, f"{REFUSALS_PER_SESSION} bad frames, the last because of {reason}", bye=True)

    # -- sessions begin and end ----------------------------------------------------------

    def new(self, link: Link, keys: Established, endpoint: str | None, host: str = "") -> Session:
        """A session that nobody knows of yet. `host` is the address that dialled us, if it did."""
        host = host or self._carrier.host_of(link)
        relay = relay_of(link)
        return session_of(self._us, link, keys, endpoint=endpoint, host=host, relay=relay, now=self._now())

    def prove(self, session: Session, frame: bytes) -> bool:
        """The first frame on a link that dialled us: whether it opens, and so begins the session."""
        read = read_frame(session, frame)
        if type(read) is str:
            self._count[f"refused_{read}"] += 1
            return False
        self.begin(session)
        if session.link in self._live:
            self._heard_all(session, frame, *read)
        return True

    def begin(self, session: Session) -> None:
        """This session is up."""
        node_id = session.keys.peer
        session.up_since = session.last_heard = session.last_answer = self._now()
        peer = self._peers.get(node_id)
        if peer is not None and peer.instance != session.keys.instance:
            self._down(peer, "it has restarted")
            peer = None
        self._live[session.link] = session
        self._carrier.trust(session.link)
        self._count["sessions_up"] += 1
        if peer is None:
            peer = self._peers[node_id] = Peer(node_id, session.keys.instance, [session])
            self.sending[node_id] = session
            self._traffic.ping(session)  # the initiator's proof, and at either end the first round trip
            self._audience.peer_up(node_id, session.keys.record, session.endpoint)
            return
        peer.sessions.append(session)
        self._traffic.ping(session)
        if len(peer.sessions) > SESSIONS_PER_PEER:
            self._end(session, "too many connections", bye=True)
        else:
            self._settle(peer)

    def _settle(self, peer: Peer) -> None:
        """Agree on one session, and let go of those that both ends have left."""
        best = peer.best()
        if best is None:
            self._down(peer, "its connection was lost while moving to another")
            return
        self.sending[peer.node_id] = best
        for session in list(peer.sessions):
            if session is not best and not session.moved_out and peer.settled:
                session.moved_out = self._traffic.send(session, Moved())
            if session.moved_out and session.moved_in:
                self._forget(session)
                peer.sessions.remove(session)
        for session in list(peer.sessions):
            if not peer.must_wait(session):
                self._release(peer, session)

    def _release(self, peer: Peer, session: Session) -> None:
        held, session.held = session.held, []
        for message in held:
            if peer is self._peers.get(peer.node_id):  # a message may end it
                self._deliver(peer.node_id, message)

    def _end(self, session: Session, reason: str, *, bye: bool = False) -> None:
        """One session is over; its peer too, if it was the last."""
        peer = self._peers[session.keys.peer]
        if len(peer.sessions) == 1:
            self._down(peer, reason, bye=bye)
            return
        peer.sessions.remove(session)
        self._forget(session)
        self._release(peer, session)
        if peer is self._peers.get(peer.node_id):
            self._settle(peer)

    def _down(self, peer: Peer, reason: str, *, bye: bool = False) -> None:
        del self._peers[peer.node_id], self.sending[peer.node_id]
        for session in peer.sessions:
            if bye:
                self._traffic.send(session, Bye(reason))
            self._forget(session)
        self._audience.peer_down(peer.node_id, reason)

    def _forget(self, session: Session) -> None:
        self._traffic.flush(session)  # its last words
        session.outbox.clear()
        del self._live[session.link]
        self._carrier.shut(session.link)
        self._count["sessions_down"] += 1
        self._tally.over(session)

    # -- what the hub calls --------------------------------------------------------------

    def lost(self, link: Link, reason: str) -> None:
        session = self._live.get(link)
        if session is not None:
            self._end(session, reason)

    def hang_up(self, node_id: NodeId, reason: str) -> None:
        peer = self._peers.get(node_id)
        if peer is not None:
            self._down(peer, reason, bye=True)

    def close(self, reason: str) -> None:
        for session in self._live.values():
            self._traffic.send(session, Bye(reason))
        for session in list(self._live.values()):
            self._forget(session)
        self._peers.clear()
        self.sending.clear()

    def tick(self, now: float) -> None:
        self._timekeeping.look(self._live.values())
        dead, due = self._watch.look(self._live.values(), now)
        for session in due:
            self._traffic.ping(session)
        self._traffic.retry(self._live.values())
        for session, reason in dead:
            if session.link in self._live:
                self._end(session, reason, bye=True)

    def totals(self) -> dict[str, int]:
        return self._tally.totals(self._live.values()) | {"peers": len(self._peers)}

    def infos(self) -> list[SessionInfo]:
        return [info(session) for session in self._live.values()]
