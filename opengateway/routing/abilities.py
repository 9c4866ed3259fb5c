"""Whether a place can do what a request needs (engines/needs.py), and what to say where nobody can."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Final

from opengateway.errors import Unsupported

ASSUMED: Final = frozenset({"chat", "completion"})
"""What a model can do whose engine, or whose record, says nothing of it."""


def lacking(needs: Mapping[str, str], abilities: Collection[str]) -> list[str]:
    """The needs that are not met."""
    return [need for need in needs if need not in (abilities or ASSUMED)]


def unsupported(needs: Mapping[str, str], lacks: list[str], model: str, where: str) -> Unsupported:
    """`lacks`: what the nearest match still lacks."""
    need = lacks[0]
    hint = "leave it out, or ask for another model: GET /v1/models lists what each can do"
    if need == "chat":
        hint = "it has no chat template: ask /v1/completions, or for another model"
    elif need == "embedding":
        hint = "ask for an embedding model: GET /v1/models lists what each can do"
    elif need in ("vision", "logprobs", "reasoning"):
        hint += ". If the engine can, say so to the node in front of it: engine.abilities"
    message = f"`{needs[need]}` cannot be honoured: nobody {where} who serves {model} can do {need!r}"
    return Unsupported(message, hint=hint, param=needs[need])
