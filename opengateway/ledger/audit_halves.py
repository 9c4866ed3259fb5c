"""What the other side signed, beside each entry: the half of a receipt, a voucher, the leg of a transfer."""

from __future__ import annotations

from typing import TYPE_CHECKING

import cbor2

from opengateway.ledger import audit_ahead
from opengateway.ledger.audit_moved import check_moved, check_statement
from opengateway.ledger.audit_rotate import check_rotate
from opengateway.ledger.entry import (
    ADJ,
    CARRY,
    EARN,
    FOLLOW,
    OPEN,
    ROTATE,
    SETTLE,
    ZERO32,
    Entry,
    EntryInvalid,
    Signed,
)
from opengateway.ledger.evidence import genuine, read_signed
from opengateway.ledger.rules import (
    CLOCKS_APART_MS,
    HALVES_APART_MS,
    RuleBroken,
    check_counter_leg,
    check_halves,
    check_terms,
)
from opengateway.ledger.voucher import SignedVoucher, read_voucher, vouched_by

if TYPE_CHECKING:
    from opengateway.ledger.audit_chain import ChainAudit


def check(audit: ChainAudit, signed: Signed, parts: list[bytes]) -> None:
    entry, checked = signed.entry, audit.result.checked
    if entry.kind == ADJ and entry.amount:
        _leg(audit, entry, parts)
    elif entry.kind == ROTATE:
        checked["rotation"] += 1
        try:
            check_rotate(signed, parts, audit.context.recovery)
        except RuleBroken as error:
            audit.add(error.code, str(error))
    elif entry.kind in (CARRY, FOLLOW):
        check_moved(audit, signed, parts)
        _statement(audit, entry, parts)
    elif len(parts) % 2:
        audit.add("E_FORMAT", "papers where there is no change of keys")
    elif entry.kind not in (SETTLE, EARN):
        if parts:
            audit.add("E_PEERKIND", "a counterparty's half where there is none to have")
    elif not parts:
        checked["halves"] += 1
        if entry.kind == EARN:
            audit.add("E_ONESIDED", "earned without the debtor's signature")
        else:
            audit.add("W_NOCOUNTER", "the worker's EARN has not come back")
    elif len(parts) == 4:
        checked["vouchers"] += 1
        _by_voucher(audit, entry, parts)
    else:
        checked["halves"] += 1
        _receipt(audit, signed, parts)


def _receipt(audit: ChainAudit, signed: Signed, parts: list[bytes]) -> None:
    half = _half(audit, signed.entry, parts, 2)
    if half is None:
        return
    settle, earn = (half, signed) if signed.entry.kind == EARN else (signed, half)
    try:
        check_halves(settle.entry, settle.leaf, earn.entry)
    except RuleBroken as error:
        audit.add("E_PEERLINK" if error.code == "E_LINK" else error.code, str(error))
    audit_ahead.compared(audit, signed.entry, half.entry)
    if half.entry.kind == SETTLE:
        audit.note(half.entry.link, 2)
    if earn.entry.t_ms > settle.entry.t_ms + HALVES_APART_MS:
        late = (earn.entry.t_ms - settle.entry.t_ms) // 1000
        audit.add("W_PAIRTIME", f"earned {late} s after it was settled")


def _leg(audit: ChainAudit, entry: Entry, parts: list[bytes]) -> None:
    """A debt that a transfer took away: its creditor must have signed that it gave the claim up."""
    audit.result.checked["transfers"] += 1
    if not parts:
        audit.add("W_NOCOUNTER", "the creditor's side of this transfer has not come back")
        return
    half = _half(audit, entry, parts[:2], 2)
    if half is not None:
        try:
            check_counter_leg(entry, half.entry)
        except RuleBroken as error:
            audit.add(error.code, str(error))


def _statement(audit: ChainAudit, entry: Entry, parts: list[bytes]) -> None:
    if len(parts) < 2:
        return
    half = _half(audit, entry, parts[:2], 2)
    if half is not None:
        try:
            check_statement(entry, half, more=not len(parts) % 2)
        except RuleBroken as error:
            audit.add(error.code, str(error))


def _half(audit: ChainAudit, entry: Entry, parts: list[bytes], part: int) -> Signed | None:
    """The counterparty's entry if it is one and really signed."""
    audit.result.signatures += 1
    try:
        half = read_signed(parts[0], parts[1], audit.context.net)
    except EntryInvalid as error:
        audit.add("E_PEERFORMAT", str(error))
        return None
    if not genuine(half):
        audit.add("E_PEERSIG", "the counterparty's signature is not valid")
        return None
    try:
        check_terms(half.entry)
    except RuleBroken as error:
        audit.add("E_PEERTERMS", f"the counterparty's half breaks a rule: {error}")
    if half.entry.author == entry.peer:
        _witness(audit, half, part)
    return half


def _witness(audit: ChainAudit, half: Signed, part: int) -> None:
    """A counterparty's entries must make one honest chain too, as far as they are to be seen here."""
    result = audit.result
    result.checked["counterparties"] += 1
    author, seq = half.entry.author, half.entry.seq
    spot = audit.offset << 3 | part
    result.places.add(author + seq.to_bytes(8, "big"), half.leaf, spot)
    highest = audit.highest.setdefault(author, half)
    if author not in result.tops:
        result.tops[author] = spot, spot
    if highest.entry.seq != seq and audit.prove(highest, half):
        audit.add("E_PEERHISTORY", f"{author.hex()[:16]} signed entries that do not follow from each other")
    if highest.entry.seq < seq:
        audit.highest[author] = half
        result.tops[author] = result.tops[author][0], spot


def _by_voucher(audit: ChainAudit, entry: Entry, parts: list[bytes]) -> None:
    """No SETTLE came: the last voucher, and the OPEN that it is for."""
    if entry.kind != EARN:
        audit.add("E_PEERKIND", "a voucher where none can be")
        return
    try:
        voucher = read_voucher(cbor2.dumps(parts[:2]))
    except EntryInvalid as error:
        audit.add("E_PEERFORMAT", str(error))
        return
    opening = _half(audit, entry, parts[2:], 4)
    if opening is None:
        return
    audit.result.signatures += 1
    if not vouched_by(opening.entry.author, voucher):
        audit.add("E_PEERSIG", "the voucher's signature is not valid")
        return
    try:
        check_vouched(opening, voucher, entry)
    except RuleBroken as error:
        audit.add(error.code, str(error))


def check_vouched(opening: Signed, signed: SignedVoucher, earn: Entry) -> None:
    """That an EARN takes what the voucher for this OPEN promises, and nothing else. Raises `RuleBroken`."""
    opened, voucher = opening.entry, signed.voucher
    if opened.kind != OPEN:
        raise RuleBroken("E_PEERKIND", "a voucher stands beside another entry than its OPEN")
    if opened.author != earn.peer or opened.peer != earn.author:
        raise RuleBroken("E_PEERKEY", "a half is by or for another key")
    if voucher.open_leaf != opening.leaf or earn.link != signed.name:
        raise RuleBroken("E_PEERLINK", "the EARN, the voucher and the OPEN do not name each other")
    asked = opened.rid, opened.model, opened.price_prompt, opened.price_completion
    if asked != (earn.rid, earn.model, earn.price_prompt, earn.price_completion) or earn.digest != ZERO32:
        raise RuleBroken("E_MISMATCH", "the EARN and its OPEN disagree on request, model or price")
    if (voucher.completion_tokens, voucher.amount) != (earn.completion_tokens, earn.amount):
        raise RuleBroken("E_MISMATCH", "the EARN and its voucher disagree on tokens or amount")
    if voucher.amount > opened.hold:
        raise RuleBroken("E_HOLD", "vouched for more than was held")
    if earn.t_ms < voucher.t_ms - CLOCKS_APART_MS:
        raise RuleBroken("E_PAIRTIME", "earned before it was vouched for")
