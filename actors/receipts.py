"""What the book is told of requests, several at a time where nobody waits. A refusal of one changes nothing
and says nothing about the others."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from typing import TypeVar

from actors.messages import OpenHold, Received
from opengateway.errors import OpenGatewayError
from opengateway.identity import short
from opengateway.ledger.book import Book
from opengateway.units import NodeId

logger = logging.getLogger(__name__)

T = TypeVar("T")
R = TypeVar("R")


def open_hold(book: Book, ask: OpenHold) -> bytes:
    return book.open(
        ask.peer,
        ask.rid,
        ask.model,
        prompt_tokens=ask.prompt_tokens,
        max_completion=ask.max_completion,
        price_prompt=ask.price_prompt,
        price_completion=ask.price_completion,
        offer=ask.offer,
    )


def settle(book: Book, received: Iterable[Received]) -> list[bytes | OpenGatewayError]:
    def one(what: Received) -> bytes:
        rid, prompt_tokens, completion_tokens, digest = what
        if not prompt_tokens and not completion_tokens:
            return book.give_up(rid)
        return book.settle(
            rid, prompt_tokens=prompt_tokens, completion_tokens=completion_tokens, digest=digest
        )

    return _each(received, one)


def earn(book: Book, requester: NodeId, settles: Iterable[bytes]) -> list[bytes | OpenGatewayError]:
    return _each(settles, lambda entry: book.earn(entry, requester))


def countersigned(book: Book, worker: NodeId, earns: Iterable[bytes]) -> None:
    for error in _each(earns, lambda entry: book.countersigned(entry, worker)):
        if error is not None:
            logger.warning("an EARN of %s is refused: %s", short(worker), error)


def _each(items: Iterable[T], do: Callable[[T], R]) -> list[R | OpenGatewayError]:
    done: list[R | OpenGatewayError] = []
    for item in items:
        try:
            done.append(do(item))
        except OpenGatewayError as error:
            done.append(error)
    return done
