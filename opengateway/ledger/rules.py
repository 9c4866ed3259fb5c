"""What an entry must say, and what totals follow from it. The node appends by these rules and the audit
checks by them; neither has any other.

                given     taken     held     served    consumed
    OPEN                            + hold
    SETTLE                + amount  - hold             + amount
    EARN      + amount                       + amount
    VOID                            - hold

An ADJ moves `moved_in` by its amount, or `moved_out` by its hold: one leg of a transfer each (transfer.py).
A CARRY and a FOLLOW add to the pair what an account brings that goes over to a new key (amount: served, hold:
consumed, prompt_tokens: moved_in, completion_tokens: moved_out), a CARRY to the chain's totals as well.
"""

from __future__ import annotations

from typing import NamedTuple

from opengateway.ledger.entry import (
    ADJ,
    CARRY,
    EARN,
    FOLLOW,
    GENESIS,
    INTEGER_LIMIT,
    OPEN,
    ROTATE,
    SETTLE,
    VOID,
    ZERO16,
    ZERO32,
    Entry,
)
from opengateway.ledger.price import PRICE_CAP, cost


class Totals(NamedTuple):
    """What a node earned, spent and holds, over its whole chain (ucr)."""

    given: int = 0
    taken: int = 0
    held: int = 0


class Pair(NamedTuple):
    """What one node earned from and spent at one other (ucr), and what transfers moved."""

    served: int = 0
    consumed: int = 0
    moved_in: int = 0
    moved_out: int = 0

    @property
    def owed_to_peer(self) -> int:
        """Net; negative where the peer owes."""
        return self.consumed + self.moved_out - self.served - self.moved_in

    def admits(self, theirs: Pair) -> bool:
        """Whether the other side claims no more than this one says that it owes it."""
        return theirs.served <= self.consumed and theirs.moved_in <= self.moved_out


class RuleBroken(ValueError):
    """An entry that contradicts itself or what came before. `code` is the audit's name for it."""

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(detail)
        self.code = code


def totals_after(before: Totals, entry: Entry) -> Totals:
    """Raises `RuleBroken` where a total would leave 0..2^62-1: a hold released twice, money from nowhere."""
    given, taken, held = before
    if entry.kind == OPEN:
        held += entry.hold
    elif entry.kind == SETTLE:
        taken += entry.amount
        held -= entry.hold
    elif entry.kind == EARN:
        given += entry.amount
    elif entry.kind == VOID:
        held -= entry.hold
    elif entry.kind == CARRY:
        given += entry.amount
        taken += entry.hold
    if held < 0:
        raise RuleBroken("E_TOTALS", "more released than held")
    if max(given, taken, held) >= INTEGER_LIMIT:
        raise RuleBroken("E_TOTALS", "totals out of range")
    return Totals(given, taken, held)


def pair_after(before: Pair, entry: Entry) -> Pair:
    served, consumed, moved_in, moved_out = before
    if entry.kind == SETTLE:
        return Pair(served, consumed + entry.amount, moved_in, moved_out)
    if entry.kind == EARN:
        return Pair(served + entry.amount, consumed, moved_in, moved_out)
    if entry.kind == ADJ:
        return Pair(served, consumed, moved_in + entry.amount, moved_out + entry.hold)
    if entry.kind in (CARRY, FOLLOW):
        more = brought(entry)
        return Pair(*(total + new for total, new in zip(before, more, strict=True)))
    return before


def brought(entry: Entry) -> Pair:
    """What a CARRY or FOLLOW adds to the pair."""
    return Pair(entry.amount, entry.hold, entry.prompt_tokens, entry.completion_tokens)


def totals_in(entry: Entry) -> Totals:
    return Totals._make(entry[17:20])


def pair_in(entry: Entry) -> Pair:
    return Pair._make(entry[20:24])


def check_terms(entry: Entry) -> None:
    """The rules that need nothing but the entry itself. Raises `RuleBroken`."""
    if entry.kind == GENESIS:
        if entry.seq or entry.prev != ZERO32 or entry.peer != entry.author or entry.rid != ZERO16:
            raise RuleBroken("E_GENESIS", "a GENESIS stands first and names its author")
        if any(entry[11:24]) or entry.model or entry.digest != ZERO32:
            raise RuleBroken("E_GENESIS", "a GENESIS carries no amounts")
        return
    if not entry.seq:
        raise RuleBroken("E_GENESIS", "a chain starts with GENESIS")
    if entry.peer == entry.author:
        raise RuleBroken("E_SELF", "serving yourself earns nothing")
    if entry.kind == ADJ:
        if any(entry[11:15]) or entry.model or entry.digest != ZERO32:
            raise RuleBroken("E_AMOUNT", "an ADJ has neither tokens nor a price")
        if bool(entry.amount) == bool(entry.hold):
            raise RuleBroken("E_AMOUNT", "an ADJ moves something, and in one direction")
        return
    if entry.kind in (ROTATE, CARRY, FOLLOW):
        _check_moved(entry)
        return
    if entry.price_prompt > PRICE_CAP or entry.price_completion > PRICE_CAP:
        raise RuleBroken("E_PRICE", f"a price above the network's cap of {PRICE_CAP} ucr per token")
    total = cost(entry.prompt_tokens, entry.completion_tokens, entry.price_prompt, entry.price_completion)
    if entry.kind == OPEN:
        if entry.amount:
            raise RuleBroken("E_AMOUNT", "an OPEN spends nothing")
        if entry.hold != total:
            raise RuleBroken("E_AMOUNT", f"a hold of {entry.hold} for tokens that cost {total}")
        if entry.digest != ZERO32:
            raise RuleBroken("E_AMOUNT", "an OPEN has no answer to digest")
        return
    if entry.amount != total:
        raise RuleBroken("E_AMOUNT", f"an amount of {entry.amount} for tokens that cost {total}")
    if entry.kind == SETTLE and entry.amount > entry.hold:
        raise RuleBroken("E_HOLD", f"{entry.amount} settled against a hold of {entry.hold}")
    if entry.kind == EARN and entry.hold:
        raise RuleBroken("E_AMOUNT", "an EARN holds nothing")
    if entry.kind == VOID and (entry.prompt_tokens or entry.completion_tokens or entry.digest != ZERO32):
        raise RuleBroken("E_AMOUNT", "a VOID is for a request that used nothing")


def _check_moved(entry: Entry) -> None:
    """The entries of a change of keys (rotation.py)."""
    if entry.model or entry.price_prompt or entry.price_completion or entry.digest != ZERO32:
        raise RuleBroken("E_ROTATE", "a change of keys has neither model nor price nor answer")
    if entry.kind == ROTATE:
        if any(brought(entry)) or entry.rid != ZERO16:
            raise RuleBroken("E_ROTATE", "a ROTATE carries no request and no amounts")
    elif not any(brought(entry)) or entry.rid != entry.link[:16]:
        raise RuleBroken("E_ROTATE", "an account that moves brings something, and names why")


def check_legs(before: Entry, entry: Entry) -> None:
    """That neighbours on a chain keep the two legs of a transfer together: what comes in (amount) stands
    right before what goes out (hold), so a transfer creates nothing. Raises `RuleBroken`."""
    first, second = before.kind == ADJ and before.amount, entry.kind == ADJ and entry.hold
    if not first and not second:
        return
    if not first or not second:
        raise RuleBroken("E_LEGS", "one leg of a transfer without the other")
    if before.rid != entry.rid or before.link != entry.link or before.peer == entry.peer or first != second:
        raise RuleBroken("E_LEGS", f"the legs of a transfer do not cancel: {first} in, {second} out")


def check_counter_leg(leg: Entry, half: Entry) -> None:
    """That `half` is the entry of who gave up the claim that `leg` takes off. Raises `RuleBroken`."""
    if half.kind != ADJ:
        raise RuleBroken("E_PEERKIND", "the other half of a transfer's leg is not an ADJ")
    if (half.author, half.peer) != (leg.peer, leg.author):
        raise RuleBroken("E_PEERKEY", "a half is by or for another key")
    if half.rid != leg.rid or half.hold != leg.amount:
        raise RuleBroken("E_MISMATCH", "the halves disagree on transfer or amount")


def check_release(opening: Entry, opening_leaf: bytes, release: Entry) -> None:
    """That a SETTLE or VOID belongs to this OPEN of the same author. Raises `RuleBroken`."""
    if release.link != opening_leaf:
        raise RuleBroken("E_LINK", f"links to another entry than the OPEN at {opening.seq}")
    if release.seq <= opening.seq or release.t_ms < opening.t_ms:
        raise RuleBroken("E_TIME", "comes before its OPEN")
    if release.hold != opening.hold:
        raise RuleBroken("E_HOLD", f"releases {release.hold} of a hold of {opening.hold}")
    if _terms(release) != _terms(opening):
        raise RuleBroken("E_LINK", "names another request, peer, model or price than its OPEN")


def _terms(entry: Entry) -> tuple[object, ...]:
    return (
        entry.author,
        entry.peer,
        entry.rid,
        entry.model,
        entry.price_prompt,
        entry.price_completion,
    )


CLOCKS_APART_MS = 120_000
"""How far the clocks of two nodes may differ: the window in which an OPEN is accepted."""
HALVES_APART_MS = 600_000
"""An EARN normally follows its SETTLE within a round trip. Ten minutes later it was sent again."""
GONE_AFTER_MS = 900_000
"""From its OPEN on: an answer that is not settled by then is earned by its last voucher."""


def rest_rid(settle_leaf: bytes) -> bytes:
    """The request id of the EARN for a SETTLE that comes when the worker has earned by the last voucher
    already: it earns the rest only, and a request id is used once."""
    return settle_leaf[:16]


def check_halves(settle: Entry, settle_leaf: bytes, earn: Entry) -> None:
    """That a requester's SETTLE and a worker's EARN are halves of one receipt. Raises `RuleBroken`.

    An EARN of the rest after one by voucher (`rest_rid`) is over less than its SETTLE. On what the pair
    settled so far see `check_views`.
    """
    if settle.kind != SETTLE or earn.kind != EARN:
        raise RuleBroken("E_PEERKIND", "the halves are not a SETTLE and an EARN")
    if settle.author != earn.peer or settle.peer != earn.author:
        raise RuleBroken("E_PEERKEY", "a half is by or for another key")
    if earn.link != settle_leaf:
        raise RuleBroken("E_LINK", "the EARN links to another SETTLE")
    if earn.rid == rest_rid(settle_leaf):
        more = any(here > there for here, there in zip(earn[11:16], settle[11:16], strict=True))
        differs = more or earn.model != settle.model or earn[13:15] != settle[13:15]
    else:
        differs = earn.rid != settle.rid or earn[10:16] != settle[10:16]
    if differs or earn.digest != settle.digest:
        raise RuleBroken("E_MISMATCH", "the halves disagree on request, model, tokens, price or digest")
    check_views(settle, earn)
    if earn.t_ms < settle.t_ms - CLOCKS_APART_MS:
        raise RuleBroken("E_PAIRTIME", f"earned {(settle.t_ms - earn.t_ms) // 1000} s before it was settled")


def check_views(settle: Entry, earn: Entry) -> None:
    """That neither half claims more from the other's author than that one signed for, as far as the two show
    it alone. Raises `RuleBroken`.

    A debtor signs first, so `consumed` of one side may be above `served` of the other, but for SETTLEs that
    the worker has to take in their order. `served` is above it by what was earned by vouchers that no SETTLE
    has completed: of requests that were open when the debtor signed its half, so within what it held. An
    EARN so late that a request opened after the SETTLE may have been earned by its voucher shows no bound,
    nor does one for a SETTLE over nothing: nobody can see from the totals that it was missing.
    """
    ahead = earn.served - settle.consumed
    late = earn.t_ms >= settle.t_ms + GONE_AFTER_MS - CLOCKS_APART_MS
    if ahead < 0 or (ahead > settle.held and settle.amount and not late):
        raise RuleBroken("E_PAIRVIEW", f"{earn.served} earned from, {settle.consumed} spent at each other")
    if settle.served > earn.consumed + earn.held:
        raise RuleBroken("E_PAIRVIEW", f"the worker signed for {earn.consumed}, not for {settle.served}")
