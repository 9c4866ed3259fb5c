"""An SPM vocabulary with byte fallback, and its encoder: llama.cpp's greedy merging by score, exactly."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from itertools import pairwise

from tools.pocket.tool_calls import Message

SPECIAL = ["<unk>", "<s>", "<|im_end|>", "<|im_start|>", "<|pad|>"]
UNKNOWN, BEGIN, END, START, PAD = range(5)
_BYTES = len(SPECIAL)
_PIECES = _BYTES + 256
_SPACE = "▁"
RARE = 20
"""A pair seen less often than this is not worth a piece."""


class Tokenizer:
    """`pieces` in the order of their scores: the first is merged first."""

    def __init__(self, pieces: list[str]) -> None:
        self.pieces = pieces
        self.tokens = SPECIAL + [f"<0x{i:02X}>" for i in range(256)] + pieces
        self._rank = {piece: i for i, piece in enumerate(pieces)}
        self._known: dict[str, list[int]] = {}

    def encode(self, text: str) -> list[int]:
        ids: list[int] = []
        for part in re.findall(r" ?[^ \n]+|\n| ", text):  # no piece crosses these borders
            if part not in self._known:
                self._known[part] = self._encode(part)
            ids += self._known[part]
        return ids

    def _encode(self, text: str) -> list[int]:
        symbols = list(text.replace(" ", _SPACE))
        while len(symbols) > 1:
            ranked = [
                (self._rank[pair], i)
                for i in range(len(symbols) - 1)
                if (pair := symbols[i] + symbols[i + 1]) in self._rank
            ]
            if not ranked:
                break
            _, i = min(ranked)
            symbols[i : i + 2] = [symbols[i] + symbols[i + 1]]
        ids: list[int] = []
        for symbol in symbols:
            if symbol in self._rank:
                ids.append(_PIECES + self._rank[symbol])
            else:
                ids += [_BYTES + byte for byte in symbol.encode()]
        return ids

    def decode(self, ids: Iterable[int]) -> str:
        raw = b""
        for i in ids:
            if i >= _PIECES:
                raw += self.tokens[i].replace(_SPACE, " ").encode()
            elif i >= _BYTES:
                raw += bytes([i - _BYTES])
        return raw.decode("utf8", "replace")

    def conversation(self, messages: list[Message], *, ask: bool = False) -> tuple[list[int], list[bool]]:
        """Token ids as the chat template gives them, and which of them the model must learn to say.
        `ask` ends it where an answer begins."""
        ids: list[int] = []
        learn: list[bool] = []
        for role, text in messages:
            head = [START, *self.encode(role + "\n")]
            body = [*self.encode(text), END]
            tail = self.encode("\n")
            ids += head + body + tail
            learn += [False] * len(head) + [role == "assistant"] * len(body) + [False] * len(tail)
        if ask:
            head = [START, *self.encode("assistant\n")]
            ids += head
            learn += [False] * len(head)
        return ids, learn


def train_pieces(texts: Iterable[str], merges: int) -> list[str]:
    """Byte-pair merges over words, most frequent first; then the single characters, which score last."""
    characters = [chr(code) for code in range(33, 127)] + [_SPACE]
    counted: Counter[str] = Counter()
    for text in texts:
        for word in re.findall(r" ?[A-Za-z]+|[^A-Za-z]", text):
            counted[word.replace(" ", _SPACE)] += 1
    words = [(list(word), count) for word, count in counted.items() if len(word) > 1]
    merged: list[str] = []
    for _ in range(merges):
        pairs: Counter[tuple[str, str]] = Counter()
        for word, count in words:
            for pair in pairwise(word):
                pairs[pair] += count
        if not pairs:
            break
        best, count = max(pairs.items(), key=lambda item: (item[1], item[0]))
        if count < RARE:
            break
        merged.append("".join(best))
        words = [(_joined(word, best), count) for word, count in words]
    return merged + [character for character in characters if character not in merged]


def _joined(word: list[str], pair: tuple[str, str]) -> list[str]:
    out: list[str] = []
    i = 0
    while i < len(word):
        if tuple(word[i : i + 2]) == pair:
            out.append(word[i] + word[i + 1])
            i += 2
        else:
            out.append(word[i])
            i += 1
    return out
