"""The bytes of the specification: another implementation must produce the same."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import cbor2
import pytest
from nacl.signing import VerifyKey

from opengateway.identity import Identity
from opengateway.ledger.chain import Chain, Draft
from opengateway.ledger.entry import ADJ, EARN, OPEN, SETTLE, VOID, EntryInvalid, Signed, Terms, read_body
from opengateway.ledger.mandate import Mandate, draft, read_mandate
from opengateway.ledger.merkle import Frontier
from opengateway.ledger.price import PRICE_CAP, Price, cost, reference_price
from opengateway.ledger.rules import Pair, pair_in
from opengateway.ledger.stamp import Stamp, challenge
from opengateway.units import NetworkId

PATH = Path(__file__).parents[1] / "vectors" / "ledger.json"
NET = NetworkId(b"ogwtest1")
T = 1_780_000_000_000
NONCE = bytes.fromhex("1c0a44c48b7db5ae")
"""Found by `stamp_child.search` for C's GENESIS."""


def story() -> dict[str, Signed]:
    """C asks P, pays, asks again and takes it back."""
    c, p = Identity(b"k" * 32), Identity(b"p" * 32)
    mine, theirs = Chain(c, NET), Chain(p, NET)
    made: dict[str, Signed] = {}

    def say(name: str, chain: Chain, new: Signed) -> Signed:
        made[name] = new
        chain.advance(new)
        return new

    say("C genesis", mine, mine.genesis(bytes(32), T))
    say("P genesis", theirs, theirs.genesis(bytes(32), T))
    rid, model = bytes(range(16)), "qwen2.5-7b-instruct-q4_k_m"
    asked = Terms(model, 100, 256, 875, 7000)
    asked = asked._replace(hold=asked.cost)
    opened = say("C open", mine, mine.next(Draft(OPEN, p.node_id, rid, bytes(32), asked), Pair(), T + 1000))
    used = Terms(model, 100, 180, 875, 7000, hold=asked.hold)
    used = used._replace(amount=used.cost)
    digest = bytes(range(32))
    settle = say(
        "C settle",
        mine,
        mine.next(Draft(SETTLE, p.node_id, rid, opened.leaf, used, digest), Pair(), T + 9000),
    )
    earned = used._replace(hold=0)
    say(
        "P earn",
        theirs,
        theirs.next(Draft(EARN, c.node_id, rid, settle.leaf, earned, digest), Pair(), T + 9100),
    )
    pair = pair_in(settle.entry)
    again = say(
        "C open 2", mine, mine.next(Draft(OPEN, p.node_id, rid[::-1], bytes(32), asked), pair, T + 9200)
    )
    nothing = asked._replace(prompt_tokens=0, completion_tokens=0)
    say("C void", mine, mine.next(Draft(VOID, p.node_id, rid[::-1], again.leaf, nothing), pair, T + 9300))
    # X owes C, P owes X: from now on P owes C. P appends the two legs of the transfer.
    moved = mandate()
    into = Draft(ADJ, moved.path[1], moved.tid, moved.name, Terms(amount=moved.amount))
    say("P transfer in", theirs, theirs.next(into, Pair(consumed=5000), T + 9400))
    out = Draft(ADJ, c.node_id, moved.tid, moved.name, Terms(hold=moved.amount))
    say("P transfer out", theirs, theirs.next(out, pair_in(made["P earn"].entry), T + 9400))
    return made


def mandate() -> Mandate:
    c, x, p = (Identity(letter * 32) for letter in (b"k", b"x", b"p"))
    path = (c.node_id, x.node_id, p.node_id)
    return draft(NET, bytes(range(16, 32)), 4000, path, T + 300_000).signed(c).signed(x)


def described() -> dict[str, Any]:
    made = story()
    tree = Frontier()
    for name, signed in made.items():
        if name.startswith("C"):
            tree.append(signed.leaf)
    return {
        "net": NET.hex(),
        "seeds": {"C": (b"k" * 32).hex(), "P": (b"p" * 32).hex()},
        "entries": {
            name: {
                "fields": [item.hex() if isinstance(item, bytes) else item for item in signed.entry],
                "body": signed.body.hex(),
                "leaf": signed.leaf.hex(),
                "signature": signed.signature.hex(),
            }
            for name, signed in made.items()
        },
        "root of C": tree.root().hex(),
        "seed of X": (b"x" * 32).hex(),
        "mandate of C over X to P": mandate().wire.hex(),
        "challenge of C": challenge(NET, made["C genesis"].leaf).hex(),
        "stamp of C": Stamp(made["C genesis"], NONCE).wire.hex(),
    }


def test_the_vectors_are_what_this_version_writes() -> None:
    """After a deliberate change of the format: python tests/ledger/test_vectors.py writes them anew."""
    assert json.loads(PATH.read_text()) == described()


@pytest.mark.parametrize("name", list(json.loads(PATH.read_text())["entries"]) if PATH.exists() else [])
def test_a_vector_reads_back_to_its_fields(name: str) -> None:
    vector = json.loads(PATH.read_text())["entries"][name]
    entry = read_body(bytes.fromhex(vector["body"]), NET)
    assert [item.hex() if isinstance(item, bytes) else item for item in entry] == vector["fields"]


def test_another_implementation_agrees_on_the_mandate() -> None:
    """With nothing of ours: the bytes that LEDGER.md describes."""
    vector = json.loads(PATH.read_text())
    name, statement, signatures = cbor2.loads(bytes.fromhex(vector["mandate of C over X to P"]))
    kind, net, _, amount, path, _ = cbor2.loads(statement)
    assert (name, kind, net, amount) == ("ogw-transfer/1", "ogw-release/1", NET, 4000)
    hashed = hashlib.sha256(statement).digest()
    for key, prefix, signature in zip(path, (b"release", b"assign"), signatures, strict=False):
        VerifyKey(key).verify(b"OGW1 " + prefix + b"\n" + hashed, signature)
    assert vector["entries"]["P transfer out"]["fields"][9] == hashed.hex()
    assert read_mandate(bytes.fromhex(vector["mandate of C over X to P"]), NET).genuine()


BODY = bytes.fromhex("9819")


@pytest.mark.parametrize(
    "change",
    [
        lambda body: body + b"\0",
        lambda body: body[:-1],
        lambda body: b"\x9f" + body[2:] + b"\xff",
        lambda body: b"\x99\x00\x19" + body[2:],
        lambda body: b"\x98\x1a" + body[2:] + b"\0",
        lambda body: body.replace(b"\x98\x19\x01", b"\x98\x19\xf5", 1),
        lambda body: body.replace(b"\x98\x19\x01", b"\x98\x19\x20", 1),
        lambda body: body.replace(b"\x98\x19\x01", b"\x98\x19\xc2\x41\x01", 1),
        lambda _: b"",
        lambda _: b"\x81" * 1000,
        lambda _: bytes(2000),
    ],
)
def test_only_the_one_encoding_is_an_entry(change: Any) -> None:
    body = story()["C open"].body
    assert body.startswith(BODY)
    with pytest.raises(EntryInvalid) as refused:
        read_body(change(body), NET)
    assert refused.value.reason in {"format", "version"}


def test_the_reference_price_follows_the_active_parameters() -> None:
    assert reference_price(7_000_000_000) == Price(875, 7000)
    assert reference_price(500_000_000) == Price(62, 500)
    assert reference_price(1_100_000) == Price(0, 1)
    assert reference_price(10**16) == Price(PRICE_CAP, PRICE_CAP)
    assert cost(100, 180, 875, 7000) == 1_347_500
    with pytest.raises(ValueError, match="parameters"):
        reference_price(0)


if __name__ == "__main__":
    PATH.write_text(json.dumps(described(), indent=1) + "\n")
