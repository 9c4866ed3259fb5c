"""How a peer's request is refused: signed, and after what the peer needs to do better."""

from __future__ import annotations

from collections.abc import Callable

from actors.kernel import Address
from actors.messages import Introduce, RegistryMessage
from opengateway.engines.refusal import sign_refusal
from opengateway.errors import HeadMissing, OfferOutdated, OpenGatewayError
from opengateway.identity import Identity
from opengateway.units import NetworkId, NodeId
from opengateway.wire.messages import Message, RecordChanged
from opengateway.wire.witness_messages import Wanted


class Refusing:
    def __init__(
        self,
        identity: Identity,
        net: NetworkId,
        now_ms: Callable[[], int],
        *,
        send: Callable[[NodeId, Message], bool],
        own_record: Callable[[], bytes],
        registry: Address[RegistryMessage],
    ) -> None:
        self._identity, self._net, self._now_ms = identity, net, now_ms
        self._send = send
        self._own_record = own_record
        self._registry = registry

    def __call__(self, peer: NodeId, stream: int, error: OpenGatewayError) -> bytes:
        """The refusal; what goes before it is sent already."""
        if isinstance(error, OfferOutdated):  # the price to ask with
            self._send(peer, RecordChanged(self._own_record()))
        if isinstance(error, HeadMissing) and error.anchors:
            anchors = [error.anchors[at : at + 32] for at in range(0, len(error.anchors), 32)]
            self._send(peer, Wanted(error.anchors, error.known))
            self._registry.tell(Introduce(peer, frozenset(NodeId(one) for one in anchors)))
        return sign_refusal(self._identity, self._net, peer, stream, error, now_ms=self._now_ms())
