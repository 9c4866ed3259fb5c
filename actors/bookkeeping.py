"""What the Ledger is asked that concerns nobody's request: what the book says, and what witnesses say."""

from __future__ import annotations

from typing import Any

from actors.messages import (
    AcceptAccount,
    BeginShowing,
    Claims,
    CoveredAt,
    DescribeAccounts,
    DescribeBalance,
    DescribeCurve,
    DescribeHistory,
    FindCreditors,
    HearAccount,
    HearHeads,
    HearWitness,
    KeepStamp,
    KeyNews,
    LedgerMessage,
    LedgerShown,
    MeetSuccessor,
    MeetWitness,
    OwedAmong,
    SeekWitnesses,
    Showable,
    StampShown,
    StampSought,
    TakeProof,
    TakeRotation,
)
from opengateway.ledger.book import Book
from opengateway.ledger.history import account_facts, line_facts
from opengateway.units import NodeId
from opengateway.wire.messages import Message
from opengateway.wire.succession_messages import Account, Rotated

WRITING = (
    *(HearWitness, SeekWitnesses, BeginShowing, KeepStamp),
    *(TakeProof, TakeRotation, HearAccount, AcceptAccount),
)
WITNESSING = tuple({*WRITING, MeetSuccessor} - {TakeProof})
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
            facts = {"witnesses": book.witnessing.facts(), "accused": book.succession.accused}
            return {**book.balance()._asdict(), **facts}
        case DescribeHistory(limit):
            return [line_facts(line) for line in book.history(limit)]
        case DescribeCurve(span_ms, points):
            return [moment._asdict() for moment in book.curve(span_ms, points)]
        case MeetSuccessor(peer):
            papers = book.succession.papers_for(peer)
            return KeyNews([*((peer, Rotated(one)) for one in papers), *_account(book, peer)])
        case DescribeAccounts():
            return [{**account_facts(pair), **book.succession.facts(pair.peer)} for pair in book.peers()]
    return None


def write(book: Book, message: LedgerMessage, given_up: dict[NodeId, NodeId]) -> Any:
    """`given_up` is told of a new change of keys."""
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
        case TakeRotation(_, papers):
            found = book.succession.hear(papers)
            if found is None:
                return KeyNews([])
            given_up[found.old] = found.new
            account = book.succession.account_key(found.new)
            return KeyNews(_account(book, account), (found.old, found.new))
        case HearAccount(peer, entry, evidence):
            news = book.succession.agreement.told(peer, entry, evidence)
            return KeyNews(_account(book, peer) if news else [])
        case AcceptAccount(peer):
            book.succession.agreement.accept(peer)
            return KeyNews(_account(book, peer))
    return None


def _account(book: Book, peer: NodeId) -> list[tuple[NodeId, Message]]:
    told = book.succession.agreement.account(peer)
    return [(peer, Account(*told))] if told is not None else []
