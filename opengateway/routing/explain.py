"""What can be asked for, in words: for those who ask what there is, and for those who get nothing."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from opengateway.errors import ContextTooLong, OpenGatewayError, UnknownModel
from opengateway.routing.abilities import ASSUMED, lacking
from opengateway.routing.placement import nearest_names, ring_in_scope, same_model
from opengateway.routing.views import ServedModel


def best_model(
    served: Iterable[tuple[str, ServedModel]], default: str, scope: str, needs: Mapping[str, str]
) -> str:
    """The model for a request that names none: the configured one if it is served, else the largest that
    is, real ones before the pocket model and this node's own before a peer's. `served`: ring and model."""
    found = [(ring, model) for ring, model in served if ring_in_scope(ring, scope)]
    if any(same_model(default, model.name) for _, model in found):
        return default
    best = max(
        found,
        key=lambda pair: (
            not lacking(needs, pair[1].abilities),
            "embedding" not in pair[1].abilities,
            not pair[1].demo,
            pair[0] == "local",
            pair[1].parameters_m,
            pair[1].name,
        ),
        default=None,
    )
    return best[1].name if best else default


def where(scope: str) -> str:
    """In words."""
    return {"local": "on this node", "friends": "on this link"}.get(scope, "in reach")


def nobody(wanted: str, names: Sequence[str], scope: str, *, alone: bool) -> OpenGatewayError:
    """No place in this scope serves the model; these are served there."""
    if not names and alone:
        return UnknownModel(
            "this node serves no model, and no peer is connected",
            hint="`opengateway doctor` helps to get an engine, `opengateway connect HOST:PORT` a peer",
        )
    if not names:
        return UnknownModel(
            f"nobody {where(scope)} serves any model",
            hint="`opengateway models` shows what there is; without --local or --friends there is more",
        )
    close = nearest_names(wanted, names)
    hint = (
        f"did you mean {' or '.join(close)}?" if close else f"served {where(scope)}: {', '.join(names[:10])}"
    )
    return UnknownModel(f"nobody {where(scope)} serves the model {wanted[:80]!r}", hint=hint)


def too_long(wanted: str, least: int, largest: int) -> ContextTooLong:
    """Nobody who serves the model has room for this prompt."""
    served = f"{wanted[:80]} is served with a context of {largest} at most"
    return ContextTooLong(
        f"the prompt has at least {least} tokens, and {served}",
        hint="shorten the prompt, or ask for a model with a larger context: `opengateway models` shows them",
    )


def describe(served: Iterable[tuple[str, ServedModel]]) -> list[dict[str, Any]]:
    """Every model that can be asked for, with who has it."""
    found: dict[str, dict[str, Any]] = {}
    for ring, model in served:
        entry = found.setdefault(
            model.name.lower(),
            {
                "name": model.name,
                "nodes": 0,
                "rings": {},
                "generate_tps": None,
                "context": 0,
                "local": False,
                "abilities": [],
                "parameters_m": model.parameters_m,
                "quantisation": model.quantisation,
                "digest": model.digest,
                "size": model.size,
            },
        )
        entry["abilities"] = sorted({*entry["abilities"], *(model.abilities or ASSUMED)})
        entry["nodes"] += 1
        entry["rings"][ring] = entry["rings"].get(ring, 0) + 1
        entry["context"] = max(entry["context"], model.context)
        entry["local"] = entry["local"] or ring == "local"
        if model.generate_tps:
            entry["generate_tps"] = max(entry["generate_tps"] or 0.0, model.generate_tps)
    return sorted(found.values(), key=lambda entry: str(entry["name"]))
