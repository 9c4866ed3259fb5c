"""What each side can take from the other while tokens stream: real nodes, and a peer that cheats."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from harness import Node, private_network, until
from pairs import Pair, joined, paced_engine
from rogue import Rogue, rogue
from sse import Streamed, chat

from opengateway.engines.answering import VOUCHER_PATIENCE
from opengateway.wire.messages import Accepted, Ask, Chunks, Earned, Ended, Failed

CHAT = "/v1/chat/completions"
SECURED, STRANGER = 128, 32


@pytest.fixture(scope="module")
def fast(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    """A node whose engine writes 1,000 tokens/s."""
    with (
        paced_engine(interval_ms=1, chunks=400) as url,
        Node(
            tmp_path_factory.mktemp("fast"), "fast", engine={"kind": "openai", "url": url, "slots": 4}
        ) as node,
    ):
        until(lambda: node.get("/node/models")["local"], "the engine serves")
        yield node


def run(work: Any) -> None:
    asyncio.run(asyncio.wait_for(work, 60))


async def earn_credit(peer: Rogue, node: Node) -> None:
    """The node asks the rogue for something, and owes it 8 credits from then on."""

    def answer(ask: Ask, rid: bytes) -> None:
        peer.book.delivered(rid, peer.peer, 1, 8000)  # type: ignore[arg-type]
        peer.send(Accepted(ask.stream, 0, 0, "rogue", 0))
        peer.send(Chunks(ask.stream, 0, ["x" * 8000]))
        peer.send(Ended(ask.stream, "stop", 1, 8000, 0, 0))

    peer.answers = answer
    await asyncio.to_thread(until, lambda: _offered(node), "the rogue's model is known")
    body = chat("dig", model="gold", max_tokens=8000)
    await asyncio.to_thread(node.request, "POST", CHAT, body)
    await peer.until(lambda: peer.book.balance().earned, "its SETTLE")


def _offered(node: Node) -> bool:
    return any(model["name"] == "gold" for model in node.get("/node/models")["network"])


def unpaid(node: Node, peer: Rogue) -> dict[str, Any]:
    from opengateway.identity import base32

    accounts = node.get("/node/ledger/peers")["peers"]
    return next(row for row in accounts if row["id"] == base32(peer.identity.node_id))


def test_a_stranger_that_does_not_vouch_gets_32_tokens(fast: Node, tmp_path: Path) -> None:
    async def main() -> None:
        async with rogue(tmp_path, fast) as peer:
            number = await peer.ask(tokens=400)
            end = await peer.until(lambda: peer.ended(number), "the end")
            assert isinstance(end, Failed)
            assert end.code == "voucher_missing"
            assert peer.lead(number) == STRANGER
            assert peer.tokens(number) == STRANGER

    run(main())


def test_a_peer_with_credit_that_does_not_vouch_gets_two_instalments(fast: Node, tmp_path: Path) -> None:
    async def main() -> None:
        async with rogue(tmp_path, fast, serves=True) as peer:
            await earn_credit(peer, fast)
            number = await peer.ask(tokens=400)
            end = await peer.until(lambda: peer.ended(number), "the end")
            assert isinstance(end, Failed)
            assert (end.code, peer.lead(number), peer.tokens(number)) == ("voucher_missing", SECURED, SECURED)

    run(main())


def test_who_stops_vouching_gets_its_lead_beyond_what_it_vouched_for(fast: Node, tmp_path: Path) -> None:
    async def main() -> None:
        async with rogue(tmp_path, fast) as peer:
            number = await peer.ask(tokens=400)
            for vouched in (16, 32, 48):
                await peer.until(lambda vouched=vouched: peer.tokens(number) >= vouched)
                peer.vouch(number, vouched)
            end = await peer.until(lambda: peer.ended(number), "the end")
            assert isinstance(end, Failed)
            assert peer.tokens(number) == 48 + STRANGER

    run(main())


def test_an_answer_that_nobody_watches_comes_in_instalments_too(fast: Node, tmp_path: Path) -> None:
    async def main() -> None:
        async with rogue(tmp_path, fast) as peer:
            number = await peer.ask(tokens=400, streaming=False)
            end = await peer.until(lambda: peer.ended(number), "the end")
            assert isinstance(end, Failed)
            assert peer.tokens(number) == STRANGER

    run(main())


def test_vouchers_late_twice_or_forged_do_not_move_the_worker(fast: Node, tmp_path: Path) -> None:
    async def main() -> None:
        from opengateway.wire.messages import Voucher

        async with rogue(tmp_path, fast) as peer:
            number = await peer.ask(tokens=400)
            await peer.until(lambda: peer.tokens(number) == STRANGER)
            older = peer.book.vouch(peer.rids[number], prompt_tokens=1, completion_tokens=8)
            newer = peer.vouch(number, 24)
            await peer.until(lambda: peer.tokens(number) == 24 + STRANGER)
            for nonsense in (older, newer, newer[:-1] + bytes([newer[-1] ^ 1]), b"", b"\xff" * 100):
                peer.send(Voucher(number, nonsense))
            end = await peer.until(lambda: peer.ended(number), "the end")
            assert isinstance(end, Failed)
            assert peer.tokens(number) == 24 + STRANGER

    run(main())


def test_what_was_taken_without_paying_counts_against_the_next_request(fast: Node, tmp_path: Path) -> None:
    async def main() -> None:
        async with rogue(tmp_path, fast) as peer:
            for _ in range(2):
                number = await peer.ask(tokens=400)
                await peer.until(lambda number=number: peer.ended(number), "the end")
                peer.settle(number, 1)
                await peer.until(lambda number=number: peer.of(number, Earned), "the EARN")
            await asyncio.to_thread(
                until, lambda: unpaid(fast, peer).get("unpaid", 0) >= 2 * 31 * 1000, "the debt is known"
            )

    run(main())


def test_a_slot_is_not_held_by_who_does_not_vouch(tmp_path: Path) -> None:
    async def main(node: Node) -> None:
        async with rogue(tmp_path, node) as peer:
            number = await peer.ask(tokens=400)
            await peer.until(lambda: peer.tokens(number) == STRANGER)
            started = asyncio.get_running_loop().time()
            await asyncio.to_thread(node.request, "POST", CHAT, chat(max_tokens=1))
            assert asyncio.get_running_loop().time() - started < VOUCHER_PATIENCE + 2

    with paced_engine(interval_ms=1) as url:
        engine = {"kind": "openai", "url": url, "slots": 1}
        with Node(tmp_path, "one-slot", private_network(), engine=engine) as node:
            until(lambda: node.get("/node/models")["local"], "the engine serves")
            run(main(node))


def test_a_worker_is_not_paid_for_what_it_did_not_deliver(fast: Node, tmp_path: Path) -> None:
    """It claims 8000 tokens for five bytes, and the prompt a hundred times over."""

    async def main() -> None:
        async with rogue(tmp_path, fast, name="greedy", serves=True) as peer:

            def answer(ask: Ask, rid: bytes) -> None:
                peer.send(Accepted(ask.stream, 0, 0, "rogue", 0))
                peer.send(Chunks(ask.stream, 0, ["12345"]))
                peer.send(Ended(ask.stream, "stop", 100_000, 8000, 0, 0))

            peer.answers = answer
            await asyncio.to_thread(until, lambda: _offered(fast), "the rogue's model is known")
            body = chat("dig", model="gold", max_tokens=8000)
            await asyncio.to_thread(fast.request, "POST", CHAT, body)
            earned = await peer.until(lambda: peer.book.balance().earned, "its SETTLE")
            assert earned <= (5 + 16) * 1000 + (512 + 200) * 125

    run(main())


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    """200 tokens/s."""
    folder = tmp_path_factory.mktemp("vouching")
    with paced_engine(interval_ms=5) as url, joined(folder, kind="openai", url=url, slots=4) as pair:
        yield pair


def agreed(pair: Pair) -> int:
    """What the serving node earned, once both books say so."""

    def same() -> int:
        [theirs] = pair.asking.get("/node/ledger/peers")["peers"]
        [ours] = pair.serving.get("/node/ledger/peers")["peers"]
        held = pair.asking.get("/node/ledger/balance")["held"]
        return ours["served"] if theirs["consumed"] == ours["served"] and not held else 0

    return until(same, "both books agree")


def test_a_long_answer_is_paid_while_it_streams_and_the_books_agree(pair: Pair) -> None:
    with Streamed(pair.asking, chat(max_tokens=300)) as answer:
        assert answer.text().split() == ["word"] * 300
    assert agreed(pair) >= 300_000


@pytest.mark.parametrize("victim", ["asking", "serving"])
def test_after_a_crash_in_mid_stream_the_books_still_agree(tmp_path: Path, victim: str) -> None:
    with paced_engine(interval_ms=5) as url, joined(tmp_path, kind="openai", url=url, slots=4) as pair:
        killed: Node = getattr(pair, victim)
        with Streamed(pair.asking, chat(max_tokens=2000)) as answer:
            events = answer.events()
            for _ in range(200):
                next(events)
            port = pair.serving.info["wire_port"]
            killed.kill9()
        if victim == "serving":
            killed.config["wire"] = {**killed.config["wire"], "port": port}
        killed.start()
        earned = agreed(pair)
        assert earned >= 100_000, "what was vouched for before the crash"
