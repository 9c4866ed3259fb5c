"""The node record: what a node says about itself, signed, and valid for a while.

Checked when it arrives and again when it is read from a cache: whoever wrote it is hostile until
proven tired. Every text is bounded and printable, because records end up on people's terminals;
every endpoint is an address, because somebody will dial it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

from opengateway.discovery.addresses import ENDPOINT_LENGTH, parse_endpoint, parse_relay, through
from opengateway.identity import Identity
from opengateway.units import NetworkId, NodeId
from opengateway.wire.envelope import RECORD, EnvelopeRefused, open_envelope, sign_envelope

RECORD_LIMIT = 8 * 1024
"""Bytes. 50 models take about 6 kB. A record travels in every hello and is kept for every peer."""

LIFE_LIMIT_MS = 24 * 3600 * 1000
"""A record may be valid for a day: long enough to find a peer again tomorrow, short enough that the
departed fade."""

SKEW_MS = 3_720_000
"""How far off the clock of a record's author may be, an hour (summer time) and two minutes, where it is not
known. A peer's own clock is: its records are judged by that, to `CLOCK_ERROR_MS`."""

CLOCK_ERROR_MS = 120_000
"""What may be wrong with a clock difference that was measured over a slow line."""

ENDPOINTS, RELAYS, CLUSTERS, MODELS, ABILITIES = 16, 4, 64, 64, 16
"""How many a record may name. A machine with ten interfaces has 16 endpoints; a node keeps two relays."""

NAME_LENGTH = 128
"""Characters of a model's or cluster's name; the longest in Ollama's library has 62."""

STATES = ("ready", "paused", "client")

_COUNT = 1 << 40
"""No honest count, speed or price comes near; sums of 64 of them stay exact in 8 bytes."""

_TIME = 1 << 53
"""Milliseconds, and sequence numbers, which may well be made of a clock: exact also in a JSON number."""


class RecordRefused(ValueError):
    """Not a record to believe. `reason` is a short name, counted in the metrics."""

    def __init__(self, reason: str, detail: str = "") -> None:
        super().__init__(f"{reason}: {detail}" if detail else reason)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class ModelOffer:
    name: str
    digest: str
    """SHA-256 of the weights as the engine reports it, in hex, or empty: two nodes with the same digest give
    the same greedy answer."""
    parameters_m: int
    """Millions of active parameters: what a token costs to make."""
    quantisation: str
    context: int
    """Tokens of prompt and answer together."""
    prompt_tps: int
    """Measured tokens per second; 0 is not measured yet."""
    generate_tps: int
    price_prompt: int
    """Microcredits per prompt token."""
    price_completion: int
    demo: bool
    """The pocket model: used on its own link or in a private network only, and only if there is no other."""
    abilities: tuple[str, ...]
    """As engines/protocol.py names them: continue, embed, logprobs, seed ..."""


@dataclass(frozen=True, slots=True)
class NodeRecord:
    node_id: NodeId
    name: str
    version: str
    region: str
    country: str
    """ISO 3166, two letters, or empty."""
    endpoints: tuple[str, ...]
    """`tcp://address:port`, best first."""
    relays: tuple[str, ...]
    """`<base32 id>@tcp://address:port`."""
    clusters: tuple[str, ...]
    models: tuple[ModelOffer, ...]
    slots: int
    """Answers that it can give at the same time."""
    state: str
    """`ready`, `paused` (its owner needs the machine) or `client` (serves nothing)."""
    seq: int
    """Rises with every change: of two records of one node the higher counts."""
    expires_ms: int
    offer: bytes = field(default=b"", compare=False)
    """SHA-256 of the signed record; who pays its prices names them by this. Set where a record was opened."""

    def places(self) -> tuple[str, ...]:
        """Everywhere it can be dialled, through its relays too."""
        return (*self.endpoints, *through(self.relays, self.node_id))


def sign_record(identity: Identity, net: NetworkId, record: NodeRecord, *, now_ms: int) -> bytes:
    """The bytes to publish. Raises `RecordRefused` where others would refuse it: better noticed here."""
    if record.node_id != identity.node_id:
        raise RecordRefused("wrong_sender", "a node signs its own record only")
    body = _body(record)
    _record(record.node_id, body)
    _check_times(now_ms, record.expires_ms, now_ms)
    data = sign_envelope(identity, net, RECORD, body, t_ms=now_ms)
    if len(data) > RECORD_LIMIT:
        raise RecordRefused(
            "too_large", f"{len(data)} bytes, the limit is {RECORD_LIMIT}: offer fewer models"
        )
    return data


def open_record(data: bytes, net: NetworkId, *, now_ms: int, skew_ms: int = SKEW_MS) -> NodeRecord:
    """Signature, sender, form, bounds and expiry, cheapest first. `now_ms` is the author's time, as well as
    it is known: to `skew_ms`. Raises `RecordRefused` only."""
    if len(data) > RECORD_LIMIT:
        raise RecordRefused("too_large", f"{len(data)} bytes, the limit is {RECORD_LIMIT}")
    try:
        envelope = open_envelope(data, net, RECORD, limit=RECORD_LIMIT)
    except EnvelopeRefused as refused:
        raise RecordRefused(refused.reason, str(refused)) from refused
    if envelope.recipient:
        raise RecordRefused("malformed", "a record is for everyone")
    record = _record(envelope.sender, envelope.body)
    _check_times(envelope.t_ms, record.expires_ms, now_ms, skew_ms)
    return replace(record, offer=offer_of(data))


def open_own_word(peer: NodeId, data: bytes, net: NetworkId, *, now_ms: int) -> NodeRecord:
    """The record that a peer says of itself. `now_ms` is by the peer's clock. Raises `RecordRefused`."""
    record = open_record(data, net, now_ms=now_ms, skew_ms=CLOCK_ERROR_MS)
    if record.node_id != peer:
        raise RecordRefused("wrong_sender")
    return record


def offer_of(data: bytes) -> bytes:
    """What an OPEN links to: 32 bytes."""
    return hashlib.sha256(data).digest()


def _check_times(signed_ms: int, expires_ms: int, now_ms: int, skew_ms: int = 0) -> None:
    if expires_ms + skew_ms <= now_ms:
        raise RecordRefused("expired")
    if signed_ms > now_ms + skew_ms:
        raise RecordRefused("from_the_future", f"{signed_ms - now_ms} ms ahead of this node's clock")
    if not signed_ms <= expires_ms <= signed_ms + LIFE_LIMIT_MS:
        raise RecordRefused("lives_too_long")


_Check = Callable[[Any], Any]
"""Gives the value as the dataclass holds it, or raises `ValueError`."""


def _text(longest: int, *, empty: bool = True) -> _Check:
    def check(value: Any) -> str:
        if type(value) is not str or len(value) > longest or not (value or empty):
            raise ValueError(f"wants text of {longest} characters at most")
        if not value.isprintable() or value != value.strip():
            raise ValueError("holds characters that do not print")
        return value

    return check


def _number(limit: int) -> _Check:
    def check(value: Any) -> int:
        if type(value) is not int or not 0 <= value < limit:
            raise ValueError(f"wants a number below {limit}")
        return value

    return check


def _flag(value: Any) -> bool:
    if type(value) is not bool:
        raise ValueError("wants true or false")
    return value


def _state(value: Any) -> str:
    if value not in STATES:
        raise ValueError(f"wants one of {', '.join(STATES)}")
    return str(value)


def _endpoint(value: Any) -> str:
    parse_endpoint(_ENDPOINT_TEXT(value))
    return str(value)


def _relay(value: Any) -> str:
    parse_relay(_RELAY_TEXT(value))
    return str(value)


def _many(most: int, check: _Check) -> _Check:
    def check_all(value: Any) -> tuple[Any, ...]:
        if type(value) is not list or len(value) > most:
            raise ValueError(f"wants a list of {most} at most")
        return tuple(check(item) for item in value)

    return check_all


def _array(value: Any, checks: dict[str, _Check]) -> dict[str, Any]:
    if type(value) is not list or len(value) != len(checks):
        raise RecordRefused("malformed", f"wants an array of {len(checks)}")
    found: dict[str, Any] = {}
    for (name, check), item in zip(checks.items(), value, strict=True):
        try:
            found[name] = check(item)
        except RecordRefused:
            raise
        except ValueError as error:
            raise RecordRefused("malformed", f"{name} {error}") from error
    return found


def _offer(value: Any) -> ModelOffer:
    return ModelOffer(**_array(value, _OFFER))


def _record(sender: NodeId, body: list[Any]) -> NodeRecord:
    return NodeRecord(node_id=sender, **_array(body, _RECORD))


def _body(record: NodeRecord | ModelOffer) -> list[Any]:
    """The fields in the order of the wire, arrays as lists."""
    names = _RECORD if isinstance(record, NodeRecord) else _OFFER
    return [_plain(getattr(record, name)) for name in names]


def _plain(value: Any) -> Any:
    if isinstance(value, ModelOffer):
        return _body(value)
    return [_plain(item) for item in value] if isinstance(value, tuple) else value


_ENDPOINT_TEXT = _text(ENDPOINT_LENGTH, empty=False)
_RELAY_TEXT = _text(ENDPOINT_LENGTH + 53, empty=False)

_OFFER: dict[str, _Check] = {
    "name": _text(NAME_LENGTH, empty=False),
    "digest": _text(71),  # `sha256:` and 64 of hex, as Ollama writes it
    "parameters_m": _number(_COUNT),
    "quantisation": _text(16),
    "context": _number(_COUNT),
    "prompt_tps": _number(_COUNT),
    "generate_tps": _number(_COUNT),
    "price_prompt": _number(_COUNT),
    "price_completion": _number(_COUNT),
    "demo": _flag,
    "abilities": _many(ABILITIES, _text(16, empty=False)),
}

_RECORD: dict[str, _Check] = {
    "name": _text(64),
    "version": _text(32),
    "region": _text(32),
    "country": _text(2),
    "endpoints": _many(ENDPOINTS, _endpoint),
    "relays": _many(RELAYS, _relay),
    "clusters": _many(CLUSTERS, _text(NAME_LENGTH, empty=False)),
    "models": _many(MODELS, _offer),
    "slots": _number(_COUNT),
    "state": _state,
    "seq": _number(_TIME),
    "expires_ms": _number(_TIME),
}
