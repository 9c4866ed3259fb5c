"""What follows the entries of a file, or comes beside it: vouchers, checkpoints, proofs."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import cbor2

from opengateway.identity import short
from opengateway.ledger.audit_notes import Note, read_note
from opengateway.ledger.audit_policy import Policy
from opengateway.ledger.audit_proof import convicts, proof_of
from opengateway.ledger.audit_whole import WholeAudit
from opengateway.ledger.entry import OPEN, EntryInvalid, Signed
from opengateway.ledger.evidence import genuine, read_signed
from opengateway.ledger.findings import Report
from opengateway.ledger.voucher import SignedVoucher, read_voucher, vouched_by


def read_notes(report: Report, net: bytes, author: bytes, texts: Iterable[Any]) -> list[Note]:
    """Checkpoints of this author's ledger in this network that it signed."""
    notes = []
    for text in texts:
        report.checked["checkpoints"] += 1
        try:
            note = read_note(text if type(text) is str else "")
        except ValueError as error:
            report.add("E_CHECKPOINT", -1, -1, f"a checkpoint that is none: {error}")
            continue
        if (note.net, note.author) != (net, author):
            report.add("E_CHECKPOINT", -1, -1, f"a checkpoint of another ledger, {short(note.author)}")
        elif not note.signature:
            report.add("E_CHECKPOINT", -1, -1, f"{_at(note)} is not signed by its author")
        else:
            notes.append(note)
    return notes


def _at(note: Note) -> str:
    return f"the checkpoint at {note.size} entries"


def check_notes(whole: WholeAudit, notes: list[Note], policy: Policy) -> None:
    report = whole.report
    sizes: dict[int, Note] = {}
    seen: dict[tuple[bytes, int], tuple[Note, bytes]] = {}
    for note in notes:
        other = sizes.setdefault(note.size, note)
        if other.root != note.root:
            pieces = (other.text, other.signature), (note.text, note.signature)
            report.proofs.append(("F6-rewrite", proof_of("F6-rewrite", *pieces)))
            report.add("E_CONFLICT", -1, -1, f"{_at(note)} stands against another with another root")
        for witness in note.bad:
            report.add("E_COSIG", -1, -1, f"{_at(note)}: a cosignature that is not {short(witness)}'s")
        for witness, seconds, signature in note.cosigned:
            cosig = seconds.to_bytes(8, "big") + signature
            first, before = seen.setdefault((witness, note.size), (note, cosig))
            if first.root != note.root:
                proof = proof_of("F7-witness", (first.text, before), (note.text, cosig), witness)
                report.proofs.append(("F7-witness", proof))
                text = f"{_at(note)}: {short(witness)} cosigned two different roots"
                report.add("E_EQUIVOCATION", -1, -1, text)
        root = whole.roots.get(note.size)
        if note.size > whole.tree.size:
            text = f"{_at(note)} is ahead of this file's {whole.tree.size}"
            report.add("E_BEHIND", -1, -1, text)
        elif note.size and root != note.root:
            report.add("E_ROOT", note.size - 1, -1, f"{_at(note)} has another root than the entries here")
        good = {witness for witness, _, _ in note.cosigned}
        quorum = None if policy.quorum is None else len(_trusted(good, policy)) >= policy.quorum
        report.checkpoints.append((note.size, note.root, sorted(good), quorum))
    _check_quorum(report, policy)


def _check_quorum(report: Report, policy: Policy) -> None:
    """One checkpoint must have it. A newer one that the author signed alone is no fault: what stands between
    the two is only not witnessed yet."""
    if policy.quorum is None:
        return
    if not report.checkpoints:
        report.add("E_QUORUM", -1, -1, f"no checkpoint, and {policy.quorum} witnesses are demanded")
        return
    size = max((size for size, _, _, quorum in report.checkpoints if quorum), default=None)
    if size is None:
        size, _, witnesses, _ = max(report.checkpoints, key=lambda one: one[0])
        good = len(_trusted(set(witnesses), policy))
        text = f"the checkpoint at {size} entries is cosigned by {good} of {policy.quorum} witnesses"
        report.add("E_QUORUM", -1, -1, text)
    elif size < report.subject.entries:
        report.not_checked.append(f"what stands after entry {size - 1}: no witness has seen it yet")


def _trusted(witnesses: set[bytes], policy: Policy) -> set[bytes]:
    return witnesses & policy.witnesses if policy.witnesses else witnesses


def vouched_leaves(vouchers: Iterable[Any]) -> frozenset[bytes]:
    found = (_voucher(value) for value in vouchers)
    return frozenset(pair[0].voucher.open_leaf for pair in found if pair)


def _voucher(value: Any) -> tuple[SignedVoucher, list[bytes]] | None:
    """[voucher, signature], or that and [.., OPEN, signature] where the OPEN is in another ledger."""
    if type(value) is not list or len(value) not in (2, 4) or any(type(one) is not bytes for one in value):
        return None
    try:
        return read_voucher(cbor2.dumps(value[:2])), value[2:]
    except EntryInvalid:
        return None


def check_vouchers(whole: WholeAudit, vouchers: Iterable[Any]) -> None:
    for value in vouchers:
        whole.report.checked["vouchers"] += 1
        found = _voucher(value)
        if found is None:
            whole.report.add("E_VOUCHER", -1, -1, "an enclosed voucher is none")
            continue
        try:
            _check_voucher(whole, *found)
        except EntryInvalid as error:
            whole.report.add("E_VOUCHER", -1, -1, f"an enclosed voucher stands beside no OPEN: {error}")


def _check_voucher(whole: WholeAudit, voucher: SignedVoucher, parts: list[bytes]) -> None:
    report = whole.report
    known = whole.vouched(voucher.voucher.open_leaf)
    if parts:
        opening = read_signed(parts[0], parts[1], whole.context.net)
        if opening.leaf != voucher.voucher.open_leaf or opening.entry.kind != OPEN or not genuine(opening):
            report.add("E_VOUCHER", -1, -1, "a voucher that does not belong to the OPEN beside it")
            return
        known.append(opening)
    report.signatures += 1
    if not known:
        report.add("E_VOUCHER", -1, -1, "a voucher for an OPEN that is not here")
    elif not vouched_by(known[0].entry.author, voucher):
        report.add("E_VOUCHER", -1, -1, "a voucher that its debtor did not sign")
    else:
        for end in known:
            _under_settled(report, end, voucher)


def _under_settled(report: Report, end: Signed, voucher: SignedVoucher) -> None:
    promised = voucher.voucher.amount
    if end.entry.kind == OPEN or end.entry.amount >= promised or not genuine(end):
        return
    pieces = (end.body, end.signature), (voucher.body, voucher.signature)
    report.proofs.append(("F5-under-settle", proof_of("F5-under-settle", *pieces)))
    text = f"settled {end.entry.amount} ucr after vouching for {promised}"
    report.add("E_UNDERSETTLE", end.entry.seq, -1, text)


def check_proofs(report: Report, proofs: Iterable[Any], net: bytes) -> None:
    for proof in proofs:
        report.checked["file"] += 1
        try:
            report.enclosed.append(convicts(proof if type(proof) is bytes else b"", net).key)
        except ValueError as error:
            report.add("E_PROOF", -1, -1, f"an enclosed fault proof proves nothing: {error}")
