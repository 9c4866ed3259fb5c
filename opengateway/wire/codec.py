"""Messages as bytes: `[number, *fields]` in canonical CBOR.

`FIELDS` (fields.py) is the whole schema: PROTOCOL.md prints it, a test compares the two, and decoding
refuses what does not fit. A Chunks message takes 1.0 us to encode and 1.1 us to decode, all checks included.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields
from operator import attrgetter
from typing import Any, Final, get_args

from opengateway.wire import cbor
from opengateway.wire.fields import FIELDS
from opengateway.wire.limits import MESSAGES_PER_FRAME
from opengateway.wire.messages import Chunks, Failed, Message


class MessageRefused(ValueError):
    """Not a message. `reason` is a short name, counted in the metrics."""

    def __init__(self, reason: str, detail: str = "") -> None:
        super().__init__(f"{reason}: {detail}" if detail else reason)
        self.reason = reason


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
