"""What the Scheduler asks of the Ledger, and how the answer comes back to it as a message."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TypeVar

from actors import request_ids
from actors.kernel import Address, Reply
from actors.messages import (
    Admit,
    Admitted,
    Dispatch,
    Job,
    JobEnded,
    LedgerMessage,
    OpenHold,
    SchedulerMessage,
)
from opengateway.errors import (
    HeadMissing,
    NotEnoughCredit,
    OfferOutdated,
    OpenGatewayError,
    RequestError,
    StampMissing,
)
from opengateway.identity import short
from opengateway.ledger.admission import Admission, apart, clocks_apart
from opengateway.routing.hold import hold_for
from opengateway.routing.views import FREE, PeerView, Price, ServedModel
from opengateway.units import NodeId

R = TypeVar("R")

REQUOTE = 0.3
"""Seconds until a peer's new record has surely been read: it is sent right before the refusal."""
LIMITS = {"max_tokens", "max_completion_tokens"}


def admit(
    ledger: Address[LedgerMessage],
    scheduler: Address[SchedulerMessage],
    job: Job,
    price: Price,
    *,
    near: bool,
) -> None:
    """May the peer whose job this is be served? Answered by `Admitted`."""
    assert job.origin is not None
    ask = Admit(job.opening, job.origin, price.prompt, price.completion, near)

    def answered(reply: Reply[Admission]) -> None:
        scheduler.tell(Admitted(job, *_answer(reply)))

    ledger.ask(ask, express=True).then(answered)


def note_shortage(end: JobEnded) -> None:
    """A peer wants credit, our stamp or our ledger first: how much, in case nobody else answers."""
    if not isinstance(end.place, bytes):
        return
    if isinstance(end.error, NotEnoughCredit) and end.held:
        end.job.wants_credit = (end.place, end.held)
    if isinstance(end.error, StampMissing):
        end.job.wants_stamp = end.place
    if isinstance(end.error, HeadMissing):
        end.job.wants_head = end.place


def may_cover(job: Job) -> bool:
    """Whether there is something to give to a peer that refused it, and has not been given yet."""
    stamp = job.wants_stamp is not None and not job.stamped
    head = job.wants_head is not None and not job.shown
    return stamp or head or (job.wants_credit is not None and not job.covered)


def outdated(end: JobEnded) -> bool:
    """The price had changed: ask there once more, by the new one."""
    again = isinstance(end.error, OfferOutdated) and not end.job.requoted
    end.job.requoted = end.job.requoted or again
    return again


def order_for(job: Job, peer: NodeId, model: ServedModel, view: PeerView | None) -> Dispatch:
    """What to ask this peer, before anything is held for it. `view`: what is known of it by now."""
    ring, name, offer = (view.ring, view.name, view.offer) if view is not None else ("lan", short(peer), b"")
    return Dispatch(
        job, peer, ring, name, model.price, request_ids.rid(job.id), b"", offer, digest=model.digest
    )


def hold(
    ledger: Address[LedgerMessage],
    scheduler: Address[SchedulerMessage],
    order: Dispatch,
    model: ServedModel,
    *,
    view: PeerView | None,
    dispatch: Callable[[Dispatch], None],
) -> None:
    """Set aside what the job can cost at this peer, and then ask the peer; or end the job with the error."""
    job, price = order.job, order.price
    if price == FREE:
        dispatch(order)
        return
    if view is not None and apart(view.ahead_ms):
        # It would refuse our OPEN; and if it is our clock that is ahead, the OPEN would date all that follow.
        scheduler.tell(JobEnded(job, order.peer, None, clocks_apart(-view.ahead_ms)))
        return
    most = hold_for(job.request.kind, job.request.body, model.context, job.request.partial)
    if most.completion_tokens and not LIMITS & job.request.body.keys():
        # The worker stops where our hold ends; what it wrote beyond that it could not be paid for.
        limit = most.completion_tokens + len(job.request.partial)
        body = {**job.request.body, "max_tokens": limit}
        job.request = replace(job.request, body=body)
    held = most.prompt_tokens * price.prompt + most.completion_tokens * price.completion
    ask = OpenHold(
        order.peer,
        order.rid,
        model.name[:64],
        most.prompt_tokens,
        most.completion_tokens,
        price.prompt,
        price.completion,
        order.offer or bytes(32),
    )

    def answered(reply: Reply[bytes]) -> None:
        opening, error = _answer(reply)
        if opening is not None:
            dispatch(replace(order, entry=opening, held=held))
        else:
            scheduler.tell(JobEnded(job, order.peer, None, error))

    # Express: somebody's first token waits for it, while nobody waits for the settlements in the mailbox.
    ledger.ask(ask, express=True).then(answered)


def _answer(reply: Reply[R]) -> tuple[R, None] | tuple[None, OpenGatewayError]:
    try:
        return reply.get(timeout=0), None
    except OpenGatewayError as error:
        return None, error
    except Exception as error:  # the ledger crashed over it, is gone, or its mailbox is full
        return None, RequestError(f"the ledger could not answer: {error}", retry_after=1.0)
