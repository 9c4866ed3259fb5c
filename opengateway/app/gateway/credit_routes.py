"""/node/ledger/transfer and accept: moving credit, and taking a disputed account, by the owner's wish."""

from __future__ import annotations

import asyncio
from typing import Any

import orjson
from aiohttp import web

from actors.kernel import Address, answer
from actors.lines import Lines
from actors.messages import AcceptAccount, DescribeAccounts, DescribePeers, LedgerMessage, RegistryMessage
from opengateway.errors import BadRequest, PeerUnknown
from opengateway.identity import base32, from_base32
from opengateway.units import NodeId

PATIENCE = 5.0
SHORTEST = 4
"""Characters of an id that are enough where only one peer begins with them."""


class CreditRoutes:
    def __init__(
        self, ledger: Address[LedgerMessage], registry: Address[RegistryMessage], lines: Lines
    ) -> None:
        self._ledger = ledger
        self._registry = registry
        self._lines = lines

    def routes(self) -> list[web.RouteDef]:
        return [
            web.post("/node/ledger/transfer", self.transfer),
            web.post("/node/ledger/accept", self.accept),
        ]

    async def accept(self, request: web.Request) -> web.Response:
        """`{"peer": peer}`: the account with it, which a change of keys has moved, is what the peer says."""
        body = await _json(request)
        peer = _found(body.get("peer"), await self._peers(), "peer")
        self._lines.agree(await answer(self._ledger.ask(AcceptAccount(peer)), PATIENCE))
        return web.Response(body=orjson.dumps({"accepted": base32(peer)}), content_type="application/json")

    async def transfer(self, request: web.Request) -> web.Response:
        """`{"amount": ucr, "from": peer, "to": peer}`, and `"over": peer` where there is one more between."""
        body = await _json(request)
        if type(body.get("amount")) is not int or body["amount"] <= 0:
            raise BadRequest("`amount` must be a whole number of micro-credits above 0")
        known = await self._peers()
        via = [_found(body.get(key), known, key) for key in ("from", "over") if body.get(key)]
        to = _found(body.get("to"), known, "to")
        if not via:
            raise BadRequest("`from` must name the peer that owes this node")
        await self._lines.move(body["amount"], tuple(via), to)
        return web.Response(body=orjson.dumps({"moved": body["amount"]}), content_type="application/json")

    async def _peers(self) -> list[dict[str, Any]]:
        accounts, peers = await asyncio.gather(
            answer(self._ledger.ask(DescribeAccounts()), PATIENCE),
            answer(self._registry.ask(DescribePeers()), PATIENCE),
        )
        return [*peers, *accounts]


async def _json(request: web.Request) -> dict[str, Any]:
    try:
        body = orjson.loads(await request.read())
    except orjson.JSONDecodeError as error:
        raise BadRequest(f"the body is not JSON: {error}") from error
    if not isinstance(body, dict):
        raise BadRequest("the body must be an object")
    return body


def _found(target: Any, known: list[dict[str, Any]], key: str) -> NodeId:
    """The peer that an id, the beginning of one or a name means."""
    if not isinstance(target, str) or not 0 < len(target.strip()) <= 300:
        raise BadRequest(f"`{key}` must be a peer's id or name")
    text = target.strip()
    try:
        return from_base32(text)
    except ValueError:
        pass
    begins = {peer["id"] for peer in known if len(text) >= SHORTEST and peer["id"].startswith(text.lower())}
    found = begins or {peer["id"] for peer in known if peer["name"] == text}
    if len(found) != 1:
        what = "no peer is" if not found else f"{len(found)} peers are"
        raise PeerUnknown(f"{what} called {text}", hint="see: opengateway ledger peers")
    return from_base32(found.pop())
