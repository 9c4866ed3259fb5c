"""Whereabouts: where one node can be reached, signed by it, small enough for a DHT item.

The node record (record.py) says what a node offers and comes with the handshake. This one says only where
to go: it lies in the DHT under the node's own key (BEP 44), and peers hand it on to each other. Its
sequence number is that of the node record it was made with, so the two never contradict each other.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from opengateway.discovery.addresses import ENDPOINT_LENGTH, is_public, parse_endpoint, parse_relay
from opengateway.discovery.record import CLOCK_ERROR_MS, SKEW_MS, NodeRecord, RecordRefused
from opengateway.identity import Identity
from opengateway.units import NetworkId, NodeId
from opengateway.wire.envelope import WHEREABOUTS, EnvelopeRefused, open_envelope, sign_envelope

WHEREABOUTS_LIMIT = 996
"""Bytes: a BEP 44 value is at most 1,000 once it is bencoded, of which `996:` takes four."""

LIFE_MS = 2 * 3600 * 1000
"""Two hours, after which a DHT node drops an item, too (BEP 44)."""

ENDPOINTS, RELAYS = 8, 2
REGION_LENGTH = 32


@dataclass(frozen=True, slots=True)
class Whereabouts:
    node_id: NodeId
    seq: int
    expires_ms: int
    region: str
    dht_port: int
    """UDP port of its DHT node at the same addresses; 0: it has none."""
    endpoints: tuple[str, ...]
    relays: tuple[str, ...]

    @property
    def public(self) -> bool:
        """Whether every address in it may be told to anybody."""
        return all(is_public(parse_endpoint(text)[0]) for text in self.endpoints)


def whereabouts_of(
    record: NodeRecord, *, dht_port: int, private: bool, host_is_local: bool = False
) -> Whereabouts:
    """What of a node record may lie in a DHT. Public addresses where there are any; others only in a
    private network, whose members may well share a wider private one; loopback only for a node that is
    bound to it (`host_is_local`)."""
    found = {text: parse_endpoint(text)[0] for text in record.endpoints}
    open_to_all = [text for text, address in found.items() if is_public(address)]
    inside = [
        text
        for text, address in found.items()
        if not address.is_link_local and (host_is_local or not address.is_loopback)
    ]
    endpoints = open_to_all or (inside if private else [])
    return Whereabouts(
        record.node_id,
        record.seq,
        record.expires_ms,
        record.region,
        dht_port,
        tuple(endpoints[:ENDPOINTS]),
        record.relays[:RELAYS],
    )


def sign_whereabouts(identity: Identity, net: NetworkId, here: Whereabouts, *, now_ms: int) -> bytes:
    """The bytes to publish, at most `WHEREABOUTS_LIMIT`: the last endpoints go first if it is too long."""
    endpoints = list(here.endpoints)
    expires_ms = min(here.expires_ms, now_ms + LIFE_MS)
    while True:
        body = [here.seq, expires_ms, here.region, here.dht_port, endpoints, list(here.relays)]
        data = sign_envelope(identity, net, WHEREABOUTS, body, t_ms=now_ms)
        if len(data) <= WHEREABOUTS_LIMIT:
            return data
        endpoints.pop()


def open_whereabouts(
    data: bytes, net: NetworkId, *, now_ms: int, by: NodeId | None = None, ahead_ms: int | None = None
) -> Whereabouts:
    """Signature, signer (`by`, where it is known), form, bounds and expiry. Its times are by the signer's
    clock: `ahead_ms` of ours where that is known, else up to `SKEW_MS` off. Raises `RecordRefused` only."""
    if len(data) > WHEREABOUTS_LIMIT:
        raise RecordRefused("too_large", f"{len(data)} bytes, the limit is {WHEREABOUTS_LIMIT}")
    try:
        envelope = open_envelope(data, net, WHEREABOUTS, limit=WHEREABOUTS_LIMIT)
    except EnvelopeRefused as refused:
        raise RecordRefused(refused.reason, str(refused)) from refused
    if by is not None and envelope.sender != by:
        raise RecordRefused("wrong_sender")
    if envelope.recipient:
        raise RecordRefused("malformed", "whereabouts are for everyone")
    here = _read(envelope.sender, envelope.body)
    there_ms, skew_ms = (now_ms, SKEW_MS) if ahead_ms is None else (now_ms + ahead_ms, CLOCK_ERROR_MS)
    if here.expires_ms + skew_ms <= there_ms:
        raise RecordRefused("expired")
    if envelope.t_ms > there_ms + skew_ms:
        raise RecordRefused("from_the_future", f"{envelope.t_ms - there_ms} ms ahead of its signer's clock")
    if not envelope.t_ms <= here.expires_ms <= envelope.t_ms + LIFE_MS:
        raise RecordRefused("lives_too_long")
    return here


def _read(sender: NodeId, body: list[Any]) -> Whereabouts:
    match body:
        case [int(seq), int(expires_ms), str(region), int(dht_port), list(endpoints), list(relays)]:
            pass
        case _:
            raise RecordRefused("malformed", "wants an array of six")
    numbers = all(type(n) is int for n in (seq, expires_ms, dht_port))  # True is an int, too
    if not numbers or seq >= 1 << 53 or expires_ms >= 1 << 53 or dht_port > 65535:
        raise RecordRefused("malformed", "a number is too great")
    if len(region) > REGION_LENGTH or not region.isprintable():
        raise RecordRefused("malformed", "region")
    if len(endpoints) > ENDPOINTS or len(relays) > RELAYS:
        raise RecordRefused("malformed", "too many endpoints or relays")
    try:
        for text in endpoints:
            parse_endpoint(_short(text, ENDPOINT_LENGTH))
        for text in relays:
            parse_relay(_short(text, ENDPOINT_LENGTH + 53))
    except ValueError as error:
        raise RecordRefused("malformed", str(error)) from error
    return Whereabouts(sender, seq, expires_ms, region, dht_port, tuple(endpoints), tuple(relays))


def _short(text: Any, longest: int) -> str:
    if type(text) is not str or len(text) > longest:
        raise ValueError(f"wants text of {longest} characters at most")
    return text
