"""Requesters that vouched for an answer and were not heard of for a quarter of an hour."""

from __future__ import annotations

from ledger_world import PRICE, Node

QUARTER_H = 16 * 60_000
VOUCHED = 10 * PRICE.prompt + 64 * PRICE.completion


def admitted(requester: Node, worker: Node) -> bytes:
    rid, opening = requester.open(worker, most=200)
    worker.admit(opening, requester)
    return rid


def served(requester: Node, worker: Node) -> bytes:
    """A request with 64 tokens vouched for, and 100 delivered."""
    rid = admitted(requester, worker)
    voucher = requester.book.vouch(rid, prompt_tokens=10, completion_tokens=64)
    requester.book.commit()
    worker.book.vouched(voucher, requester.id)
    worker.book.delivered(rid, requester.id, 10, 100)
    worker.book.commit()
    return rid


def quarter_of_an_hour(*nodes: Node) -> None:
    nodes[0].clock.pass_ms(QUARTER_H)
    for node in nodes:
        node.book.commit()


def agree(requester: Node, worker: Node) -> None:
    assert not requester.book.unanswered()
    spent = requester.book.peer(worker.id).consumed
    assert worker.book.peer(requester.id).served == spent == worker.book.balance().earned
    requester.ask(worker)
