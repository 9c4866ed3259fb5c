"""Accounts that went over to a new key: by whose leave, what they brought, and what the other side says.

CARRY with papers     at the head of a successor's chain: the pair as the old chain had it
FOLLOW                with papers: the pair with the old key, all of it, is now with the new one
CARRY without papers  for more: what the other side's entry beside it admits to owe
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from opengateway.ledger.entry import CARRY, FOLLOW, GENESIS, Entry, Signed
from opengateway.ledger.rotation import Rotation, RotationInvalid, read_rotation
from opengateway.ledger.rules import Pair, RuleBroken, brought, pair_in

if TYPE_CHECKING:
    from opengateway.ledger.audit_chain import ChainAudit


def check_moved(audit: ChainAudit, signed: Signed, parts: list[bytes]) -> None:
    """But for the other side's entry. Findings go to `audit`."""
    entry = signed.entry
    audit.result.checked["rotation"] += 1
    try:
        if len(parts) % 2:
            _check_papers(audit, entry, _papers(audit, entry, parts[-1]))
        elif entry.kind == FOLLOW:
            raise RuleBroken("E_ROTATE", "an account that moved without the papers of the change of keys")
        elif not parts and (entry.amount or entry.prompt_tokens):
            raise RuleBroken("E_ONESIDED", "carried over without the debtor's signature")
    except RuleBroken as error:
        audit.add(error.code, str(error))
    if len(parts) == 1 and entry.kind == CARRY:
        audit.add("W_NOCOUNTER", "the other side has not yet said what it owes the new key")


def _papers(audit: ChainAudit, entry: Entry, papers: bytes) -> Rotation:
    try:
        found = read_rotation(papers, audit.context.net)
    except RotationInvalid as error:
        raise RuleBroken("E_ROTATE", f"these papers prove no change of keys: {error}") from error
    if found.rotate.leaf != entry.link:
        raise RuleBroken("E_ROTATE", "names another change of keys than the papers beside it")
    if found.new != (entry.author if entry.kind == CARRY else entry.peer):
        raise RuleBroken("E_ROTATE", "for another successor than the papers beside it")
    return found


def _check_papers(audit: ChainAudit, entry: Entry, found: Rotation) -> None:
    if entry.kind == CARRY:
        before = audit.previous.entry.kind if audit.previous is not None else CARRY
        if before not in (GENESIS, CARRY):
            raise RuleBroken("E_ROTATE", "an account carried over in the middle of a chain")
        return
    audit.closes(found.old, found.new, brought(entry))


def check_statement(entry: Entry, half: Signed, *, more: bool) -> None:
    """That the other side's entry is about this account, and owes what is taken up. Raises `RuleBroken`."""
    theirs = half.entry
    if theirs.kind not in (CARRY, FOLLOW):
        raise RuleBroken("E_PEERKIND", "beside an account that moved stands something else")
    if (theirs.author, theirs.peer) != (entry.peer, entry.author):
        raise RuleBroken("E_PEERKEY", "a half is by or for another key")
    if more and half.leaf != entry.link:
        raise RuleBroken("E_PEERLINK", "takes up another entry than the one beside it")
    mine, owed = pair_in(entry), pair_in(theirs)
    if mine.served > owed.consumed or mine.moved_in > owed.moved_out:
        raise RuleBroken("E_PAIRVIEW", f"{mine.served} carried over, the other side owes {owed.consumed}")


def check_all_moved(all_of_it: Pair, taken: Pair) -> None:
    """Raises `RuleBroken`."""
    if all_of_it != taken:
        raise RuleBroken("E_PAIR", "moves something else than the account with the old key holds")
