"""Genuine inputs of each target, with which its fuzzing begins."""

from __future__ import annotations

import base64
import json
import tempfile
from io import BytesIO
from pathlib import Path
from typing import Final

from opengateway import config
from opengateway.discovery import bootstrap, invitation
from opengateway.discovery.record import ModelOffer, NodeRecord, sign_record
from opengateway.identity import Identity, base32, network_id
from opengateway.ledger.book import Book
from opengateway.ledger.entry import VOID, read_form, sign
from opengateway.ledger.voucher import Voucher, sign_voucher
from opengateway.ledger.witness import Contradiction
from opengateway.schema import nest
from opengateway.wire import cbor
from opengateway.wire.envelope import RECORD, open_envelope, sign_envelope

NET: Final = network_id("fuzz")
NOW: Final = 1_780_000_000_000
ME, OTHER = Identity(b"m" * 32), Identity(b"o" * 32)
VECTORS: Final = Path(__file__).parents[2] / "tests" / "vectors"
NET_OF_VECTORS: Final = b"ogwtest1"


def vectors(name: str, field: str) -> list[bytes]:
    found = json.loads((VECTORS / f"{name}.json").read_text())
    return [bytes.fromhex(one[field]) for one in found if one.get(field)]


def ledger_vectors(*names: str) -> list[bytes]:
    found = json.loads((VECTORS / "ledger.json").read_text())
    return [bytes.fromhex(found[name]) for name in names]


def entries() -> list[bytes]:
    found = json.loads((VECTORS / "ledger.json").read_text())["entries"].values()
    return [cbor.encode([bytes.fromhex(one["body"]), bytes.fromhex(one["signature"])]) for one in found]


def record_bodies() -> list[bytes]:
    model = ModelOffer(
        "llama3.2:1b", "d" * 64, 1240, "Q4_K_M", 8192, 900, 40, 154, 1236, demo=False, abilities=("embed",)
    )
    made = NodeRecord(
        OTHER.node_id,
        "a node",
        "0.1.0",
        "eu-central-1",
        "DE",
        ("tcp://192.0.2.1:7000",),
        (f"{base32(ME.node_id)}@tcp://192.0.2.2:7000",),
        ("a cluster",),
        (model,),
        4,
        "ready",
        NOW,
        NOW + 60_000,
    )
    wire = sign_record(OTHER, NET, made, now_ms=NOW)
    return [cbor.encode(open_envelope(wire, NET, RECORD).body)]


def hello_bodies() -> list[bytes]:
    return [cbor.encode([b"\x09" + bytes(31), b"i" * 16, b"record", there]) for there in (0, NOW)]


def whereabouts_bodies() -> list[bytes]:
    return [cbor.encode([7, NOW + 60_000, "eu-central-1", 0, ["tcp://8.8.8.8:7000"], []])]


def statements() -> list[bytes]:
    made = sign_envelope(ME, NET, RECORD, [b"body", 1, "text", [True]], t_ms=NOW, nonce=b"n" * 16)
    return [made, bytes(cbor.decode(made)[0])]


def proofs() -> list[bytes]:
    """One of each kind that needs only entries and a voucher."""
    first = read_form(entries()[0], NET_OF_VECTORS).entry
    author = Identity(b"k" * 32)
    one, two = sign(author, first), sign(author, first._replace(t_ms=first.t_ms + 1))
    opened = read_form(entries()[2], NET_OF_VECTORS)
    voucher = sign_voucher(author, Voucher(opened.leaf, 1, 5, 100, first.t_ms))
    released = sign(author, opened.entry._replace(kind=VOID, link=opened.leaf, amount=0))
    pieces = [released.body, released.signature], [voucher.body, voucher.signature]
    return [
        Contradiction("F1-fork", one, two).proof,
        cbor.encode(["ogw-proof/1", "F5-under-settle", *pieces]),
        voucher.wire,
    ]


def exports() -> list[bytes]:
    """Of two nodes with a receipt, a voucher, a hold and a checkpoint between them."""
    with tempfile.TemporaryDirectory() as folder:
        books = [
            Book(Path(folder) / key.hex()[:8] / "ledger.db", Identity(key), NET, now_ms=lambda: NOW)
            for key in (b"m" * 32, b"o" * 32)
        ]
        asker, worker = books
        for number in range(3):
            rid = bytes([number]) * 16
            opening = asker.open(
                worker.node_id,
                rid,
                "m",
                prompt_tokens=5,
                max_completion=9,
                price_prompt=1,
                price_completion=10,
            )
            worker.admit(opening, asker.node_id, price_prompt=1, price_completion=10)
            if number == 1:
                worker.vouched(asker.vouch(rid, prompt_tokens=5, completion_tokens=4), asker.node_id)
            elif number == 0:
                settle = asker.settle(rid, prompt_tokens=5, completion_tokens=9, digest=bytes(32))
                asker.countersigned(worker.earn(settle, asker.node_id), worker.node_id)
        found = []
        for book in books:
            book.commit()
            book.checkpoints.make(now=True)
            book.commit()
            out = BytesIO()
            book.export(out)
            found.append(out.getvalue())
            book.close()
    return found


def documents() -> list[bytes]:
    entry = bootstrap.Entry(OTHER.node_id, ("tcp://192.0.2.1:7000", "tcp://[2001:db8::1]:7000"))
    made = bootstrap.Bootstrap(NET, NOW, NOW + 86_400_000, (entry,), ("dht.example:6881",), ())
    return [bootstrap.write(made), bootstrap.write(bootstrap.sign(made, ME))]


def invitations() -> list[bytes]:
    made = invitation.Invitation(
        "a-network", "a secret", NOW + 60_000, ((OTHER.node_id, "tcp://192.0.2.1:7000"),), ("192.0.2.1:6881",)
    )
    line = invitation.write(made)
    packed = line.removeprefix(invitation.PREFIX).upper()
    raw = base64.b32decode(packed + "=" * (-len(packed) % 8))
    return [line.encode(), raw[: -invitation.CHECKSUM_BYTES]]


def settings() -> list[bytes]:
    """All of them, as they are unless somebody says otherwise."""
    return [b"{}", json.dumps(nest(config.flat(config.parse({})))).encode()]
