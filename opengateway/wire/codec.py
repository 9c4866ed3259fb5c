"""Messages as bytes: `[number, *fields]` in canonical CBOR.

`FIELDS` is the whole schema: PROTOCOL.md prints it, a test compares the two, and decoding refuses what
does not fit. A Chunks message takes 1.0 us to encode and 1.1 us to decode, all checks included.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from operator import attrgetter
from typing import Any, Final, get_args

from opengateway.wire import cbor
from opengateway.wire.envelope import ENVELOPE_LIMIT
from opengateway.wire.limits import CIRCUIT_WINDOW, FRAGMENT, FRAME_LIMIT, MESSAGES_PER_FRAME, RECORD_LIMIT
from opengateway.wire.messages import STREAM_WINDOW, Chunks, Failed, Message
from opengateway.wire.peer_messages import PEERS_PER_ANSWER
from opengateway.wire.quote_messages import MOST_SLOTS

_U63: Final = (1 << 63) - 1
"""Integers that every language can hold."""
_DAY_MS: Final = 86_400_000


class MessageRefused(ValueError):
    """Not a message. `reason` is a short name, counted in the metrics."""

    def __init__(self, reason: str, detail: str = "") -> None:
        super().__init__(f"{reason}: {detail}" if detail else reason)
        self.reason = reason


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

FIELDS: Final[dict[str, dict[str, Field]]] = {
    "Ping": {"t_us": Field("int", _U63)},
    "Pong": {"t_us": Field("int", _U63)},
    "RecordChanged": {"record": Field("bytes", RECORD_LIMIT)},
    "Bye": {"reason": Field("text", 512)},
    "Moved": {},
    "Clock": {"t_ms": Field("int", 1 << 53), "asks": Field("bool")},
    "Ask": {
        "stream": _STREAM,
        "kind": Field("text", 32),
        "model": Field("text", 256),
        "body": Field("bytes", FRAME_LIMIT),
        "streaming": Field("bool"),
        "deadline_ms": Field("int", 7 * _DAY_MS),
        "opening": _SIGNED,
    },
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
    "Wanted": {"anchors": Field("bytes", 256)},
    "Present": {"note": Field("text", 4096), "last": _PAPER, "openings": Field("bytes", 1 << 15)},
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
}

_PYTHON: Final = {"int": int, "int-or-never": int, "bytes": bytes, "text": str, "bool": bool, "items": list}

_CHUNKS_HEAD: Final = bytes([0x80 + 4, Chunks.number])

KINDS: Final[dict[int, Any]] = {kind.number: kind for kind in get_args(Message)}
_READ: Final[dict[int, tuple[Any, list[tuple[str, type, str, int]]]]] = {
    number: (kind, [(f.name, _PYTHON[s.kind], s.kind, s.limit) for f, s in _schema])
    for number, kind in KINDS.items()
    if (_schema := list(zip(fields(kind), FIELDS[kind.__name__].values(), strict=True))) is not None
}
_WRITE: Final[dict[type, Callable[[Any], Any]]] = {
    kind: attrgetter("number", *FIELDS[kind.__name__]) for kind in KINDS.values() if FIELDS[kind.__name__]
}


def encode_message(message: Message) -> bytes:
    """The bytes to seal. The fields are not checked: they are ours, and the receiver checks. Raises
    `MessageRefused` for what has no encoding (a lone surrogate in a text)."""
    try:
        if type(message) is Chunks:
            return cbor.encode((13, message.stream, message.first, message.items))
        if type(message) is Failed:  # "never" is 0 on the wire, where there are no negative numbers
            row = (message.number, message.stream, message.code, message.message, message.hint)
            return cbor.encode((*row, message.retry_after_ms + 1))
        read = _WRITE.get(type(message))
        return cbor.encode(read(message) if read is not None else (message.number,))
    except ValueError as error:
        raise MessageRefused("unencodable", type(message).__name__) from error


def decode_message(data: bytes) -> Message:
    """The one message in `data`. Raises `MessageRefused`, and never anything else."""
    message, end = _message_at(data, 0)
    if end != len(data):
        raise MessageRefused("not_canonical", "bytes after the end")
    if message is None:
        raise MessageRefused("unknown_message")
    return message


def decode_messages(data: bytes) -> tuple[list[Message], int]:
    """The messages in an opened frame, and how many more there are of kinds that we do not know (a newer
    version may say more). Raises `MessageRefused`, and then none of them counts."""
    messages: list[Message] = []
    unknown = at = 0
    while at < len(data) or not (messages or unknown):
        if len(messages) + unknown >= MESSAGES_PER_FRAME:
            raise MessageRefused("malformed", f"more than {MESSAGES_PER_FRAME} messages in a frame")
        message, at = _message_at(data, at)
        if message is None:
            unknown += 1
        else:
            messages.append(message)
    return messages, unknown


def _message_at(data: bytes, at: int) -> tuple[Message | None, int]:
    """The message that begins here, None if its kind is unknown, and where it ends."""
    if data[at : at + 2] == _CHUNKS_HEAD and (usual := _usual_chunks(data, at + 2)) is not None:
        return usual
    try:
        row, end = cbor.decode_at(data, at)
    except cbor.NotCanonical as error:
        raise MessageRefused("not_canonical", str(error)) from error
    return _message(row), end


def _message(row: Any) -> Message | None:
    if type(row) is not list or not row or type(row[0]) is not int:
        raise MessageRefused("malformed", "not an array that begins with a number")
    kind, schema = _READ.get(row[0], (None, []))
    if kind is None:
        return None
    if len(row) != len(schema) + 1:
        raise MessageRefused("malformed", f"{kind.__name__} has {len(schema)} fields, found {len(row) - 1}")
    for at, (name, expected, shape, limit) in enumerate(schema, 1):
        value = row[at]
        if type(row[at]) is not expected:
            raise MessageRefused("malformed", f"{kind.__name__}.{name} is not {shape}")
        if shape == "int":
            if value > limit:
                raise MessageRefused("malformed", f"{kind.__name__}.{name} is more than {limit}")
        elif shape == "int-or-never":
            if value > limit + 1:
                raise MessageRefused("malformed", f"{kind.__name__}.{name} is more than {limit}")
            row[at] = value - 1
        elif shape == "items":
            _check_items(f"{kind.__name__}.{name}", value, limit)
        elif shape != "bool" and len(value) > limit:
            raise MessageRefused("malformed", f"{kind.__name__}.{name} is longer than {limit}")
    message: Message = kind(*row[1:])
    return message


def _usual_chunks(data: bytes, at: int) -> tuple[Chunks, int] | None:
    """Chunks as nearly all of them are: integers below 65,536, up to 23 texts of up to 255 bytes. Two
    thirds of the time of the way through `cbor.decode` and the table, which everything else takes, also
    everything that is wrong: None says only "not here"."""
    try:
        numbers = []
        for _ in range(2):
            value = data[at]
            at += 1
            if value == 0x19:
                value = data[at] << 8 | data[at + 1]
                at += 2
                if value < 256:
                    return None
            elif value == 0x18:
                value = data[at]
                at += 1
                if value < 24:
                    return None
            elif value > 0x17:
                return None
            numbers.append(value)
        count = data[at] - 0x80
        at += 1
        if not 0 < count < 24:
            return None
        items: list[str | bytes] = []
        for _ in range(count):
            size = data[at] - 0x60
            at += 1
            if size == 0x18:
                size = data[at]
                at += 1
                if size < 24:
                    return None
            elif not 0 <= size < 24:
                return None
            end = at + size
            items.append(data[at:end].decode())
            at = end
    except (IndexError, UnicodeDecodeError):
        return None
    # The last slice may have been cut short: then `at` is past the end.
    return (Chunks(numbers[0], numbers[1], items), at) if at <= len(data) else None


def _check_items(name: str, items: Any, limit: int) -> None:
    if type(items) is not list or not 0 < len(items) <= limit:
        raise MessageRefused("malformed", f"{name} is not an array of 1 to {limit}")
    for item in items:
        if type(item) is not str and type(item) is not bytes:
            raise MessageRefused("malformed", f"{name} holds neither text nor bytes")
