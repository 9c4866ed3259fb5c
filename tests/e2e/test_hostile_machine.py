"""A hostile peer, made up by hypothesis, against a real node: whatever it says in whatever order, the node
goes on serving its owner, owes nobody anything, and none of its actors falls."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from harness import Node, private_network, until
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule, run_state_machine_as_test
from rogue import Rogue
from sse import chat

from opengateway.errors import OpenGatewayError
from opengateway.ledger.audit import verify
from opengateway.wire import cbor
from opengateway.wire.codec import KINDS
from opengateway.wire.fields import FIELDS, Field

VECTORS = Path(__file__).parents[1] / "vectors"
GROWTH_MIB = 96
"""Of the node's memory under the siege: what 4 MiB on the way and the caches may take, far below a leak."""
LINK = {"Ping", "Pong", "Bye", "Moved", "Clock", "Chunks"}
"""What the wire itself answers, and what only one who was asked may say: Chunks has a rule of its own."""


def papers() -> list[bytes]:
    """Genuine pieces of other people's business, and bytes that begin like them."""
    ledger = json.loads((VECTORS / "ledger.json").read_text())
    entries = ledger["entries"].values()
    found = [cbor.encode([bytes.fromhex(one["body"]), bytes.fromhex(one["signature"])]) for one in entries]
    found += [bytes.fromhex(ledger[name]) for name in ("papers of D to E", "mandate of C over X to P")]
    found += [bytes.fromhex(one["envelope"]) for one in json.loads((VECTORS / "envelope.json").read_text())]
    return [b"", b"\x80", *found]


BLOBS = st.sampled_from(papers()) | st.binary(max_size=200)
ODD = ["", "m", "old 0\n\nopengateway/00\n1\nAA==\n", "\u202e", "\x00", "\u00e9" * 30]
TEXTS = st.sampled_from(ODD) | st.text(max_size=30)


def value(field: Field) -> st.SearchStrategy[Any]:
    """What fits the codec: everything else never leaves the session's first check (test_hostile_peers.py)."""
    if field.kind in {"int", "int-or-never"}:
        return st.sampled_from([0, 1, 2, field.limit]) | st.integers(0, field.limit)
    if field.kind == "bool":
        return st.booleans()
    if field.kind == "bytes":
        return BLOBS.map(lambda data: data[: field.limit]) | st.binary(min_size=32, max_size=32)
    if field.kind == "text":
        return TEXTS.map(lambda text: text[: field.limit])
    return st.lists(BLOBS | TEXTS, min_size=1, max_size=3)


MESSAGES = st.one_of(
    [
        st.builds(kind, **{name: value(field) for name, field in FIELDS[kind.__name__].items()})
        for kind in KINDS.values()
        if kind.__name__ not in LINK
    ]
)


class Hostile(RuleBasedStateMachine):
    """Each life is another key."""

    node: Node
    folder: Path
    lives = said = 0

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        Hostile.lives += 1
        self.rogue = Rogue(self.folder, self.node, f"rogue{Hostile.lives}", serves=bool(Hostile.lives % 2))
        self.rogue.dial_failed = lambda *_: None  # type: ignore[method-assign]
        self.loop.run_until_complete(self.rogue.wire.start("127.0.0.1", 0))

    def teardown(self) -> None:
        self.loop.run_until_complete(self.rogue.wire.close())
        self.rogue.book.close()
        self.loop.close()

    def say(self, *messages: Any) -> None:
        async def saying() -> None:
            if self.rogue.peer is None:
                self.rogue.wire.dial(f"tcp://{self.node.endpoint}")
                with contextlib.suppress(AssertionError):
                    await self.rogue.until(lambda: self.rogue.peer, "a session")
            for message in messages:
                if self.rogue.peer is not None:
                    Hostile.said += self.rogue.wire.send(self.rogue.peer, message)
            await asyncio.sleep(0)

        self.loop.run_until_complete(saying())

    @rule(message=MESSAGES)
    def says_anything(self, message: Any) -> None:
        self.say(message)

    @rule(messages=st.lists(MESSAGES, min_size=2, max_size=12), times=st.integers(1, 20))
    def says_much_again_and_again(self, messages: list[Any], times: int) -> None:
        self.say(*messages * times)

    @rule(first=st.integers(0, 5), items=st.lists(TEXTS, min_size=1, max_size=3), stream=st.integers(0, 3))
    def answers_what_it_was_not_asked(self, first: int, items: list[str], stream: int) -> None:
        self.say(KINDS[13](stream, first, items))

    @rule(tokens=st.integers(1, 40), changes=st.fixed_dictionaries({}, optional={"price_prompt": st.just(0)}))
    def asks_and_does_not_pay(self, tokens: int, changes: dict[str, Any]) -> None:
        async def asking() -> None:
            if self.rogue.peer is not None and hasattr(self.rogue, "record"):
                with contextlib.suppress(OpenGatewayError, AssertionError):
                    await self.rogue.ask(tokens=tokens, **changes)

        self.loop.run_until_complete(asking())

    @rule()
    def hangs_up(self) -> None:
        if self.rogue.peer is not None:
            self.rogue.wire.hang_up(self.rogue.peer, "so there")
            self.loop.run_until_complete(asyncio.sleep(0))


@pytest.fixture
def besieged(tmp_path: Path) -> Iterator[Node]:
    with Node(tmp_path, "besieged", private_network(), engine={"kind": "pocket"}) as node:
        Hostile.node, Hostile.folder = node, tmp_path / "rogues"
        answer(node)
        yield node


def answer(node: Node) -> None:
    status, body = node.request("POST", "/v1/chat/completions", chat("Hello", max_tokens=4))
    assert status == 200, body


def lives(node: Node) -> dict[str, int]:
    return {actor["name"]: actor["life"] for actor in node.get("/node/actors")["actors"]}


pytestmark = pytest.mark.filterwarnings("ignore::hypothesis.errors.HypothesisWarning")


def siege(node: Node, tmp_path: Path, examples: int, steps: int) -> None:
    process = psutil.Process(node.pid)
    before, memory = lives(node), process.memory_info().rss
    bounds = settings(
        max_examples=examples,
        stateful_step_count=steps,
        deadline=None,
        phases=(Phase.explicit, Phase.generate),
        suppress_health_check=list(HealthCheck),
        database=None,
    )
    run_state_machine_as_test(Hostile, settings=bounds)
    assert Hostile.said > examples, "hardly anything was said"
    answer(node)
    until(lambda: node.get("/node/status")["peers"]["total"] == 0, "the last of them is gone")
    assert lives(node) == before, "an actor fell"
    assert (process.memory_info().rss - memory) >> 20 < GROWTH_MIB
    balance = node.get("/node/ledger/balance")
    assert (balance["owed_by_us"], balance["spent"]) == (0, 0)
    assert not balance["accused"] and not balance["witnesses"]["read_only"]
    export = tmp_path / "besieged.ogwl"
    export.write_bytes(node.get("/node/ledger/export"))
    assert verify(export).exit in {0, 1}


@pytest.mark.timeout(300)
def test_a_besieged_node_serves_its_owner_and_owes_nobody(besieged: Node, tmp_path: Path) -> None:
    siege(besieged, tmp_path, examples=6, steps=12)


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_a_long_siege(besieged: Node, tmp_path: Path) -> None:
    siege(besieged, tmp_path, examples=300, steps=40)
