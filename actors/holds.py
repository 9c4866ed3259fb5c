"""What the Scheduler asks of the Ledger, and how the answer comes back to it as a message."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
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
    Received,
    SchedulerMessage,
    SettleHolds,
)
from actors.tabs import Kind as TabKind
from actors.tabs import Tabs, new_tab
from opengateway.engines.tab import need_of
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
from opengateway.ledger.entry import leaf_of_wire
from opengateway.routing.hold import TEMPLATE_TOKENS, hold_for
from opengateway.routing.views import FREE, PeerView, Price, ServedModel
from opengateway.units import NodeId

R = TypeVar("R")

REQUOTE = 0.3
"""Seconds until a peer's new record has surely been read: it is sent right before the refusal."""
LIMITS = {"max_tokens", "max_completion_tokens"}
LIMIT_BYTES = 32
"""What a limit that is set for a request adds to its body."""


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
    tabs: Tabs | None = None,
) -> None:
    """Set aside what the job can cost at this peer, and then ask the peer; or end the job with the error.
    Where many short ones go to the same peer, one hold is for several: `tabs`."""
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
    if tabs is not None and not job.request.partial:
        request = job.request
        need = need_of(request.kind, request.body, most.prompt_tokens - TEMPLATE_TOKENS + LIMIT_BYTES)
        if need is not None:
            alone = partial(hold, ledger, scheduler, order, model, view=view, dispatch=dispatch)
            _on_tab(ledger, replace(order, need=need, alone=alone), model, dispatch, tabs)
            return

    def answered(reply: Reply[bytes]) -> None:
        opening, error = _answer(reply)
        if opening is not None:
            dispatch(replace(order, entry=opening, held=_cost(price, *tokens)))
        else:
            _give_up(ledger, order)
            scheduler.tell(JobEnded(job, order.peer, None, error))

    tokens = most.prompt_tokens, most.completion_tokens
    _open(ledger, order, model, *tokens).then(answered)


def _open(
    ledger: Address[LedgerMessage], order: Dispatch, model: ServedModel, prompt: int, completion: int
) -> Reply[bytes]:
    price, offer = order.price, order.offer or bytes(32)
    names = order.peer, order.rid, model.name[:64]
    # Express: somebody's first token waits for it, while nobody waits for the settlements in the mailbox.
    return ledger.ask(
        OpenHold(*names, prompt, completion, price.prompt, price.completion, offer), express=True
    )


def _on_tab(
    ledger: Address[LedgerMessage],
    order: Dispatch,
    model: ServedModel,
    dispatch: Callable[[Dispatch], None],
    tabs: Tabs,
) -> None:
    """On a tab that there is, or with one that is opened for it, or alone."""
    kind, need, now = TabKind(order.peer, model.name, order.price, order.offer), order.need, time.monotonic()
    order = replace(order, held=_cost(order.price, *need))
    assert order.alone is not None
    if tab := tabs.take(kind, need, now):
        dispatch(replace(order, tab=tab))
        return
    several = tabs.size(kind, need, now)
    if several == 1:
        order.alone()
        return
    again = order.alone

    def answered(reply: Reply[bytes]) -> None:
        opening, _ = _answer(reply)
        if opening is None:  # then for this one request, and what is wrong will be said
            tabs.not_opened(kind)
            _give_up(ledger, order)
            again()
            return
        tab = new_tab(order.peer, order.rid, leaf_of_wire(opening), need, several)
        tabs.opened(kind, tab, need, time.monotonic())
        dispatch(replace(order, entry=opening, tab=tab))

    _open(ledger, order, model, several * need.prompt, several * need.completion).then(answered)


def _give_up(ledger: Address[LedgerMessage], order: Dispatch) -> None:
    """The Ledger has said no, or fell over and may hold it all the same: nobody will ask with this OPEN."""
    ledger.ask(SettleHolds((Received(order.rid, 0, 0, b""),)))


def _cost(price: Price, prompt: int, completion: int) -> int:
    """ucr."""
    return prompt * price.prompt + completion * price.completion


def _answer(reply: Reply[R]) -> tuple[R, None] | tuple[None, OpenGatewayError]:
    try:
        return reply.get(timeout=0), None
    except OpenGatewayError as error:
        return None, error
    except Exception as error:  # the ledger crashed over it, is gone, or its mailbox is full
        return None, RequestError(f"the ledger could not answer: {error}", retry_after=1.0)
