"""What the Ledger is asked that concerns nobody's request: what the book says, and what witnesses say."""

from __future__ import annotations

from typing import Any

from actors.messages import (
    BeginShowing,
    Claims,
    CoveredAt,
    DescribeAccounts,
    DescribeBalance,
    DescribeCurve,
    DescribeHistory,
    FindCreditors,
    HearHeads,
    HearWitness,
    KeepStamp,
    LedgerMessage,
    LedgerShown,
    MeetWitness,
    OwedAmong,
    SeekWitnesses,
    Showable,
    StampShown,
    StampSought,
    TakeProof,
)
from opengateway.ledger.book import Book
from opengateway.ledger.history import account_facts, line_facts

WITNESSING = (HearWitness, SeekWitnesses, BeginShowing, KeepStamp)
"""Their answers leave the node, so they wait for the commit like a request's."""


def read(book: Book, message: LedgerMessage) -> Any:
    match message:
        case Claims():
            return {pair.peer: pair.owes_us - pair.holding for pair in book.peers()}
        case FindCreditors(requester, amount, named, connected):
            return book.ways.creditors(requester, amount, named, connected)
        case OwedAmong(asker, amount, named):
            return book.ways.owed_among(asker, amount, named)
        case StampSought():
            return book.stamps.own, book.stamps.challenge()
        case StampShown(peer, stamp):
            book.stamps.present(peer, stamp)
        case LedgerShown(peer, shown):
            book.witnessing.standing.present(peer, shown)
        case Showable(peer, rid, anchors, known):
            return book.witnessing.showing.present(peer, rid, anchors, known)
        case CoveredAt(peer):
            return book.witnessing.showing.covered(peer)
        case HearHeads(heads):
            return book.witnessing.heard(heads)
        case MeetWitness(peer):
            return book.witnessing.met(peer)
        case DescribeBalance():
            return {**book.balance()._asdict(), "witnesses": book.witnessing.facts()}
        case DescribeHistory(limit):
            return [line_facts(line) for line in book.history(limit)]
        case DescribeCurve(span_ms, points):
            return [moment._asdict() for moment in book.curve(span_ms, points)]
        case DescribeAccounts():
            return [account_facts(pair) for pair in book.peers()]
    return None


def witness(book: Book, message: LedgerMessage) -> Any:
    """May write."""
    match message:
        case HearWitness(peer, said):
            return book.witnessing.hear(peer, said)
        case SeekWitnesses(peers):
            return [*book.witnessing.announce(peers), *book.witnessing.seek(peers)]
        case BeginShowing(peer, rid, ask):
            return book.witnessing.showing.begin(peer, rid, ask)
        case KeepStamp(nonce):
            return book.stamps.keep(nonce)
        case TakeProof(proof):
            book.proofs.take(proof)
    return None
