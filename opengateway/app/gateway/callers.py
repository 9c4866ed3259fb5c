"""Who asks, what they may, and what they have used: API keys, budgets, rates.

On this machine nobody needs a key (`http.keys auto`), as anybody here could read the control token or ask
the engine itself. Whoever comes from elsewhere does. A key of ours that is not valid is refused everywhere:
one that was revoked must not go on working because it happens to be used on this machine.
"""

from __future__ import annotations

import asyncio
import hmac
import ipaddress
import logging
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Final

from aiohttp import web

from opengateway.app.gateway.api_keys import PREFIX, SAVE_S, ApiKey, KeyFile, Usage, Used, is_key
from opengateway.engines.prompt_size import text_bytes
from opengateway.engines.protocol import GenerateRequest
from opengateway.engines.stream import Stream
from opengateway.errors import EngineUnavailable, OpenGatewayError, SetupError, Unauthorized
from opengateway.routing.hold import UNBOUNDED_ANSWER
from opengateway.routing.placement import plain_name

logger = logging.getLogger(__name__)

PENALTY_S: Final = 1.0
"""Seconds that a wrong key waits for its answer."""
WAITING: Final = 64
"""Wrong keys that wait at once; beyond that they are turned away at once, and learn as little."""
TRIES: Final = 10
"""Wrong keys a minute from one address, before it is not listened to for a while."""
ADDRESSES: Final = 10_000
"""Addresses remembered; the one not heard of for longest is forgotten."""


class TooManyRequests(OpenGatewayError):
    """More requests than this caller may make."""

    code = "rate_limit_exceeded"
    status = 429


class BudgetSpent(OpenGatewayError):
    """The budget of this API key is used up."""

    code = "insufficient_quota"
    status = 429


class ModelForbidden(OpenGatewayError):
    """This API key may not ask for this model."""

    code = "model_not_found"
    status = 404


@dataclass(slots=True)
class Bucket:
    """A rate in requests a minute, of which a quarter may come at once."""

    left: float
    at: float

    def take(self, per_minute: int, now: float) -> float:
        """Seconds until the next may come; 0: this one may."""
        most = max(1.0, per_minute / 4)
        self.left = min(most, self.left + (now - self.at) * per_minute / 60)
        self.at = now
        if self.left >= 1:
            self.left -= 1
            return 0.0
        return (1 - self.left) * 60 / per_minute


class Rates:
    """A bucket for each key or address."""

    def __init__(self) -> None:
        self._buckets: OrderedDict[str, Bucket] = OrderedDict()

    def take(self, who: str, per_minute: int, now: float) -> None:
        bucket = self._buckets.get(who)
        if bucket is None:
            bucket = self._buckets[who] = Bucket(max(1.0, per_minute / 4), now)
            if len(self._buckets) > ADDRESSES:
                self._buckets.popitem(last=False)
        else:
            self._buckets.move_to_end(who)
        if wait := bucket.take(per_minute, now):
            raise TooManyRequests(
                f"more than {per_minute} requests a minute", hint="wait a moment", retry_after=wait
            )


@dataclass(slots=True)
class Caller:
    """One request's author. Without a key: somebody on this machine, or its owner."""

    key: ApiKey | None = None
    usage: Usage | None = None
    _used: Used | None = None
    _reserved: int = 0

    def allows(self, model: str) -> bool:
        if self.key is None or not self.key.models:
            return True
        return plain_name(model) in {plain_name(one) for one in self.key.models}

    def admit(self, asked: GenerateRequest, parts: int = 1) -> GenerateRequest:
        """The request as this caller may ask it: within its models and its budget. `parts`: answers that it
        has; each may take as many tokens as the body says."""
        if (key := self.key) is None or self.usage is None:
            return asked
        if key.models:
            if not asked.model:
                asked = replace(asked, model=key.models[0])
            elif not self.allows(asked.model):
                raise ModelForbidden(
                    f"this API key may not ask for {asked.model[:80]!r}",
                    hint=f"it may ask for {', '.join(key.models)[:200]}",
                )
        self._used = used = self.usage.of(key, time.time())
        if key.credits and used.credits >= key.credits:
            raise _spent(key, "credits")
        if key.tokens:
            asked = self._within(key, used, asked, max(1, parts))
        return asked

    def _within(self, key: ApiKey, used: Used, asked: GenerateRequest, parts: int) -> GenerateRequest:
        """What it may take is set aside now, so that a hundred requests at once do not each take the rest."""
        left = key.tokens - used.tokens - used.reserved
        if left <= 0:
            raise _spent(key, "tokens")
        prompt = text_bytes(asked.body) // 3
        wanted = asked.body.get("max_completion_tokens") or asked.body.get("max_tokens") or UNBOUNDED_ANSWER
        if prompt >= left:
            raise _spent(key, "tokens")
        if asked.kind != "embedding" and prompt + wanted * parts > left:
            wanted = (left - prompt) // parts  # the answer ends where the budget does
            if not wanted:
                raise _spent(key, "tokens")
            body = {name: value for name, value in asked.body.items() if name != "max_completion_tokens"}
            asked = replace(asked, body={**body, "max_tokens": wanted})
        self._reserved = min(left, prompt + wanted * parts)
        used.reserved += self._reserved
        return asked

    def settle(self, stream: Stream) -> None:
        """The request has ended, however it did."""
        if self._used is None or self.usage is None:
            return
        self._used.reserved -= self._reserved
        self._reserved = 0
        finished = stream.finished
        tokens = finished.prompt_tokens + finished.completion_tokens if finished else stream.passed
        self.usage.add(self._used, tokens, stream.cost or 0)


NOBODY: Final = Caller()


class Callers:
    """Tells who a request is from. Raises what it is refused with."""

    def __init__(
        self,
        token: str,
        keys: KeyFile,
        usage: Usage,
        *,
        always: bool = False,
        per_minute: int = 0,
        resolve: Callable[[str], str] = str,
    ) -> None:
        """`always`: also on this machine a key is needed. `resolve`: an alias to the model that it means."""
        self._resolve = resolve
        self._token = token.encode()
        self.keys, self.usage = keys, usage
        self._always, self._per_minute = always, per_minute
        self._rates, self._tries = Rates(), Rates()
        self._waiting = 0
        self._saved = 0.0

    def at_once(self, request: web.BaseRequest) -> Caller | None:
        """Nearly everybody: a program on this machine without a key of ours. None: `who` has to look."""
        if self._always or self._per_minute or request.remote not in ("127.0.0.1", "::1"):
            return None
        headers = request.headers
        return None if PREFIX in headers.get("Authorization", "") or "x-api-key" in headers else NOBODY

    async def who(self, request: web.BaseRequest) -> Caller:
        given = _bearer(request)
        local = is_local(request.remote)
        if given and is_key(given):
            return await self._with_key(request, given)
        if local and not self._always:
            if self._per_minute:
                self._rates.take(request.remote or "", self._per_minute, time.monotonic())
            return NOBODY
        if given and hmac.compare_digest(given.encode(errors="replace"), self._token):
            return NOBODY
        raise await self._wrong(request, given)

    async def _with_key(self, request: web.BaseRequest, given: str) -> Caller:
        address = request.remote or ""
        try:
            key = self.keys.find(given)
        except SetupError as error:  # where the file is concerns the owner, not who asks
            logger.error("%s", error)  # noqa: TRY400 - it says all that there is to say
            raise EngineUnavailable("this node cannot read its API keys now") from error
        if key is None:
            raise await self._wrong(request, given)
        if per_minute := key.per_minute or self._per_minute:
            self._rates.take(key.id or address, per_minute, time.monotonic())
        if key.models:
            key = replace(key, models=tuple(map(self._resolve, key.models)))
        return Caller(key, self.usage)

    def with_id(self, name: str) -> Caller:
        """Whoever has the key with this id; the owner for none. Raises `Unauthorized` if it was revoked."""
        if not name:
            return NOBODY
        key = next((one for one in self.keys.all() if one.id == name), None)
        if key is None:
            raise Unauthorized("the API key that has given this batch is valid no longer")
        return Caller(replace(key, models=tuple(map(self._resolve, key.models))), self.usage)

    async def _wrong(self, request: web.BaseRequest, given: str) -> OpenGatewayError:
        if not given:
            return Unauthorized(
                "an API key is needed",
                hint="send `Authorization: Bearer KEY`; the owner makes one: opengateway keys add NAME",
            )
        try:
            self._tries.take(request.remote or "", TRIES, time.monotonic())
        except TooManyRequests as error:
            return TooManyRequests(
                "too many wrong API keys", hint="wait a minute", retry_after=error.retry_after
            )
        if self._waiting < WAITING:
            self._waiting += 1
            try:
                await asyncio.sleep(PENALTY_S)
            finally:
                self._waiting -= 1
        return Unauthorized("this API key is not valid", hint="`opengateway keys list` shows which are")

    # -- what was used -------------------------------------------------------------------------

    async def save_sometimes(self) -> None:
        """Called every second."""
        now = time.monotonic()
        if now - self._saved >= SAVE_S:
            self._saved = now
            await asyncio.to_thread(self.usage.save)

    def save(self) -> None:
        self.usage.save()


def is_local(remote: str | None) -> bool:
    """Whether this is an address of this machine alone."""
    if remote in ("127.0.0.1", "::1"):
        return True
    try:
        address = ipaddress.ip_address((remote or "").partition("%")[0])
    except ValueError:
        return False
    mapped = getattr(address, "ipv4_mapped", None)
    return bool((mapped or address).is_loopback)


def _bearer(request: web.BaseRequest) -> str:
    """The key: OpenAI's clients send a bearer token, Ollama's can be told to."""
    scheme, _, given = request.headers.get("Authorization", "").partition(" ")
    return given.strip() if scheme.lower() == "bearer" else request.headers.get("x-api-key", "")


def _spent(key: ApiKey, what: str) -> BudgetSpent:
    when = {"day": "tomorrow (UTC)", "month": "next month (UTC)", "ever": ""}[key.period]
    hint = f"it begins anew {when}" if when else "the owner of the node can give another key"
    return BudgetSpent(f"the {what} of this API key are used up", hint=hint)


def describe(usage: Usage, key: ApiKey) -> dict[str, Any]:
    used = usage.of(key, time.time())
    return {"tokens": used.tokens, "credits": used.credits, "requests": used.requests, "period": used.period}
