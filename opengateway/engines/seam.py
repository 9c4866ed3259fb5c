"""Where a second worker takes up an answer that broke off, so that no word is doubled and none is lost.

Two ways. `Onward`: it was given what has been shown and goes on from its end; what comes is new. `Anew`: it
began at the beginning, so what it says first must be what was shown, letter by letter, and is swallowed;
where it differs the reader is told so, and never shown two answers run together.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

from opengateway.engines.stream import Chunk, Finished
from opengateway.errors import AnswerBrokenOff

MEANT_AS_TEXT = frozenset({"reasoning_content", "reasoning", "thinking"})
"""Fields of a delta, beside `content`, that are texts to be joined."""
HINT = "ask again: with temperature 0, or a seed, another node can repeat what was shown and go on"


class Onward:
    """`shown`: the chunks before; `stop`: the request's stop sequences, one of which may lie across the
    seam. The maker before should have kept back what may begin one, and not every engine does."""

    def __init__(self, shown: Sequence[str], stop: Sequence[str]) -> None:
        self.stopped = False
        self._tokens = len(shown)
        self._stop = stop
        self._reach = max(map(len, stop), default=1) - 1
        """Characters on either side of the seam that one stop sequence can take up."""
        self._seen = _end_of(shown, self._reach) if self._reach else ""
        self._edge = len(self._seen)

    def take(self, chunks: Iterable[Chunk]) -> list[Chunk]:
        """See `Seam.take`."""
        if not self._edge:
            return list(chunks)
        new: list[Chunk] = []
        for chunk in chunks:
            if isinstance(chunk, str) and self._edge and self._ended_by(chunk):
                self.stopped = True
            if self.stopped:
                break
            new.append(chunk)
        return new

    def _ended_by(self, chunk: str) -> bool:
        """Whether a stop sequence that began before the seam ends here. The part of it that was shown
        cannot be taken back; nothing more of it is shown."""
        self._seen += chunk
        for one in self._stop:
            if 0 <= self._seen.find(one, max(0, self._edge - len(one) + 1)) < self._edge:
                return True
        if len(self._seen) - self._edge >= self._reach:
            self._edge, self._seen = 0, ""
        return False

    def whole(self, finished: Finished) -> Finished:
        """See `Seam.whole`. Its prompt held the answer so far, which is no prompt to the caller."""
        if self.stopped:
            return finished
        before = finished.partial_tokens or self._tokens
        return replace(
            finished,
            prompt_tokens=max(0, finished.prompt_tokens - before),
            completion_tokens=finished.completion_tokens + before,
            prompt_seconds=0.0,
            generate_seconds=0.0,  # of a part only: the whole is what the clock says
            partial_tokens=0,
        )


class Anew:
    """`shown`: the chunks before; all must be texts (`texts_of`)."""

    def __init__(self, shown: Sequence[Chunk]) -> None:
        self.stopped = False
        self._rest = texts_of(shown) or []
        self._rest.reverse()
        self._tokens = len(shown)

    def take(self, chunks: Iterable[Chunk]) -> list[Chunk]:
        """See `Seam.take`. Raises `AnswerBrokenOff`."""
        if not self._rest:
            return list(chunks)
        return [new for chunk in chunks if (new := self._beyond(chunk)) is not None]

    def _beyond(self, chunk: Chunk) -> Chunk | None:
        if not self._rest:
            return chunk
        name, text = _text_of(chunk)
        while text and self._rest:
            expected_name, expected = self._rest[-1]
            size = min(len(text), len(expected))
            if name != expected_name or text[:size] != expected[:size]:
                raise self._differs()
            text = text[size:]
            self._rest[-1] = (name, expected[size:])
            if size == len(expected):
                self._rest.pop()
        if not text:
            return None
        return text if isinstance(chunk, str) else {name: text}

    def whole(self, finished: Finished) -> Finished:
        """See `Seam.whole`. Raises `AnswerBrokenOff` if not even what was shown has come."""
        if self._rest:
            raise self._differs()
        return finished

    def _differs(self) -> AnswerBrokenOff:
        return AnswerBrokenOff(
            f"the node that was answering is gone after {self._tokens} tokens, and another that began anew"
            " says something else",
            hint=HINT,
        )


def texts_of(shown: Iterable[Chunk]) -> list[tuple[str, str]] | None:
    """(field, text), neighbours of one field joined; None where something was no text: tool calls."""
    found: list[tuple[str, list[str]]] = []
    for chunk in shown:
        name, text = _text_of(chunk)
        if not name:
            return None
        if found and found[-1][0] == name:
            found[-1][1].append(text)
        else:
            found.append((name, [text]))
    return [(name, "".join(parts)) for name, parts in found]


def _text_of(chunk: Chunk) -> tuple[str, str]:
    """("", "") for what is no text alone."""
    if isinstance(chunk, str):
        return "content", chunk
    value: Any = None
    if len(chunk) == 1:
        [(name, value)] = chunk.items()
        if name in MEANT_AS_TEXT and isinstance(value, str):
            return name, value
    return "", ""


def _end_of(shown: Sequence[str], size: int) -> str:
    tail = ""
    for chunk in reversed(shown):
        tail = chunk + tail
        if len(tail) >= size:
            break
    return tail[-size:]
