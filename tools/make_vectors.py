"""Writes tests/vectors/*.json: fixed inputs and the bytes that the protocol makes of them.

    python tools/make_vectors.py            # the same files every time
    python tools/make_vectors.py --check    # exit 1 if a file differs from what the code makes now

Another implementation of opengateway/wire/PROTOCOL.md is right if it makes the same bytes. All keys
here are published and therefore worthless; bytes are in hexadecimal.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
from pathlib import Path
from typing import Any

from nacl.bindings import crypto_scalarmult_base

from opengateway.engines.quotation import Terms, sign_quote
from opengateway.identity import Identity, network_id
from opengateway.wire import cbor
from opengateway.wire.codec import encode_message
from opengateway.wire.continue_messages import Continue, Continued
from opengateway.wire.envelope import HELLO, REFUSAL, open_envelope, sign_envelope
from opengateway.wire.handshake import Initiator, Us, answer, derive_keys, exchange, transcript_of
from opengateway.wire.link_messages import Clock, Moved, Ping, Pong
from opengateway.wire.messages import (
    Accepted,
    Ask,
    Bye,
    Cancel,
    Chunks,
    Earned,
    Ended,
    Failed,
    Grant,
    Message,
    NotTransferred,
    Proof,
    RecordChanged,
    Refused,
    Settle,
    Stamp,
    Sweep,
    Transfer,
    Transferred,
    Voucher,
)
from opengateway.wire.peer_messages import Here, Peers, SeekNode, SeekPeers
from opengateway.wire.quote_messages import Quote, Quoted, Released
from opengateway.wire.relay_messages import (
    Carried,
    Closed,
    Credit,
    DialBack,
    NotReached,
    NotReserved,
    Open,
    Opened,
    Reserve,
    Reserved,
    Seen,
)
from opengateway.wire.route_messages import AskOwed, FindRoute, Owed, RouteFound
from opengateway.wire.session import Sealer, next_key
from opengateway.wire.succession_messages import Account, NotFollowed, Rotated
from opengateway.wire.waiting_messages import Queued
from opengateway.wire.witness_messages import (
    AddCheckpoint,
    Cosigned,
    Entries,
    GetEntries,
    Head,
    NotCosigned,
    Present,
    Wanted,
)
from tools.whereabouts_vectors import all_topics, whereabouts

FOLDER = Path(__file__).resolve().parent.parent / "tests" / "vectors"
T_MS = 1_750_000_000_000
SECRET = "correct horse battery staple"
INITIATOR, RESPONDER = bytes(range(32)), bytes(range(32, 64))
"""Ed25519 seeds."""


def envelopes() -> list[dict[str, Any]]:
    signer, reader = Identity(INITIATOR), Identity(RESPONDER)
    vectors = []
    for recipient in (b"", reader.node_id):
        settings = {"t_ms": T_MS, "recipient": recipient, "nonce": b"\x07" * 16}
        body = [b"\x01\x02", "text", 3, True, [4, []]]
        data = sign_envelope(signer, network_id("vectors"), REFUSAL, body, **settings)  # type: ignore[arg-type]
        statement, signature = cbor.decode(data)
        vectors.append(
            {
                "seed": INITIATOR,
                "net": network_id("vectors"),
                "kind": REFUSAL,
                **settings,
                "body": cbor.encode(body),
                "statement": statement,
                "signature": signature,
                "envelope": data,
            }
        )
    return vectors


def handshakes() -> list[dict[str, Any]]:
    vectors = []
    for name, secret in (("public", ""), ("private", SECRET)):
        net = network_id(name, secret)
        initiator_us = Us(Identity(INITIATOR), net, secret, b"\x0a" * 16)
        responder_us = Us(Identity(RESPONDER), net, secret, b"\x0b" * 16)
        keys = {"initiator_ephemeral": b"\x11" * 32, "responder_ephemeral": b"\x22" * 32}
        initiator = Initiator(
            initiator_us, b"record of the initiator", now_ms=T_MS, expect=responder_us.identity.node_id,
            ephemeral=keys["initiator_ephemeral"], nonce=b"\x01" * 16,
        )  # fmt: skip
        hello = initiator.hello[1:]
        opened = open_envelope(hello, net, HELLO)
        established, welcome = answer(
            responder_us, opened, hello, b"record of the responder", now_ms=T_MS + 20,
            ephemeral=keys["responder_ephemeral"], nonce=b"\x02" * 16,
        )  # fmt: skip
        shared = exchange(keys["initiator_ephemeral"], crypto_scalarmult_base(keys["responder_ephemeral"]))
        derived = derive_keys(shared, transcript_of(hello, welcome[33:]), secret)
        vectors.append(
            {
                "network": name,
                "secret": secret,
                "net": net,
                "initiator_seed": INITIATOR,
                "responder_seed": RESPONDER,
                **keys,
                "hello": initiator.hello,
                "welcome": welcome,
                "shared": shared,
                "transcript": established.transcript,
                **{f.name: getattr(derived, f.name) for f in dataclasses.fields(derived)},
            }
        )
    return vectors


def frames() -> list[dict[str, Any]]:
    sealer, keys = Sealer(INITIATOR), [INITIATOR, next_key(INITIATOR)]
    vectors: list[dict[str, Any]] = []
    for now, message in ((0.0, b""), (1.0, b"sealed"), (3601.0, b"the next epoch"), (3602.0, bytes(100))):
        frame = sealer.seal(message, now)
        where = {"key": keys[sealer.epoch], "epoch": sealer.epoch, "counter": sealer.counter - 1}
        vectors.append(where | {"message": message, "frame": frame})
    return vectors


def messages() -> list[dict[str, Any]]:
    each: list[Message] = [
        Ping(1_000_000),
        Pong(1_000_000),
        RecordChanged(b"a signed envelope"),
        Bye("leaving"),
        Moved(),
        Clock(T_MS, asks=True),
        Ask(1, "chat", "pocket", b'{"messages":[]}', streaming=True, deadline_ms=60_000, opening=b""),
        Accepted(1, 0, 0, "llama_server", 128),
        Refused(1, b"a signed envelope"),
        Chunks(1, 0, ["Hello", " wörld", b'{"tool_calls":[]}']),
        Ended(1, "stop", 12, 3, 4_000, 25_000),
        Failed(1, "engine_failed", "The engine broke while it was answering.", "", -1),
        Failed(2, "all_busy", "Everyone is busy.", "Try again.", 1500),
        Cancel(1),
        Grant(1, 256),
        Settle(1, b"an entry"),
        Earned(1, b"an entry"),
        Voucher(1, b"a voucher"),
        Transfer(b"a mandate"),
        Transferred(b"a mandate", b"an entry", b"another entry"),
        NotTransferred(bytes(range(16)), "not_owed", "nothing is owed"),
        Sweep(bytes(range(32)), 1_000_000),
        Proof(b"a proof"),
        Stamp(b"a stamp"),
        Rotated(b"papers"),
        Account(b"an entry", b"\x82\x80\x80"),
        NotFollowed("conflict", "another key has come after it"),
        AddCheckpoint("old 0\n\na checkpoint"),
        Cosigned("— a witness, and its cosignature\n"),
        NotCosigned(409, 256, "the proof begins at another size than was cosigned last"),
        Head("a checkpoint", 7, bytes(32)),
        GetEntries(512),
        Entries(512, b"an entry", b"\x80", b"\x80", more=False),
        Wanted(bytes(range(64)), 7),
        Present("a checkpoint", b"\x80"),
        FindRoute(3, 1_000_000, bytes(range(32))),
        RouteFound(3, bytes(range(32)) + bytes(32) + (1_000_000).to_bytes(8, "big")),
        AskOwed(4, 1_000_000, bytes(range(64))),
        Owed(4, bytes(range(32)), 250_000),
        Here(b"signed whereabouts"),
        SeekPeers("llama3-8b", "country", "DE", 8),
        Peers([b"signed whereabouts", b"others"]),
        SeekNode(bytes(range(32))),
        Continue(1, "chat", "pocket", b'{"messages":[]}', True, 60_000, b"", ["Hello", " wörld"]),
        Continued(1, 2),
        *relays(),
        Quote(2, "chat", "pocket", 520, 64, 3),
        Quoted(2, b"a signed envelope"),
        Released(2),
        Queued(1, 2, 8_000),
    ]
    return [
        {"name": type(m).__name__, "number": m.number, "fields": _fields(m), "encoded": encode_message(m)}
        for m in each
    ]


def quotes() -> list[dict[str, Any]]:
    signer, reader = Identity(INITIATOR), Identity(RESPONDER)
    made = []
    for terms in (
        Terms(b"\x0c" * 32, 875, 7000, 1200, 4, 2, 2000, 0, 0, 310_500, 42_125),
        Terms(b"", 0, 0, 0, 0, position=3, start_ms=8400),
    ):
        envelope = sign_quote(
            signer, network_id("vectors"), reader.node_id, 2, terms, now_ms=T_MS, nonce=b"\x07" * 16
        )
        made.append(
            {"seed": INITIATOR, "stream": 2, "terms": dataclasses.asdict(terms), "envelope": envelope}
        )
    return made


def relays() -> list[Message]:
    return [
        Reserve(),
        Reserved("tcp://192.0.2.7:11436", 900),
        NotReserved("full"),
        Open(2, bytes(range(32))),
        Opened(1, bytes(range(32))),
        Carried(2, True, b"a piece of a frame"),
        Credit(2, 65_536),
        Closed(2, "the other end closed the connection"),
        Seen("203.0.113.9", 0),
        DialBack(11_436, bytes(range(16))),
        NotReached(bytes(range(16)), "nobody answered within 5 s"),
    ]


def _fields(message: Message) -> dict[str, Any]:
    return {f.name: getattr(message, f.name) for f in dataclasses.fields(message)}


def _plain(value: Any) -> Any:
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list):
        # Among texts, hexadecimal alone would not tell which item was bytes.
        return [{"bytes": item.hex()} if isinstance(item, bytes) else item for item in value]
    return value


def files() -> dict[str, str]:
    """File name -> content."""
    made = {
        "envelope": envelopes(),
        "handshake": handshakes(),
        "frames": frames(),
        "messages": messages(),
        "quotes": quotes(),
        "whereabouts": whereabouts(),
        "topics": all_topics(),
    }
    return {
        f"{name}.json": json.dumps([_plain(v) for v in vectors], indent=1, ensure_ascii=False) + "\n"
        for name, vectors in made.items()
    }


def main() -> int:
    parser = argparse.ArgumentParser(description="Write or check tests/vectors/*.json.")
    parser.add_argument("--check", action="store_true", help="exit 1 if a file is not up to date")
    arguments = parser.parse_args()
    stale = 0
    for name, content in files().items():
        path = FOLDER / name
        if arguments.check:
            if not path.exists() or path.read_text() != content:
                print(f"{path} differs: run python tools/make_vectors.py if the change is meant")
                stale = 1
        else:
            FOLDER.mkdir(exist_ok=True)
            path.write_text(content)
    return stale


if __name__ == "__main__":
    sys.exit(main())
