"""A worker claims prompt tokens: what a node pays that has the same model itself."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from harness import Node, until
from rogue import GOLD, Rogue, rogue
from sse import QUESTION, chat

from actors.recount import allowance
from opengateway.models import pocket
from opengateway.wire.messages import Accepted, Ask, Chunks, Ended

CHAT = "/v1/chat/completions"
PROMPT = 19
"""Tokens of `QUESTION` in the pocket model's template."""


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    with Node(tmp_path_factory.mktemp("recount"), "asking", engine={"kind": "pocket"}) as node:
        until(lambda: node.get("/node/models")["local"], "the engine serves")
        yield node


async def paid_for(node: Node, folder: Path, name: str, claim: int, digest: str = pocket.SHA256) -> int:
    """Prompt tokens that a worker is paid for: it serves the same weights by another name, and claims."""
    offer = replace(GOLD, name=name, digest=digest)
    async with rogue(folder, node, name=name, serves=True, offer=offer) as peer:

        def answer(ask: Ask, _rid: bytes) -> None:
            peer.send(Accepted(ask.stream, 0, 0, "rogue", 0))
            peer.send(Chunks(ask.stream, 0, ["four"]))
            peer.send(Ended(ask.stream, "stop", claim, 1, 0, 0))

        peer.answers = answer
        await asyncio.to_thread(until, lambda: _offered(node, name), "the rogue's model is known")
        await asyncio.to_thread(node.post, CHAT, chat(QUESTION, model=name, max_tokens=16))
        return await peer.until(lambda: _prompt_tokens(peer), "its SETTLE")


def _prompt_tokens(peer: Rogue) -> int:
    return next((line.prompt_tokens for line in peer.book.history() if line.kind == "EARN"), 0)


def _offered(node: Node, name: str) -> bool:
    return any(model["name"] == name for model in node.get("/node/models")["network"])


def metric(node: Node, name: str) -> int:
    lines = str(node.get("/metrics")).splitlines()
    return next((int(line.split()[-1]) for line in lines if f'event="recount_{name}"' in line), -1)


def run(work: Any) -> Any:
    return asyncio.run(asyncio.wait_for(work, 60))


def test_an_honest_worker_is_paid_exactly(node: Node, tmp_path: Path) -> None:
    before = metric(node, "overclaims")
    assert run(paid_for(node, tmp_path, "honest", PROMPT)) == PROMPT
    assert metric(node, "overclaims") == before


def test_who_claims_twice_the_prompt_is_paid_for_once_and_remembered(node: Node, tmp_path: Path) -> None:
    before = metric(node, "overclaims")
    assert run(paid_for(node, tmp_path, "double", 2 * PROMPT)) == PROMPT + allowance(PROMPT)
    assert metric(node, "overclaims") == before + 1
    assert "claims 38 prompt tokens" in node.log_tail()


def test_with_other_weights_the_bytes_bound_the_claim(node: Node, tmp_path: Path) -> None:
    assert run(paid_for(node, tmp_path, "other", 2 * PROMPT, digest="ab" * 32)) == 2 * PROMPT
