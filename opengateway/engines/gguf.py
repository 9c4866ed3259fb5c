"""What a GGUF file says about itself: name, size, quantisation, context, template.

Only the header is read, through a memory map, and every count in it is checked against a limit before
it is believed: the file may be half a download or anything else that ends in `.gguf`. Source of the
format: the GGUF specification, versions 2 and 3 (version 1 had 32-bit lengths and is extinct).
"""

from __future__ import annotations

import mmap
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from opengateway.errors import EngineUnavailable

MAX_FIELDS: Final = 4096
"""Metadata entries; real files have 20 to 60."""
MAX_TENSORS: Final = 65_536
"""Tensors; Llama 405B has 1,137, a mixture of experts stored one by one some 10,000."""
MAX_ITEMS: Final = 4_000_000
"""Items of one array; the largest vocabularies have 260,000 tokens and 520,000 merges."""
MAX_KEPT: Final = 1024 * 1024
"""Bytes of one text: chat templates reach 20 kB."""

_SCALARS: Final = {
    0: struct.Struct("<B"), 1: struct.Struct("<b"), 2: struct.Struct("<H"), 3: struct.Struct("<h"),
    4: struct.Struct("<I"), 5: struct.Struct("<i"), 6: struct.Struct("<f"), 7: struct.Struct("<?"),
    10: struct.Struct("<Q"), 11: struct.Struct("<q"), 12: struct.Struct("<d"),
}  # fmt: skip
_TEXT: Final = 8
_ARRAY: Final = 9
_U32: Final = struct.Struct("<I")
_U64: Final = struct.Struct("<Q")

# llama.cpp's llama_ftype, by number: what `general.file_type` means.
_QUANTISATION: Final = {
    0: "F32", 1: "F16", 2: "Q4_0", 3: "Q4_1", 7: "Q8_0", 8: "Q5_0", 9: "Q5_1", 10: "Q2_K", 11: "Q3_K_S",
    12: "Q3_K_M", 13: "Q3_K_L", 14: "Q4_K_S", 15: "Q4_K_M", 16: "Q5_K_S", 17: "Q5_K_M", 18: "Q6_K",
    19: "IQ2_XXS", 20: "IQ2_XS", 21: "Q2_K_S", 22: "IQ3_XS", 23: "IQ3_XXS", 24: "IQ1_S", 25: "IQ4_NL",
    26: "IQ3_S", 27: "IQ3_M", 28: "IQ2_S", 29: "IQ2_M", 30: "IQ4_XS", 31: "IQ1_M", 32: "BF16",
    36: "TQ1_0", 37: "TQ2_0", 38: "MXFP4",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class GgufHeader:
    """`parameters` counts what one token passes through (of a mixture's experts only those used), in
    billions; `context` is what the model was trained for, in tokens; `size` is bytes on disk."""

    name: str
    architecture: str
    parameters: float
    quantisation: str
    context: int
    size: int
    chat_template: str
    embedding: bool
    """The file is an embedding model: it has a pooling type and writes no text."""


def read_header(path: Path) -> GgufHeader:
    """Raises `EngineUnavailable` if the file is missing, unreadable, or no usable GGUF."""
    try:
        with path.open("rb") as file:
            size = path.stat().st_size
            if size < 24:  # magic, version and the two counts
                raise _broken(path, "it is too short")
            with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
                return _Reader(path, data).header(size)
    except OSError as error:
        raise EngineUnavailable(
            f"The model file {path} cannot be read: {error.strerror or error}.",
            hint="Check the path and the file's permissions, or import the model again.",
        ) from error


def _broken(path: Path, why: str) -> EngineUnavailable:
    return EngineUnavailable(
        f"{path} is not a usable GGUF model file: {why}.",
        hint="Download it again (a half download looks like this), or remove it from the models folder.",
    )


class _Reader:
    def __init__(self, path: Path, data: mmap.mmap) -> None:
        self._path = path
        self._data = data
        self._at = 0

    def header(self, size: int) -> GgufHeader:
        try:
            fields = self._fields()
            tensors = self._tensors()
        except (struct.error, OverflowError) as error:
            raise _broken(self._path, "its header ends early") from error
        architecture = _text(fields, "general.architecture")
        if not architecture:
            raise _broken(self._path, "it names no architecture")
        used, experts = (_whole(fields, f"{architecture}.expert_{x}count") for x in ("used_", ""))
        share = used / experts if 0 < used < experts else 1.0
        count = sum(n * share if "_exps." in name else n for name, n in tensors)
        kind = _whole(fields, "general.file_type", -1)
        return GgufHeader(
            name=_text(fields, "general.name") or self._path.stem,
            architecture=architecture,
            parameters=count / 1e9,
            quantisation=_QUANTISATION.get(kind, ""),
            context=_whole(fields, f"{architecture}.context_length"),
            size=size,
            chat_template=_text(fields, "tokenizer.chat_template"),
            embedding=_whole(fields, f"{architecture}.pooling_type") > 0,
        )

    def _fields(self) -> dict[str, Any]:
        if self._data[:4] != b"GGUF":
            raise _broken(self._path, "it does not begin with the letters GGUF")
        self._at = 4
        version = self._u32()
        if version not in (2, 3):
            raise _broken(self._path, f"its format version is {version}, and only 2 and 3 are known")
        self._tensor_count = self._limited(MAX_TENSORS, "tensors")
        count = self._limited(MAX_FIELDS, "metadata entries")
        return {self._text(): self._value(self._u32()) for _ in range(count)}

    def _tensors(self) -> list[tuple[str, int]]:
        """Name and number of weights of each."""
        found = []
        for _ in range(self._tensor_count):
            name, weights = self._text(), 1
            dimensions = self._u32()
            if dimensions > 8:
                raise _broken(self._path, f"tensor {name[:60]!r} has {dimensions} dimensions")
            for _ in range(dimensions):
                weights *= self._u64()
            self._at += 12  # type (4) and offset (8)
            found.append((name, weights))
        return found

    def _value(self, kind: int) -> Any:
        if kind == _TEXT:
            return self._text()
        if kind == _ARRAY:
            self._skip_array()
            return None
        scalar = _SCALARS.get(kind)
        if scalar is None:
            raise _broken(self._path, f"it holds a value of the unknown type {kind}")
        (value,) = scalar.unpack_from(self._data, self._at)
        self._at += scalar.size
        return value

    def _skip_array(self) -> None:
        kind, count = self._u32(), self._limited(MAX_ITEMS, "items in one list")
        if kind == _TEXT:
            data, at, unpack = self._data, self._at, _U64.unpack_from
            for _ in range(count):
                at += 8 + unpack(data, at)[0]
            self._at = at
        elif kind in _SCALARS:
            self._at += count * _SCALARS[kind].size
        else:
            raise _broken(self._path, f"it holds a list of the unknown type {kind}")

    def _text(self) -> str:
        length = self._limited(MAX_KEPT, "bytes in one text")
        raw = self._data[self._at : self._at + length]
        if len(raw) != length:
            raise _broken(self._path, "its header ends early")
        self._at += length
        return raw.decode("utf-8", "replace")

    def _limited(self, limit: int, what: str) -> int:
        count = self._u64()
        if count > limit:
            raise _broken(self._path, f"it claims {count} {what}, and at most {limit} are believed")
        return count

    def _u32(self) -> int:
        (value,) = _U32.unpack_from(self._data, self._at)
        self._at += 4
        return int(value)

    def _u64(self) -> int:
        (value,) = _U64.unpack_from(self._data, self._at)
        self._at += 8
        return int(value)


def _text(fields: dict[str, Any], key: str) -> str:
    value = fields.get(key)
    return value if isinstance(value, str) else ""


def _whole(fields: dict[str, Any], key: str, default: int = 0) -> int:
    value = fields.get(key)
    return value if isinstance(value, int) else default
