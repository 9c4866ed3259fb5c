"""Logprobs of a completion: engines give the chat's format, `content` with one object a token; OpenAI's older
route has four lists beside each other."""

from __future__ import annotations

from typing import Any


class LegacyLogprobs:
    """Counts where the next token begins in the text, over all pieces of one answer."""

    def __init__(self) -> None:
        self._offset = 0

    def add(self, given: Any) -> Any:
        """`given` in the older format; unchanged if it is in it already, None if it is neither."""
        if not isinstance(given, dict):
            return None
        content = given.get("content")
        if not isinstance(content, list):
            return given if "tokens" in given else None
        tokens = [token for token in content if _is_token(token)]
        offsets = []
        for token in tokens:
            offsets.append(self._offset)
            self._offset += len(token["token"])
        return {
            "tokens": [token["token"] for token in tokens],
            "token_logprobs": [token["logprob"] for token in tokens],
            "top_logprobs": [_top(token) for token in tokens],
            "text_offset": offsets,
        }


def _is_token(token: Any) -> bool:
    if not isinstance(token, dict):
        return False
    return isinstance(token.get("token"), str) and isinstance(token.get("logprob"), (int, float))


def _top(token: dict[str, Any]) -> dict[str, float] | None:
    given = token.get("top_logprobs")
    found = (
        {one["token"]: one["logprob"] for one in given if _is_token(one)} if isinstance(given, list) else {}
    )
    return found or None
