"""The bytes of the specification: another implementation must produce the same."""

from __future__ import annotations

import hashlib
import json
import subprocess
from base64 import b64decode
from pathlib import Path
from typing import Any

import cbor2
import pytest
from ledger_second import NODE, VERIFIER
from nacl.signing import VerifyKey

from opengateway.identity import Identity
from opengateway.ledger.audit_notes import read_note
from opengateway.ledger.chain import Chain, Draft
from opengateway.ledger.checkpoint import write_note
from opengateway.ledger.cosign import cosign_line
from opengateway.ledger.entry import (
    ADJ,
    CARRY,
    EARN,
    FOLLOW,
    OPEN,
    SETTLE,
    VOID,
    EntryInvalid,
    Signed,
    Terms,
    read_body,
    sign,
)
from opengateway.ledger.mandate import Mandate, draft, read_mandate
from opengateway.ledger.merkle import Frontier
from opengateway.ledger.price import PRICE_CAP, Price, cost, reference_price
from opengateway.ledger.rotation import Rotation, authorise, read_rotation, rotate_entry
from opengateway.ledger.rules import Pair, Totals, pair_in
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


def change_of_keys() -> tuple[dict[str, Signed], Rotation]:
    """D earned 700 ucr from P and spent 50; its recovery key R gives it up for E, and names an accident."""
    d, e, p, r = (Identity(letter * 32) for letter in (b"d", b"e", b"p", b"r"))
    recovery = hashlib.sha256(r.node_id).digest()
    made: dict[str, Signed] = {}
    old, new = Chain(d, NET), Chain(e, NET)
    genesis = made["D genesis"] = old.genesis(recovery, T)
    old.advance(genesis)
    rotate = rotate_entry(
        genesis.entry, e.node_id, seq=9, prev=bytes(range(32)), t_ms=T + 5, totals=Totals(700, 50, 0)
    )
    made["D rotate"] = sign(d, rotate)
    papers = authorise(genesis, made["D rotate"], r, e, accident=7)
    made["E genesis"] = new.genesis(recovery, T + 6)
    new.advance(made["E genesis"])
    leaf = made["D rotate"].leaf
    brings = Terms("", amount=700, hold=50)
    made["E carry"] = new.next(Draft(CARRY, p.node_id, leaf[:16], leaf, brings, bytes(32)), Pair(), T + 7)
    theirs = Chain(p, NET)
    theirs.advance(theirs.genesis(bytes(32), T))
    moves = Terms("", amount=50, hold=700)
    made["P follow"] = theirs.next(Draft(FOLLOW, e.node_id, leaf[:16], leaf, moves, bytes(32)), Pair(), T + 8)
    return made, papers


def checkpoint(size: int, root: bytes) -> str:
    c, p = Identity(b"k" * 32), Identity(b"p" * 32)
    note = write_note(c, NET, size, root)
    return note + cosign_line(p, read_note(note), T // 1000)


def described() -> dict[str, Any]:
    made = story()
    rotated, papers = change_of_keys()
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
            for name, signed in {**made, **rotated}.items()
        },
        "papers of D to E": papers.wire.hex(),
        "seeds of D, E and R": [(letter * 32).hex() for letter in (b"d", b"e", b"r")],
        "root of C": tree.root().hex(),
        "checkpoint of C, cosigned by P": checkpoint(tree.size, tree.root()),
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


def test_another_implementation_agrees_on_the_checkpoint() -> None:
    """With nothing of ours, as above."""
    vector = json.loads(PATH.read_text())
    note = vector["checkpoint of C, cosigned by P"]
    c, p = (VerifyKey(bytes.fromhex(vector["entries"][f"{who} genesis"]["fields"][3])) for who in "CP")
    origin = f"opengateway/{vector['net']}/{bytes(c).hex()}"
    text, _, lines = note.rpartition("\n\n")
    text += "\n"
    assert text.split("\n")[:2] == [origin, "5"]
    assert b64decode(text.split("\n")[2]).hex() == vector["root of C"]
    cosigner = f"opengateway/{bytes(p).hex()}"
    for line, name, kind, key in zip(lines.splitlines(), (origin, cosigner), (1, 4), (c, p), strict=True):
        dash, by, data = line.split(" ")
        raw, said = b64decode(data), text
        assert (dash, by) == ("—", name)
        assert raw[:4] == hashlib.sha256(f"{name}\n".encode() + bytes([kind]) + bytes(key)).digest()[:4]
        if kind == 4:
            said = f"cosignature/v1\ntime {int.from_bytes(raw[4:12], 'big')}\n{text}"
        key.verify(said.encode(), raw[-64:])


@pytest.mark.skipif(NODE is None, reason="no Node.js")
def test_the_second_verifier_reads_the_checkpoint() -> None:
    assert NODE is not None
    note = json.loads(PATH.read_text())["checkpoint of C, cosigned by P"]
    reader = (VERIFIER.parent / "verify_js" / "notes.mjs").as_uri()
    program = f"""import {{ readNote }} from "{reader}";
        const note = readNote({json.dumps(note)});
        console.log(note.net.toString("latin1"), note.signed, note.cosigned.length, note.bad.length);"""
    done = subprocess.run(
        [NODE, "--input-type=module", "-e", program], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.split() == [NET.decode(), "true", "1", "0"]


def test_another_implementation_agrees_on_the_papers_of_a_change_of_keys() -> None:
    """With nothing of ours, as above."""
    vector = json.loads(PATH.read_text())
    papers = bytes.fromhex(vector["papers of D to E"])
    name, genesis, rotate, key, signature, consent, first, excuse = cbor2.loads(papers)
    assert (name, first) == ("ogw-rotation/1", 7)
    leaf = hashlib.sha256(b"\0" + rotate[0]).digest()
    assert hashlib.sha256(key).digest() == cbor2.loads(genesis[0])[9] == cbor2.loads(rotate[0])[9]
    VerifyKey(key).verify(b"OGW1 rotate\n" + leaf, signature)
    VerifyKey(cbor2.loads(rotate[0])[7]).verify(b"OGW1 succeed\n" + leaf, consent)
    accident = hashlib.sha256(cbor2.dumps([leaf, first])).digest()
    VerifyKey(key).verify(b"OGW1 repair\n" + accident, excuse)
    for entry in ("E carry", "P follow"):
        assert vector["entries"][entry]["fields"][9] == leaf.hex()
    assert read_rotation(papers, NET).wire == papers


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
