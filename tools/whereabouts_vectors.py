"""The part of tools/make_vectors.py about whereabouts and DHT topics."""

from __future__ import annotations

from typing import Any

from opengateway.discovery.topics import RINGS, place_of, topic
from opengateway.identity import Identity, base32, network_id
from opengateway.regions import region
from opengateway.wire import cbor
from opengateway.wire.envelope import WHEREABOUTS, sign_envelope

T_MS = 1_750_000_000_000
INITIATOR, RESPONDER = bytes(range(32)), bytes(range(32, 64))
"""Ed25519 seeds."""


def whereabouts() -> list[dict[str, Any]]:
    identity, net = Identity(INITIATOR), network_id("opengateway")
    relay = base32(Identity(RESPONDER).node_id)
    bodies: list[list[Any]] = [
        [1, T_MS + 7_200_000, "eu-central-1", 11437, ["tcp://8.8.4.4:11436", "tcp://[2606:4700::1]:1"], []],
        [T_MS, T_MS + 1, "", 0, [], [f"{relay}@tcp://9.9.9.9:11436"]],
    ]
    return [
        {
            "seed": INITIATOR,
            "node": identity.node_id,
            "net": net,
            "t_ms": T_MS,
            "body": cbor.encode(body),
            "signed": sign_envelope(identity, net, WHEREABOUTS, body, t_ms=T_MS, nonce=bytes(range(16))),
        }
        for body in bodies
    ]


def all_topics() -> list[dict[str, Any]]:
    net, place = network_id("opengateway"), region("eu-central-1")
    return [
        {
            "net": net,
            "ring": ring,
            "place": place_of(ring, place),
            "model": model,
            "topic": topic(net, ring, place_of(ring, place), model),
        }
        for ring in RINGS
        for model in ("", "llama3.2-3b")
    ]
