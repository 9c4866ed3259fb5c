"""A llama-architecture language model in plain torch, its weights named as GGUF names them.

Interleaved RoPE is ggml's "normal" kind, so q and k need no permutation at export; the output layer is the
embedding (llama.cpp reuses token_embd.weight where output.weight is absent).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as f

EPSILON = 1e-5


@dataclass(frozen=True)
class Shape:
    """The shipped model's. `width` and `inner` are multiples of 32, which q8_0 needs."""

    vocabulary: int
    width: int = 128
    layers: int = 5
    heads: int = 2
    inner: int = 384
    context: int = 1024
    rope_base: float = 10_000.0

    @property
    def head_width(self) -> int:
        return self.width // self.heads


class Model:
    """`weights`: name -> tensor, shape (out, in), or (width,) for norms."""

    def __init__(self, shape: Shape, generator: Any) -> None:
        self.shape = shape
        self.weights: dict[str, Any] = {}
        spread = 0.02
        narrow = spread / math.sqrt(2 * shape.layers)  # what adds to the residual stream starts smaller

        def matrix(name: str, out: int, into: int, std: float) -> None:
            self.weights[name] = torch.randn(out, into, generator=generator).mul_(std)

        def norm(name: str) -> None:
            self.weights[name] = torch.ones(shape.width)

        matrix("token_embd.weight", shape.vocabulary, shape.width, spread)
        norm("output_norm.weight")
        for i in range(shape.layers):
            block = f"blk.{i}."
            norm(block + "attn_norm.weight")
            for name in ("attn_q", "attn_k", "attn_v"):
                matrix(f"{block}{name}.weight", shape.width, shape.width, spread)
            matrix(block + "attn_output.weight", shape.width, shape.width, narrow)
            norm(block + "ffn_norm.weight")
            for name in ("ffn_gate", "ffn_up"):
                matrix(f"{block}{name}.weight", shape.inner, shape.width, spread)
            matrix(block + "ffn_down.weight", shape.width, shape.inner, narrow)
        for weight in self.weights.values():
            weight.requires_grad_()
        half = torch.arange(0, shape.head_width, 2).float() / shape.head_width
        angles = torch.arange(shape.context).float()[:, None] * shape.rope_base**-half
        self._cos, self._sin = angles.cos(), angles.sin()

    @property
    def parameters(self) -> int:
        return sum(weight.numel() for weight in self.weights.values())

    def hidden(self, ids: Any) -> Any:
        """(batch, tokens) of ids -> (batch, tokens, width) before the output layer."""
        x = self.weights["token_embd.weight"][ids]
        for i in range(self.shape.layers):
            block = f"blk.{i}."
            x = x + self._attention(block, self._norm(block + "attn_norm", x))
            y = self._norm(block + "ffn_norm", x)
            gated = f.silu(self._linear(block + "ffn_gate", y)) * self._linear(block + "ffn_up", y)
            x = x + self._linear(block + "ffn_down", gated)
        return self._norm("output_norm", x)

    def logits(self, hidden: Any) -> Any:
        return f.linear(hidden, self.weights["token_embd.weight"])

    def greedy(self, ids: list[int], end: int, limit: int) -> list[int]:
        """The tokens that follow, always the likeliest; for the report after training."""
        begun = len(ids)
        with torch.no_grad():
            while len(ids) - begun < limit:
                token = int(self.logits(self.hidden(torch.tensor([ids]))[0, -1]).argmax())
                if token == end:
                    break
                ids = [*ids, token]
        return ids[begun:]

    def _attention(self, block: str, y: Any) -> Any:
        batch, tokens, width = y.shape

        def heads(name: str) -> Any:
            parts = self._linear(block + name, y).view(batch, tokens, self.shape.heads, self.shape.head_width)
            return parts.transpose(1, 2)

        q, k = self._rotated(heads("attn_q")), self._rotated(heads("attn_k"))
        mixed = f.scaled_dot_product_attention(q, k, heads("attn_v"), is_causal=True)
        return self._linear(block + "attn_output", mixed.transpose(1, 2).reshape(batch, tokens, width))

    def _rotated(self, t: Any) -> Any:
        cos, sin = self._cos[: t.shape[2]], self._sin[: t.shape[2]]
        a, b = t[..., 0::2], t[..., 1::2]
        return torch.stack((a * cos - b * sin, a * sin + b * cos), -1).flatten(-2)

    def _linear(self, name: str, x: Any) -> Any:
        return f.linear(x, self.weights[name + ".weight"])

    def _norm(self, name: str, x: Any) -> Any:
        return f.rms_norm(x, (x.shape[-1],), self.weights[name + ".weight"], EPSILON)
