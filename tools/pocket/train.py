"""Training: Muon for the matrices, AdamW for the embedding and the norms, loss on answers only."""

from __future__ import annotations

import time
from dataclasses import dataclass
from random import Random
from typing import Any

import torch
import torch.nn.functional as f

from tools.pocket.corpus import conversation
from tools.pocket.model import Model
from tools.pocket.tokenizer import Tokenizer

WARM_UP = 30
"""Steps until the full learning rate."""
PLATEAU = 0.3
"""Share of the training at the full rate; after it the rate falls to 2 % in a straight line."""
LONG_SHARE = 0.25
LONG_FACTOR = 2.5
"""The last quarter sees rows 2.5 times as long and 2.5 times fewer, so that stories fit into one."""
REPORT_STEPS = 200


@dataclass(frozen=True)
class Plan:
    """`muon_rate` and `adam_rate` are the peak learning rates of the two optimisers."""

    steps: int
    batch: int = 16
    row: int = 128
    """Tokens of a training row."""
    muon_rate: float = 0.02
    adam_rate: float = 4e-3


def train(model: Model, tokenizer: Tokenizer, plan: Plan, random: Random) -> float:
    """Trains in place; the smoothed loss at the end."""
    matrices = [w for n, w in model.weights.items() if w.dim() == 2 and n != "token_embd.weight"]
    others = [w for n, w in model.weights.items() if w.dim() == 1 or n == "token_embd.weight"]
    muon = Muon(matrices)
    adam = torch.optim.AdamW(others, lr=plan.adam_rate, betas=(0.9, 0.98), weight_decay=0)
    start, tokens, smoothed = time.monotonic(), 0, 0.0
    for step in range(plan.steps):
        done = step / plan.steps
        rate = min(1.0, step / WARM_UP) * (1.0 if done < PLATEAU else max(0.02, (1 - done) / (1 - PLATEAU)))
        long = done >= 1 - LONG_SHARE
        rows = max(1, int(plan.batch / LONG_FACTOR)) if long else plan.batch
        length = int(plan.row * LONG_FACTOR) if long else plan.row
        ids, wanted, learn = batch(tokenizer, random, rows, length)
        loss = f.cross_entropy(model.logits(model.hidden(ids)[learn]), wanted[learn])
        for weight in model.weights.values():
            weight.grad = None
        loss.backward()
        torch.nn.utils.clip_grad_norm_(list(model.weights.values()), 1.0)
        muon.step(plan.muon_rate * rate)
        for group in adam.param_groups:
            group["lr"] = plan.adam_rate * rate
        adam.step()
        tokens += ids.numel()
        smoothed = loss.item() if step == 0 else 0.97 * smoothed + 0.03 * loss.item()
        if (step + 1) % REPORT_STEPS == 0:
            speed = tokens / (time.monotonic() - start)
            print(f"step {step + 1} of {plan.steps}, loss {smoothed:.4f}, {speed:.0f} tokens/s", flush=True)
    return smoothed


def batch(tokenizer: Tokenizer, random: Random, rows: int, length: int) -> tuple[Any, Any, Any]:
    """Ids, the ids that follow them, and which of those are learnt; (rows, length) each. Every row
    begins where a conversation begins."""
    ids: list[list[int]] = []
    learn: list[list[bool]] = []
    for _ in range(rows):
        row: list[int] = []
        mask: list[bool] = []
        while len(row) < length + 1:
            more, which = tokenizer.conversation(conversation(random))
            row += more
            mask += which
        ids.append(row[: length + 1])
        learn.append(mask[: length + 1])
    table, kept = torch.tensor(ids), torch.tensor(learn)
    return table[:, :-1], table[:, 1:], kept[:, 1:]


class Muon:
    """Momentum, then the nearest orthogonal matrix by five Newton-Schulz steps (Jordan et al., 2024).
    Matrices of one shape go through it together."""

    MOMENTUM = 0.95
    DECAY = 0.01

    def __init__(self, weights: list[Any]) -> None:
        self._groups: dict[Any, list[Any]] = {}
        for weight in weights:
            self._groups.setdefault(tuple(weight.shape), []).append(weight)
        self._speed = {id(weight): torch.zeros_like(weight) for weight in weights}

    def step(self, rate: float) -> None:
        with torch.no_grad():
            for (out, into), weights in self._groups.items():
                updates = []
                for weight in weights:
                    speed = self._speed[id(weight)]
                    speed.lerp_(weight.grad, 1 - self.MOMENTUM)
                    updates.append(weight.grad.lerp(speed, self.MOMENTUM))
                scale = rate * max(1.0, out / into) ** 0.5
                for weight, update in zip(weights, _orthogonal(torch.stack(updates)), strict=True):
                    weight.mul_(1 - rate * self.DECAY).add_(update, alpha=-scale)


def _orthogonal(x: Any) -> Any:
    tall = x.shape[1] > x.shape[2]
    if tall:
        x = x.mT
    x = x / (x.norm(dim=(1, 2), keepdim=True) + 1e-7)
    for _ in range(5):
        a = x @ x.mT
        x = 3.4445 * x + (-4.7750 * a + 2.0315 * a @ a) @ x  # the coefficients of the paper
    return x.mT if tall else x
