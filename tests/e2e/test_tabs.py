"""Many short requests to one peer are paid with few entries: real nodes, and a peer that cheats."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from harness import Node, until
from pairs import Pair, joined, paced_engine
from rogue import Rogue, rogue
from sse import chat

from opengateway.engines.prompt_size import TEMPLATE_TOKENS
from opengateway.engines.tab import MARK, naming
from opengateway.ledger.audit import verify
from opengateway.ledger.entry import leaf_of_wire
from opengateway.wire.messages import Ask, Settle, Voucher

CHAT = "/v1/chat/completions"
STRANGER = 32
REQUESTS, AT_ONCE, TOKENS = 160, 12, 5


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[Pair]:
    with (
        paced_engine(interval_ms=1, chunks=400) as url,
        joined(tmp_path, kind="openai", url=url, slots=16) as made,
    ):
        yield made


def balances(pair: Pair) -> list[int]:
    return [node.get("/node/ledger/balance")["balance"] for node in (pair.asking, pair.serving)]


def settled(pair: Pair) -> bool:
    held = pair.asking.get("/node/ledger/balance")["held"]
    asking, serving = balances(pair)
    return not held and serving > 0 and asking == -serving


def test_many_short_answers_are_paid_with_few_entries_and_to_the_last_ucr(pair: Pair, tmp_path: Path) -> None:
    def ask(_: int) -> tuple[str, int]:
        _, answer = pair.asking.request(
            "POST", CHAT, chat("hello", max_tokens=TOKENS), {"x-opengateway-stats": "1"}
        )
        return answer["opengateway"]["credits"], answer["usage"]["completion_tokens"]

    with ThreadPoolExecutor(AT_ONCE) as clients:
        told = list(clients.map(ask, range(REQUESTS)))
    until(lambda: settled(pair), "both sides agree and nothing is held")
    spent = pair.asking.get("/node/ledger/balance")["spent"]
    assert sum(round(float(cost) * 1_000_000) for cost, _ in told) == spent
    for node in (pair.asking, pair.serving):
        file = tmp_path / f"{node.name}.ogwl"
        file.write_bytes(node.get("/node/ledger/export"))
        report = verify(file)
        assert report.exit <= 1, report.findings
        assert report.kinds.total() < REQUESTS, "an OPEN and a SETTLE for each would be twice as many"
    # One prompt alone has its own OPEN again, and what it cost is there at once.
    before = pair.asking.get("/node/ledger/balance")["spent"]
    ask(0)
    until(lambda: pair.asking.get("/node/ledger/balance")["spent"] > before, "it is settled")


class Cheat:
    """Opens a tab at a node, and asks on it what it likes."""

    def __init__(self, peer: Rogue, requests: int, tokens: int) -> None:
        self.peer, self.tokens = peer, tokens
        self.body = json.dumps(
            {"messages": [{"role": "user", "content": "go on"}], "max_tokens": tokens}
        ).encode()
        self.rid = peer.identity.sign(b"tab")[:16]
        offer = peer.record.models[0]
        self.model = offer.name
        assert peer.peer is not None
        self.opening = peer.book.open(
            peer.peer,
            self.rid,
            offer.name,
            prompt_tokens=requests * (len(self.body) + TEMPLATE_TOKENS),
            max_completion=requests * tokens,
            price_prompt=offer.price_prompt,
            price_completion=offer.price_completion,
            offer=peer.offer(),
        )
        peer.book.commit()
        self.name = naming(leaf_of_wire(self.opening), b"a request")
        self.last = 0

    def ask(self, opening: bytes, **changes: Any) -> int:
        self.last += 1
        row: dict[str, Any] = {"model": self.model, "body": self.body} | changes
        self.peer.send(Ask(self.last, "chat", row["model"], row["body"], True, 60_000, opening))
        return self.last

    async def end(self, number: int) -> str:
        """`stop`, `length`, or the code of the error."""
        end = await self.peer.until(lambda: self.peer.ended(number), f"the end of {number}")
        if hasattr(end, "refusal"):
            return self.peer.error(number).code
        return str(getattr(end, "code", "") or getattr(end, "reason", ""))


@pytest.fixture(scope="module")
def fast(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    folder = tmp_path_factory.mktemp("fast")
    with (
        paced_engine(interval_ms=1, chunks=400) as url,
        Node(folder, "fast", engine={"kind": "openai", "url": url, "slots": 4}) as node,
    ):
        until(lambda: node.get("/node/models")["local"], "the engine serves")
        yield node


def run(work: Any) -> None:
    asyncio.run(asyncio.wait_for(work, 60))


def test_nobody_gets_more_on_a_tab_than_its_open_holds(fast: Node, tmp_path: Path) -> None:
    async def main() -> None:
        async with rogue(tmp_path, fast) as peer:
            await peer.until(lambda: peer.record.models, "a model")
            cheat = Cheat(peer, requests=3, tokens=4)
            first = cheat.ask(MARK + cheat.opening)
            assert await cheat.end(first) in ("stop", "length")
            others = [cheat.ask(cheat.name) for _ in range(2)]
            assert {await cheat.end(number) for number in others} <= {"stop", "length"}
            assert await cheat.end(cheat.ask(cheat.name)) == "tab_closed"  # all its tokens are used

    run(main())


def test_who_does_not_vouch_gets_its_lead_once_and_not_once_for_each_request(
    fast: Node, tmp_path: Path
) -> None:
    async def main() -> None:
        async with rogue(tmp_path, fast) as peer:
            await peer.until(lambda: peer.record.models, "a model")
            cheat = Cheat(peer, requests=20, tokens=20)
            first = cheat.ask(MARK + cheat.opening)
            assert await cheat.end(first) in ("stop", "length")
            second = cheat.ask(cheat.name)
            assert await cheat.end(second) == "voucher_missing"
            assert peer.tokens(first) + peer.tokens(second) == STRANGER
            # With a voucher over what came it goes on, by the stream that has begun the tab.
            third = cheat.ask(cheat.name)
            voucher = peer.book.vouch(cheat.rid, prompt_tokens=1, completion_tokens=STRANGER)
            peer.book.commit()
            peer.send(Voucher(first, voucher))
            assert await cheat.end(third) in ("stop", "length")
            entry = peer.book.settle(
                cheat.rid, prompt_tokens=9, completion_tokens=STRANGER + 20, digest=bytes(32)
            )
            peer.book.commit()
            peer.send(Settle(first, entry))
            await peer.until(lambda: peer.book.balance().spent, "its EARN")
            await peer.until(lambda: not peer.book.unanswered(), "its EARN")
            assert await cheat.end(cheat.ask(cheat.name)) == "tab_closed"  # it is settled

    run(main())


def test_a_name_that_is_no_tab_or_another_model_or_no_limit_is_refused(fast: Node, tmp_path: Path) -> None:
    async def main() -> None:
        async with rogue(tmp_path, fast) as peer:
            await peer.until(lambda: peer.record.models, "a model")
            cheat = Cheat(peer, requests=20, tokens=4)
            assert await cheat.end(cheat.ask(naming(bytes(32), bytes(16)))) == "tab_closed"
            assert await cheat.end(cheat.ask(cheat.name)) == "tab_closed"  # not open yet
            assert await cheat.end(cheat.ask(MARK + b"nonsense")) != "stop"
            assert await cheat.end(cheat.ask(MARK + cheat.opening)) in ("stop", "length")
            assert await cheat.end(cheat.ask(cheat.name, model="other")) == "tab_closed"
            unlimited = json.dumps({"messages": [{"role": "user", "content": "go on"}]}).encode()
            assert await cheat.end(cheat.ask(cheat.name, body=unlimited)) == "tab_closed"
            assert await cheat.end(cheat.ask(cheat.name)) in ("stop", "length")

    run(main())
