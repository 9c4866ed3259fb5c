"""This node in a Kademlia DHT, through libtorrent: who serves what is announced under topics (BEP 5), and
where a node is lies under its own key (BEP 44). No torrents, and no BitTorrent connections.

What comes back is hearsay: anybody can announce anything, and any DHT node can answer anything. An endpoint
is a hint whom to dial, until the handshake; whereabouts count only with their signer's signature, which
PyNaCl checks again here, though libtorrent has checked the item's own.

libtorrent works on threads of its own. Nothing here waits for it, except opening and closing (some ms): calls
hand work over, `poll` fetches what has happened, and `wake` becomes readable when there is something.
"""

from __future__ import annotations

import contextlib
import hashlib
import socket
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Any, TypeAlias

from opengateway.discovery.addresses import endpoint
from opengateway.discovery.dht_settings import DhtSettings
from opengateway.discovery.record import RecordRefused
from opengateway.discovery.whereabouts import Whereabouts, open_whereabouts
from opengateway.identity import Identity
from opengateway.units import NetworkId, NodeId

TOPICS_LIMIT = 512
"""Topics asked about and not yet forgotten; far above what a node with many models asks in an hour."""

PEERS_PER_REPLY = 200
"""Endpoints read of one DHT node's reply; an honest one sends 100 at most."""

MISSING = (
    "the DHT is not available here: libtorrent cannot be loaded ({why}); "
    "this node goes on with the local network and its bootstrap nodes"
)


class DhtUnavailable(Exception):
    """There is no DHT here; the text is one sentence for the owner."""


@dataclass(frozen=True, slots=True)
class Listening:
    """The DHT's UDP port is open."""

    port: int


@dataclass(frozen=True, slots=True)
class NotListening:
    why: str


@dataclass(frozen=True, slots=True)
class Announced:
    """These endpoints were announced under the topic, says one DHT node."""

    topic: bytes
    endpoints: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Located:
    """A node's own signed word of where it is."""

    here: Whereabouts
    data: bytes


@dataclass(frozen=True, slots=True)
class Published:
    """Our whereabouts lie at so many DHT nodes."""

    copies: int
    item_seq: int


@dataclass(frozen=True, slots=True)
class TableSize:
    """Nodes in the routing table, and bytes sent and received so far."""

    nodes: int
    bytes_out: int
    bytes_in: int


DhtEvent: TypeAlias = Listening | NotListening | Announced | Located | Published | TableSize


def salt_of(net: NetworkId) -> bytes:
    """Of the mutable item: one key may be a node of one network now and of another later."""
    return b"og1" + net


def expanded_secret(identity: Identity) -> bytes:
    """64 bytes as libtorrent wants an Ed25519 secret: the clamped SHA-512 of the seed (RFC 8032, 5.1.5)."""
    secret = bytearray(hashlib.sha512(identity.seed).digest())
    secret[0] &= 248
    secret[31] &= 63
    secret[31] |= 64
    return bytes(secret)


class Dht:
    """Open from the start until `close`. One thread at a time. Raises `DhtUnavailable`."""

    def __init__(self, net: NetworkId, settings: DhtSettings) -> None:
        try:
            import libtorrent
        except Exception as error:  # ImportError, or whatever a wheel for another libc does
            raise DhtUnavailable(MISSING.format(why=error)) from error
        self._lt: Any = libtorrent
        self._net = net
        self._asked: dict[bytes, float] = {}
        self.refused: Counter[str] = Counter()
        """What was heard and not believed, by reason."""
        self.port = 0
        self._readers: dict[str, Callable[[Any, int], DhtEvent | None]] = {
            "listen_succeeded_alert": self._listening,
            "listen_failed_alert": self._not_listening,
            "dht_get_peers_reply_alert": self._announced,
            "dht_mutable_item_alert": self._located,
            "dht_put_alert": self._published,
            "session_stats_alert": self._stats,
        }
        self.wake, self._waker = socket.socketpair()
        for end in (self.wake, self._waker):
            end.setblocking(False)
        try:
            self._session: Any = self._open(settings)
            self._session.set_alert_fd(self._waker.fileno())
        except Exception as error:
            self._shut_wake()
            raise DhtUnavailable(f"the DHT does not start: {error}") from error

    def _open(self, settings: DhtSettings) -> Any:
        lt = self._lt
        category = lt.alert.category_t
        pack = settings.pack() | {
            "alert_mask": int(
                category.dht_notification
                | category.dht_operation_notification
                | category.error_notification
                | category.status_notification
                | category.stats_notification
            )
        }
        params = lt.session_params()
        params.settings = pack
        return lt.session(params)

    def close(self) -> None:
        """Ends libtorrent's threads and closes its sockets; some ms."""
        self._session = None
        self._shut_wake()

    def _shut_wake(self) -> None:
        self.wake.close()
        self._waker.close()

    def nodes(self) -> list[tuple[str, int]]:
        """The routing table, for the next `Dht`. Waits some ms for libtorrent."""
        lt, flag = self._lt, self._lt.save_state_flags_t.save_dht_state
        kept = lt.bdecode(lt.write_session_params_buf(self._session.session_state(flag), flag))
        table = kept.get(b"dht state", {})
        packed = [*table.get(b"nodes", []), *table.get(b"nodes6", [])]
        return [
            (str(ip_address(one[:-2])), int.from_bytes(one[-2:], "big"))
            for one in packed
            if len(one) in (6, 18)
        ]

    # -- what is asked of it ----------------------------------------------------------------------

    def enter_by(self, host: str, port: int) -> None:
        """Here may be another DHT node: an entry, or a peer that has one."""
        self._session.add_dht_node((host, port))

    def announce(self, topic: bytes, port: int) -> None:
        """Say that we are at `port` (TCP) of our address, for the half hour that DHT nodes keep it."""
        self._session.dht_announce(self._lt.sha1_hash(topic), port, 0)

    def seek(self, topic: bytes) -> None:
        """Ask who is there; `Announced` follows, from several nodes, or never."""
        self._asked[topic] = time.monotonic()
        while len(self._asked) > TOPICS_LIMIT:
            del self._asked[min(self._asked, key=lambda one: self._asked[one])]
        self._session.dht_get_peers(self._lt.sha1_hash(topic))

    def publish(self, identity: Identity, data: bytes) -> None:
        """Lay our whereabouts under our key. libtorrent numbers the item: one more than the last it finds."""
        secret, key = expanded_secret(identity), identity.node_id
        self._session.dht_put_mutable_item(secret, key, data, salt_of(self._net))

    def locate(self, node_id: NodeId) -> None:
        """Ask where a node is; `Located` follows, or never."""
        self._session.dht_get_mutable_item(bytes(node_id), salt_of(self._net))

    def measure(self) -> None:
        """`TableSize` follows."""
        self._session.post_session_stats()

    # -- what it says -----------------------------------------------------------------------------

    def drain(self) -> None:
        """Make `wake` unreadable until something happens again. May be called from any thread."""
        with contextlib.suppress(BlockingIOError, OSError):
            while self.wake.recv(4096):
                pass

    def poll(self, now_ms: int) -> list[DhtEvent]:
        """What has happened since the last call; never waits."""
        events: list[DhtEvent] = []
        for alert in self._session.pop_alerts():
            read = self._readers.get(type(alert).__name__)
            event = read(alert, now_ms) if read is not None else None
            if event is not None:
                events.append(event)
        return events

    def _listening(self, alert: Any, _now_ms: int) -> DhtEvent | None:
        if "uTP" not in alert.message():  # UDP, as libtorrent calls it
            return None
        self.port = self.port or int(alert.port)
        return Listening(int(alert.port))

    def _not_listening(self, alert: Any, _now_ms: int) -> DhtEvent | None:
        return NotListening(alert.message()[:200])

    def _announced(self, alert: Any, _now_ms: int) -> DhtEvent | None:
        topic = alert.info_hash.to_bytes()
        if topic not in self._asked:
            return None
        found = []
        for host, port in alert.peers()[:PEERS_PER_REPLY]:
            try:
                address = ip_address(host)
            except ValueError:
                self.refused["not_an_address"] += 1
                continue
            mapped = getattr(address, "ipv4_mapped", None)
            found.append(endpoint(mapped or address, port))
        return Announced(topic, tuple(found)) if found else None

    def _located(self, alert: Any, now_ms: int) -> DhtEvent | None:
        data, key = alert.item, bytes(alert.key)
        if not isinstance(data, bytes) or not data or bytes(alert.salt) != salt_of(self._net):
            return None
        try:
            return Located(open_whereabouts(data, self._net, now_ms=now_ms, by=NodeId(key)), data)
        except RecordRefused as refused:
            self.refused[refused.reason] += 1
            return None

    def _published(self, alert: Any, _now_ms: int) -> DhtEvent | None:
        return Published(int(alert.num_success), int(alert.seq))

    def _stats(self, alert: Any, _now_ms: int) -> DhtEvent | None:
        values = alert.values
        return TableSize(
            int(values["dht.dht_nodes"]), int(values["dht.dht_bytes_out"]), int(values["dht.dht_bytes_in"])
        )
