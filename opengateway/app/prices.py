"""What this node asks for a token of a model: the reference price times the owner's factor."""

from __future__ import annotations

import re

from opengateway.engines.protocol import ModelInfo
from opengateway.ledger.price import PRICE_CAP, reference_price
from opengateway.models.catalog import tier_of
from opengateway.routing.views import FREE, Price, WorkerView

BILLION = 1_000_000_000
UNKNOWN = 1 * BILLION
"""Parameters assumed where neither the engine, the catalog nor the name says: a small model, because the
caller sees the price before anything is owed and the owner can raise it."""


def price_of(info: ModelInfo, percent: int = 100) -> Price:
    """Micro-credits per token. At 0 % the work is free, and nothing of it is written down."""
    if not percent:
        return FREE
    asked = reference_price(parameters(info))
    return Price(
        min(asked.prompt * percent // 100, PRICE_CAP),
        min(max(1, asked.completion * percent // 100), PRICE_CAP),
    )


def parameters(info: ModelInfo) -> int:
    """Active parameters: the engine's word, else the catalog's, else the size in the name (`qwen2:7b`)."""
    if info.parameters > 0:
        return max(1, round(info.parameters * BILLION))
    tier = tier_of(info.name)
    if tier is not None:
        return round(tier.parameters * BILLION)
    named = re.search(r"(?<![a-z0-9.])(\d+(?:\.\d+)?)\s*([bm])(?![a-z0-9])", info.name.lower())
    if named:
        return max(1, round(float(named[1]) * (BILLION if named[2] == "b" else BILLION // 1000)))
    return UNKNOWN


def capacity(view: WorkerView) -> int:
    """ucr that an engine could earn in an hour with the model that earns most; 0 before it was measured."""
    best = max((model.generate_tps * model.price.completion for model in view.models), default=0.0)
    return int(best * 3600) * view.slots if view.state == "running" else 0
