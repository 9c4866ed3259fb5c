"""`relay://<relay id>@host:port/<node id>`: a node as it is reached through a relay. Ids in base32."""

from __future__ import annotations

from dataclasses import dataclass

from opengateway.identity import base32, from_base32
from opengateway.units import NodeId

SCHEME = "relay://"


@dataclass(frozen=True, slots=True)
class RelayEndpoint:
    relay: NodeId
    where: str
    """`tcp://host:port` of the relay."""
    target: NodeId

    def __str__(self) -> str:
        return f"{SCHEME}{base32(self.relay)}@{self.where.removeprefix('tcp://')}/{base32(self.target)}"


def is_relayed(endpoint: str) -> bool:
    return endpoint.startswith(SCHEME)


def parse_relay_endpoint(text: str) -> RelayEndpoint:
    """Raises `ValueError` with a sentence. The relay's own endpoint is judged by whoever dials it."""
    rest, _, target = text.removeprefix(SCHEME).partition("/")
    relay, _, where = rest.partition("@")
    try:
        if not text.startswith(SCHEME) or not where:
            raise ValueError
        return RelayEndpoint(NodeId(from_base32(relay)), f"tcp://{where}", NodeId(from_base32(target)))
    except ValueError:
        example = "relay://<relay id>@192.0.2.7:11436/<node id>"
        raise ValueError(f"{text[:200]!r} is not an endpoint such as {example}") from None
