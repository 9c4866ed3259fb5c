"""What would it cost? Asked of real nodes, with nothing asked for."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

from harness import until
from pairs import Pair
from rogue import rogue
from sse import chat

from opengateway.errors import NotEnoughCredit, OfferOutdated
from opengateway.units import CREDIT
from opengateway.wire.messages import Ended, Refused
from opengateway.wire.quote_messages import Quote, Quoted, Released

QUOTE = "/node/quote"


def entries(pair: Pair) -> list[int]:
    """How many there are, once what came before is settled or let go of."""
    balance = "/node/ledger/balance"
    until(lambda: not pair.asking.get(balance)["held"], "nothing is held")
    return [node.get("/node/ledger/balance")["entries"] for node in (pair.asking, pair.serving)]


def test_a_quote_has_node_price_and_verdict_and_writes_nothing(paced_pair: Pair) -> None:
    before = entries(paced_pair)
    quote = paced_pair.asking.post(QUOTE, chat(max_tokens=100))
    assert quote["node"] == paced_pair.serving.get("/node/status")["short"]
    assert (quote["name"], quote["ring"], quote["local"]) == ("serving", "lan", False)
    price = quote["price"]
    assert price == {"prompt": 125, "completion": 1000}
    tokens = quote["tokens"]
    assert quote["hold"] == tokens["prompt_at_most"] * 125 + tokens["completion_at_most"] * 1000
    assert 100_000 < quote["estimate"] < quote["hold"]
    verdict = quote["verdict"]
    assert verdict["admitted"]
    assert verdict["unsecured"] > 0
    assert len(bytes.fromhex(verdict["offer"])) == 32
    assert entries(paced_pair) == before


def test_what_ones_own_engine_answers_costs_nothing(paced_pair: Pair) -> None:
    quote = paced_pair.serving.post(QUOTE, chat())
    assert (quote["local"], quote["hold"], quote["verdict"]["admitted"]) == (True, 0, True)


def test_a_refusal_says_what_is_missing_and_what_to_do(paced_pair: Pair) -> None:
    quote = paced_pair.asking.post(QUOTE, chat(max_tokens=8000, messages=[BIG]))
    verdict = quote["verdict"]
    assert not verdict["admitted"]
    assert verdict["code"] == "insufficient_credit"
    assert verdict["missing"] > 0
    assert verdict["hint"]
    status, answer = paced_pair.asking.request("POST", "/v1/chat/completions", chat(messages=[BIG]))
    assert status == 402
    assert answer["error"]["missing"] > 0
    assert answer["error"]["hint"]


BIG = {"role": "user", "content": "\x01" * 83_000}
"""62 credits of prompt, if every byte were a token: six as JSON, and one of text, or no context had room."""


def test_the_command_line_shows_the_price_without_asking(paced_pair: Pair) -> None:
    before = entries(paced_pair)
    done = paced_pair.asking.cli("prompt", "--dry-run", "What is 2+2?")
    assert done.returncode == 0, done.stderr
    assert "0.125 credits per 1,000 tokens in, 1 per 1,000 out" in done.stdout
    assert "yes, on trust" in done.stdout
    told = json.loads(paced_pair.asking.cli("prompt", "--dry-run", "--json", "What is 2+2?").stdout)
    assert told["price"]["completion"] == 1000
    assert entries(paced_pair) == before


def test_a_peer_gets_quotes_and_signed_refusals(paced_pair: Pair, tmp_path: Path) -> None:
    async def main() -> None:
        async with rogue(tmp_path, paced_pair.serving) as peer:
            await peer.until(lambda: peer.record.models, "a model")
            model = peer.record.models[0].name
            peer.send(Quote(1, "chat", model, 1000, 1000, 0))
            peer.send(Quote(2, "chat", model, 0, 50_001, 3))
            peer.send(Quote(3, "chat", "nonsense", 1, 1, 1))
            [quoted] = [peer.terms(q) for q in await peer.until(lambda: peer.of(1, Quoted), "a quote")]
            assert (quoted.free, quoted.held, quoted.position, quoted.start_ms) == (4, 0, 0, 0)
            assert (quoted.price_prompt, quoted.price_completion) == (125, 1000)
            assert quoted.unsecured == 1_125_000
            assert quoted.offer == peer.offer()
            await peer.until(lambda: peer.of(2, Refused) and peer.of(3, Refused), "refusals")
            refused = peer.error(2)
            assert isinstance(refused, NotEnoughCredit)
            assert refused.missing == 50_001_000 - 50 * CREDIT
            assert peer.error(3).code == "model_not_found"

    asyncio.run(asyncio.wait_for(main(), 30))


def test_a_slot_is_held_for_the_peer_that_asked_and_given_back(paced_pair: Pair, tmp_path: Path) -> None:
    async def main() -> None:
        async with (
            rogue(tmp_path, paced_pair.serving, "one") as one,
            rogue(tmp_path, paced_pair.serving, "two") as two,
        ):
            await one.until(lambda: one.record.models, "a model")
            model = one.record.models[0].name
            one.send(Quote(1, "chat", model, 10, 10, 3))
            [quoted] = await one.until(lambda: one.of(1, Quoted), "a quote")
            assert (one.terms(quoted).free, one.terms(quoted).held) == (4, 3)
            assert one.terms(quoted).hold_ms == 2000
            two.send(Quote(1, "chat", model, 10, 10, 3))
            [other] = await two.until(lambda: two.of(1, Quoted), "a quote")
            assert (two.terms(other).free, two.terms(other).held) == (1, 1)
            one.send(Released(1))
            two.send(Released(1))
            number = 1
            while two.terms(other).held < 4:  # the two connections are not read in the order of our sends
                number += 1
                two.send(Quote(number, "chat", model, 10, 10, 64))
                [other] = await two.until(lambda number=number: two.of(number, Quoted), "a quote")
                two.send(Released(number))

    asyncio.run(asyncio.wait_for(main(), 30))


def test_a_request_by_no_offer_or_another_price_is_told_to_ask_again(
    paced_pair: Pair, tmp_path: Path
) -> None:
    async def main() -> None:
        async with rogue(tmp_path, paced_pair.serving) as peer:
            for wrong in ({"offer": bytes(32)}, {"price_completion": 999}):
                number = await peer.ask(tokens=5, **wrong)
                await peer.until(lambda number=number: peer.of(number, Refused), "the refusal")
                assert isinstance(peer.error(number), OfferOutdated)
                assert peer.error(number).hint == "ask for a new quote"
            number = await peer.ask(tokens=5)
            assert isinstance(await peer.until(lambda: peer.ended(number), "the end"), Ended)

    asyncio.run(asyncio.wait_for(main(), 30))
