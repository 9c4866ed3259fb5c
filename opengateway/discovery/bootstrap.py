"""Bootstrap documents: where a network can be entered, signed by m of n publishers that the owner has pinned.

The file is JSON, so that a publisher can read what he signs. What is signed is not the JSON but the canonical
CBOR of the values in it, so spaces and order do not matter, and nothing stands there unsigned: a key that is
not read is refused. The format is in wire/PROTOCOL.md, section 13.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, Final

from opengateway.discovery.addresses import ENDPOINT_LENGTH, parse_endpoint
from opengateway.discovery.dht_settings import host_and_port
from opengateway.discovery.record import SKEW_MS
from opengateway.errors import OpenGatewayError
from opengateway.identity import Identity, base32, from_base32, short, verify
from opengateway.units import NetworkId, NodeId
from opengateway.wire import cbor

FORMAT: Final = "opengateway-bootstrap-1"
_DOMAIN: Final = b"OGW1 bootstrap\n"

DOCUMENT_LIMIT = 64 * 1024
"""Bytes of the file: 64 nodes with 4 endpoints each take 18 kB."""
NODES, ENDPOINTS, DHT_ENTRIES, SIGNATURES = 64, 4, 64, 32
LIFE_LIMIT_MS = 400 * 24 * 3600 * 1000
"""A year and a month: a document that nobody renews must end some day, whoever gets hold of old keys."""
HOST_LENGTH = 253
"""Characters of a host name (RFC 1035); DHT entries may be names, since libtorrent resolves them aside."""


class BootstrapRefused(OpenGatewayError):
    """The bootstrap document cannot be believed."""

    code = "bootstrap_refused"

    def __init__(self, reason: str, message: str, *, hint: str = "") -> None:
        super().__init__(f"the bootstrap document is refused: {message}", hint=hint)
        self.reason = reason
        """A short name, counted in the metrics."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A node that lets others in."""

    node_id: NodeId
    endpoints: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Bootstrap:
    net: NetworkId
    made_ms: int
    expires_ms: int
    nodes: tuple[Entry, ...]
    dht: tuple[str, ...]
    """DHT nodes, `host:port`."""
    signatures: tuple[tuple[NodeId, bytes], ...] = ()
    """(publisher, Ed25519 signature)."""

    def statement(self) -> bytes:
        """What is signed."""
        nodes = [[entry.node_id, list(entry.endpoints)] for entry in self.nodes]
        body = cbor.encode([1, self.net, self.made_ms, self.expires_ms, nodes, list(self.dht)])
        return _DOMAIN + hashlib.sha256(body).digest()


def write(document: Bootstrap) -> bytes:
    """The file."""
    shown = {
        "format": FORMAT,
        "network": document.net.hex(),
        "made": _time_text(document.made_ms),
        "expires": _time_text(document.expires_ms),
        "nodes": [
            {"id": base32(entry.node_id), "endpoints": list(entry.endpoints)} for entry in document.nodes
        ],
        "dht": list(document.dht),
        "signatures": [
            {"publisher": base32(publisher), "signature": base64.b64encode(signature).decode()}
            for publisher, signature in document.signatures
        ],
    }
    return json.dumps(shown, indent=2).encode() + b"\n"


def read(data: bytes) -> Bootstrap:
    """The values in a file, each within its bounds; nothing is verified yet. Raises `BootstrapRefused`."""
    if len(data) > DOCUMENT_LIMIT:
        raise BootstrapRefused("too_large", f"it has more than {DOCUMENT_LIMIT} bytes")
    try:
        found = json.loads(data, object_pairs_hook=_no_twins)
        return _document(found)
    except BootstrapRefused:
        raise
    except (ValueError, TypeError, RecursionError) as error:
        hint = "a document is made with `opengateway bootstrap make`"
        raise BootstrapRefused("malformed", f"it is not one: {str(error)[:120]}", hint=hint) from error


def sign(document: Bootstrap, publisher: Identity) -> Bootstrap:
    """With this publisher's signature; one that he gave before is replaced."""
    others = tuple(pair for pair in document.signatures if pair[0] != publisher.node_id)
    mine = (publisher.node_id, publisher.sign(document.statement()))
    return replace(document, signatures=(*others, mine))


def check(
    document: Bootstrap,
    net: NetworkId,
    publishers: tuple[NodeId, ...],
    needed: int,
    *,
    now_ms: int,
    newest_ms: int = 0,
) -> None:
    """Whether to believe it. `newest_ms`: when the newest one that was ever believed was made; an older one
    is a replay, by which somebody would lead this node back to nodes that were taken off the list.

    Raises `BootstrapRefused` with the reason in one sentence.
    """
    if document.net != net:
        named = f"it is for the network {document.net.hex()}, and this node belongs to {net.hex()}"
        raise BootstrapRefused("other_network", named)
    if document.made_ms > now_ms + SKEW_MS:
        late = f"it is dated {_time_text(document.made_ms)}, which is in the future"
        raise BootstrapRefused("from_the_future", late, hint="is the clock right? timedatectl status")
    if document.expires_ms <= now_ms:
        raise BootstrapRefused("expired", f"it expired on {_time_text(document.expires_ms)}")
    if document.expires_ms - document.made_ms > LIFE_LIMIT_MS:
        raise BootstrapRefused("lives_too_long", "it claims to be valid for more than 400 days")
    if document.made_ms < newest_ms:
        raise BootstrapRefused("older", f"a newer one, of {_time_text(newest_ms)}, is known here already")
    _check_signatures(document, publishers, needed)


def _check_signatures(document: Bootstrap, publishers: tuple[NodeId, ...], needed: int) -> None:
    if not publishers:
        hint = "opengateway config set bootstrap.publishers ID,ID"
        raise BootstrapRefused("no_publishers", "no publisher is trusted here", hint=hint)
    if not document.signatures:
        raise BootstrapRefused("unsigned", "nobody has signed it")
    statement = document.statement()
    signers = [publisher for publisher, _ in document.signatures]
    if len(set(signers)) < len(signers):
        twice = next(one for one in signers if signers.count(one) > 1)
        raise BootstrapRefused("duplicate_signature", f"{short(twice)} has signed it twice")
    for publisher, signature in document.signatures:
        if publisher in publishers and not verify(publisher, statement, signature):
            altered = f"the signature of {short(publisher)} is not for what it says now: it was altered"
            raise BootstrapRefused("altered", altered)
    # Others' signatures count for nothing, and do no harm: when publishers change, the old and the new sign
    # together for a while, and nodes that know only the old ones must be able to read it.
    known = sum(1 for publisher in signers if publisher in publishers)
    if not known:
        who = ", ".join(map(short, signers))
        raise BootstrapRefused("unknown_publisher", f"it is signed by {who}, who is not trusted here")
    if known < needed:
        short_of = f"{known} of the trusted publishers signed it, and {needed} must"
        raise BootstrapRefused("short_of_signatures", short_of)


_KEYS: Final = ("format", "network", "made", "expires", "nodes", "dht", "signatures")


def _document(found: Any) -> Bootstrap:
    _object(found, *_KEYS)
    if found["format"] != FORMAT:
        raise BootstrapRefused(
            "unknown_format", f"its format is {str(found['format'])[:40]!r}, not {FORMAT!r}"
        )
    net = bytes.fromhex(_text(found["network"], 16))
    if len(net) != 8:
        raise ValueError("the network is not 16 hexadecimal digits")
    return Bootstrap(
        NetworkId(net),
        _time(found["made"]),
        _time(found["expires"]),
        tuple(_entry(one) for one in _list(found["nodes"], NODES)),
        tuple(_host(one) for one in _list(found["dht"], DHT_ENTRIES)),
        tuple(_signature(one) for one in _list(found["signatures"], SIGNATURES)),
    )


def _entry(found: Any) -> Entry:
    _object(found, "id", "endpoints")
    endpoints = tuple(_text(one, ENDPOINT_LENGTH) for one in _list(found["endpoints"], ENDPOINTS))
    for one in endpoints:
        parse_endpoint(one)
    return Entry(from_base32(_text(found["id"], 52)), endpoints)


def _host(found: Any) -> str:
    text = _text(found, HOST_LENGTH + 6)
    if host_and_port(text) is None or not text.isascii() or not text.isprintable() or " " in text:
        raise ValueError(f"not a host and port: {text!r}")
    return text


def _signature(found: Any) -> tuple[NodeId, bytes]:
    _object(found, "publisher", "signature")
    try:
        signature = base64.b64decode(_text(found["signature"], 88), validate=True)
    except binascii.Error as error:
        raise ValueError("a signature is not base64") from error
    if len(signature) != 64:
        raise ValueError("a signature has not 64 bytes")
    return from_base32(_text(found["publisher"], 52)), signature


def _object(found: Any, *keys: str) -> None:
    if not isinstance(found, dict):
        raise ValueError(f"an object with {', '.join(keys)} is missing")  # noqa: TRY004 - bad input, not a bug
    if strange := sorted(set(found) ^ set(keys)):
        raise ValueError(f"{strange[0][:40]!r} is {'missing' if strange[0] in keys else 'unknown'}")


def _list(found: Any, most: int) -> list[Any]:
    if not isinstance(found, list) or len(found) > most:
        raise ValueError(f"a list of at most {most} is missing")
    return found


def _text(found: Any, longest: int) -> str:
    if not isinstance(found, str) or len(found) > longest:
        raise ValueError(f"a text of at most {longest} characters is missing")
    return found


_TIME_FORM: Final = "%Y-%m-%dT%H:%M:%SZ"


def _time(found: Any) -> int:
    moment = datetime.strptime(_text(found, 20), _TIME_FORM).replace(tzinfo=UTC)
    if moment.year < 1971:
        raise ValueError("a time before 1971")
    return int(moment.timestamp()) * 1000


def _time_text(ms: int) -> str:
    return datetime.fromtimestamp(ms // 1000, UTC).strftime(_TIME_FORM)


def _no_twins(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len({name for name, _ in pairs}) < len(pairs):
        raise ValueError("a key stands twice in one place")
    return dict(pairs)
