"""The schema of every message: its fields in order, and how large each may be. PROTOCOL.md prints it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from opengateway.wire.continue_messages import PARTIAL_LIMIT
from opengateway.wire.envelope import ENVELOPE_LIMIT
from opengateway.wire.limits import CIRCUIT_WINDOW, FRAGMENT, FRAME_LIMIT, RECORD_LIMIT
from opengateway.wire.messages import STREAM_WINDOW
from opengateway.wire.peer_messages import PEERS_PER_ANSWER
from opengateway.wire.quote_messages import MOST_SLOTS

_U63: Final = (1 << 63) - 1
"""Integers that every language can hold."""
_DAY_MS: Final = 86_400_000


@dataclass(frozen=True, slots=True)
class Field:
    """`limit`: the greatest integer, or the most bytes (for text: characters, at most so many bytes
    times four), or the most items."""

    kind: str
    limit: int = 0


_STREAM = Field("int", _U63)
_TOKENS = Field("int", 1 << 32)
_UCR = Field("int", 1 << 62)
_AMOUNT = Field("int", (1 << 62) - 1)
_NODES = Field("bytes", 16 * 32)
_SIGNED = Field("bytes", ENVELOPE_LIMIT)
_PAPER = Field("bytes", 2048)

_ASK: Final = {
    "stream": _STREAM,
    "kind": Field("text", 32),
    "model": Field("text", 256),
    "body": Field("bytes", FRAME_LIMIT),
    "streaming": Field("bool"),
    "deadline_ms": Field("int", 7 * _DAY_MS),
    "opening": _SIGNED,
}

FIELDS: Final[dict[str, dict[str, Field]]] = {
    "Ping": {"t_us": Field("int", _U63)},
    "Pong": {"t_us": Field("int", _U63)},
    "RecordChanged": {"record": Field("bytes", RECORD_LIMIT)},
    "Bye": {"reason": Field("text", 512)},
    "Moved": {},
    "Clock": {"t_ms": Field("int", 1 << 53), "asks": Field("bool")},
    "Ask": _ASK,
    "Accepted": {
        "stream": _STREAM,
        "position": Field("int", 1 << 20),
        "eta_ms": Field("int", 7 * _DAY_MS),
        "engine": Field("text", 64),
        "lead": Field("int", 1 << 20),
    },
    "Refused": {"stream": _STREAM, "refusal": _SIGNED},
    "Chunks": {"stream": _STREAM, "first": Field("int", _U63), "items": Field("items", STREAM_WINDOW)},
    "Ended": {
        "stream": _STREAM,
        "reason": Field("text", 64),
        "prompt_tokens": _TOKENS,
        "completion_tokens": _TOKENS,
        "prompt_us": Field("int", _U63),
        "generate_us": Field("int", _U63),
    },
    "Failed": {
        "stream": _STREAM,
        "code": Field("text", 64),
        "message": Field("text", 2048),
        "hint": Field("text", 2048),
        "retry_after_ms": Field("int-or-never", 7 * _DAY_MS),
    },
    "Cancel": {"stream": _STREAM},
    "Grant": {"stream": _STREAM, "chunks": Field("int", 1 << 20)},
    "Settle": {"stream": _STREAM, "entry": _SIGNED},
    "Earned": {"stream": _STREAM, "entry": _SIGNED},
    "Voucher": {"stream": _STREAM, "voucher": Field("bytes", 512)},
    "Transfer": {"mandate": _PAPER},
    "Transferred": {"mandate": _PAPER, "receipt": _PAPER, "leg": _PAPER},
    "NotTransferred": {"tid": Field("bytes", 16), "reason": Field("text", 64), "message": Field("text", 512)},
    "Sweep": {"debtor": Field("bytes", 32), "amount": _AMOUNT},
    "Proof": {"proof": Field("bytes", 4096)},
    "Stamp": {"stamp": Field("bytes", 512)},
    "Rotated": {"papers": _PAPER},
    "Account": {"entry": _PAPER, "evidence": Field("bytes", 1 << 15)},
    "NotFollowed": {"reason": Field("text", 64), "message": Field("text", 512)},
    "AddCheckpoint": {"body": Field("text", 4096)},
    "Cosigned": {"line": Field("text", 256)},
    "NotCosigned": {"status": Field("int", 599), "size": _UCR, "reason": Field("text", 512)},
    "Head": {"note": Field("text", 2048), "old": _UCR, "path": Field("bytes", 63 * 32)},
    "GetEntries": {"first": _UCR},
    "Entries": {
        "first": _UCR,
        "highest": _PAPER,
        "records": Field("bytes", 1 << 18),
        "vouchers": Field("bytes", 1 << 16),
        "more": Field("bool"),
    },
    "Wanted": {"anchors": Field("bytes", 5 * 32), "known": _UCR},
    "Present": {"note": Field("text", 4096), "openings": Field("bytes", 1 << 16)},
    "FindRoute": {"query": _STREAM, "amount": _AMOUNT, "debtors": _NODES},
    "RouteFound": {"query": _STREAM, "routes": Field("bytes", 8 * 72)},
    "AskOwed": {"query": _STREAM, "amount": _AMOUNT, "creditors": _NODES},
    "Owed": {"query": _STREAM, "creditor": Field("bytes", 32), "amount": _AMOUNT},
    "Here": {"whereabouts": Field("bytes", 996)},
    "SeekPeers": {
        "model": Field("text", 64),
        "ring": Field("text", 16),
        "place": Field("text", 32),
        "most": Field("int", PEERS_PER_ANSWER),
    },
    "Peers": {"whereabouts": Field("items", PEERS_PER_ANSWER)},
    "SeekNode": {"node": Field("bytes", 32)},
    "Reserve": {},
    "Open": {"circuit": _STREAM, "target": Field("bytes", 32)},
    "Opened": {"circuit": _STREAM, "source": Field("bytes", 32)},
    "Carried": {"circuit": _STREAM, "last": Field("bool"), "data": Field("bytes", FRAGMENT)},
    "Credit": {"circuit": _STREAM, "amount": Field("int", CIRCUIT_WINDOW)},
    "Closed": {"circuit": _STREAM, "reason": Field("text", 256)},
    "Reserved": {"endpoint": Field("text", 80), "life_s": Field("int", 86_400)},
    "NotReserved": {"reason": Field("text", 64)},
    "Seen": {"address": Field("text", 64), "port": Field("int", 65_535)},
    "DialBack": {"port": Field("int", 65_535), "nonce": Field("bytes", 16)},
    "NotReached": {"nonce": Field("bytes", 16), "reason": Field("text", 256)},
    "Quote": {
        "stream": _STREAM,
        "kind": Field("text", 32),
        "model": Field("text", 256),
        "prompt_tokens": _TOKENS,
        "max_completion": _TOKENS,
        "slots": Field("int", MOST_SLOTS),
    },
    "Quoted": {"stream": _STREAM, "quote": Field("bytes", 1024)},
    "Released": {"stream": _STREAM},
    "Continue": _ASK | {"partial": Field("items", PARTIAL_LIMIT)},
    "Continued": {"stream": _STREAM, "tokens": _TOKENS},
    "Queued": {"stream": _STREAM, "position": Field("int", 1 << 20), "eta_ms": Field("int", 7 * _DAY_MS)},
}
