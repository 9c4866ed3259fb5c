"""Invitations: one line that makes another node join this network.

    ogw1 | base32 of (canonical CBOR [name, secret, expires_ms, [[id, endpoint]], [dht entry]] | checksum)

`1` does not occur in base32, so no invitation can be taken for a node's id. The checksum is for typing errors
and lines cut short; it protects against nobody. The line holds the network's secret: whoever has it can join.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from dataclasses import dataclass
from typing import Any, Final

from opengateway.discovery.addresses import ENDPOINT_LENGTH, parse_endpoint
from opengateway.discovery.dht_settings import host_and_port
from opengateway.errors import OpenGatewayError
from opengateway.identity import base32
from opengateway.units import NodeId
from opengateway.wire import cbor

PREFIX: Final = "ogw1"
_DOMAIN: Final = b"opengateway/1 invitation\n"
CHECKSUM_BYTES = 4
"""One damaged line in four billion goes unnoticed, and then the handshake fails."""

LINE_LENGTH = 4096
ENTRIES, DHT_ENTRIES = 8, 8
NAME_LENGTH = SECRET_LENGTH = 256
HOST_LENGTH = 260


class InvitationRefused(OpenGatewayError):
    """This is no invitation that can be used."""

    code = "invitation_refused"


_NAME: Final = re.compile(r"(?=.*[a-z])[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*\.?")
"""A host name in lower case (RFC 1123); one without a letter would be an address."""


@dataclass(frozen=True, slots=True)
class Invitation:
    name: str
    """Of the network."""
    secret: str
    expires_ms: int
    entries: tuple[tuple[NodeId, str], ...]
    """(node id, endpoint): who lets the newcomer in."""
    dht: tuple[str, ...]

    def __repr__(self) -> str:
        return f"<Invitation to {self.name!r}>"  # never the secret: this ends up in logs and tracebacks

    @property
    def bootstrap(self) -> tuple[str, ...]:
        """The entries as `wire.bootstrap` wants them: `ID@host:port`."""
        return tuple(f"{base32(node)}@{where.removeprefix('tcp://')}" for node, where in self.entries)


def entrance(where: str) -> str:
    """`tcp://host:port` that an invitation may name: an address, or a name that outlives a change of address.
    Who invites is trusted more than a record is, and whoever joins resolves it for himself. Raises
    `ValueError`."""
    if len(where) > ENDPOINT_LENGTH:
        raise ValueError(f"longer than {ENDPOINT_LENGTH} characters: {where[:ENDPOINT_LENGTH]!r}")
    found = host_and_port(where.removeprefix("tcp://"))
    if found is not None and where == f"tcp://{found[0]}:{found[1]}" and _NAME.fullmatch(found[0]):
        return where
    parse_endpoint(where)
    return where


def looks_like_one(text: str) -> bool:
    return text.strip().lower().startswith(PREFIX)


def write(invitation: Invitation) -> str:
    """The line, in lower case."""
    entries = [[node, where] for node, where in invitation.entries[:ENTRIES]]
    dht = list(invitation.dht[:DHT_ENTRIES])
    body = cbor.encode([invitation.name, invitation.secret, invitation.expires_ms, entries, dht])
    return PREFIX + base64.b32encode(body + checksum(body)).decode().rstrip("=").lower()


def read(line: str, *, now_ms: int) -> Invitation:
    """Raises `InvitationRefused` with one sentence that says what to do."""
    text = "".join(line.split())  # mail programs and terminals break long lines
    if not looks_like_one(text) or len(text) > LINE_LENGTH:
        raise InvitationRefused(
            f"an invitation begins with {PREFIX}, and this does not",
            hint="ask for one: `opengateway invite` on a node of that network prints it",
        )
    damaged = "this invitation is damaged: a character is wrong or missing"
    hint = "copy the whole line once more"
    packed = text[len(PREFIX) :].upper()
    try:
        raw = base64.b32decode(packed + "=" * (-len(packed) % 8))
    except (binascii.Error, ValueError) as error:
        raise InvitationRefused(damaged, hint=hint) from error
    body, tail = raw[:-CHECKSUM_BYTES], raw[-CHECKSUM_BYTES:]
    if tail != checksum(body):
        raise InvitationRefused(damaged, hint=hint)
    try:
        invitation = _invitation(cbor.decode(body, limit=LINE_LENGTH))
    except ValueError as error:
        newer = "this invitation cannot be read: it was made by another version of OpenGateway"
        raise InvitationRefused(newer, hint="upgrade this node, or the one that invites") from error
    if invitation.expires_ms <= now_ms:
        raise InvitationRefused("this invitation has expired", hint="ask for a new one: `opengateway invite`")
    return invitation


def checksum(body: bytes) -> bytes:
    return hashlib.sha256(_DOMAIN + body).digest()[:CHECKSUM_BYTES]


def _invitation(found: Any) -> Invitation:
    match found:
        case [str(name), str(secret), int(expires_ms), list(entries), list(dht)]:
            pass
        case _:
            raise ValueError("wants an array of five")
    if not name or any(char.isspace() for char in name) or len(name) > NAME_LENGTH:
        raise ValueError("the network's name")
    if len(secret) > SECRET_LENGTH or type(expires_ms) is not int or expires_ms >= 1 << 53:
        raise ValueError("the secret or the time")
    if len(entries) > ENTRIES or len(dht) > DHT_ENTRIES:
        raise ValueError("too many entries")
    return Invitation(
        name, secret, expires_ms, tuple(_entry(one) for one in entries), tuple(_host(one) for one in dht)
    )


def _entry(found: Any) -> tuple[NodeId, str]:
    match found:
        case [bytes(node), str(where)] if len(node) == 32:
            return NodeId(node), entrance(where)
    raise ValueError("an entry")


def _host(found: Any) -> str:
    if type(found) is not str or len(found) > HOST_LENGTH or host_and_port(found) is None:
        raise ValueError("a DHT entry")
    return found
