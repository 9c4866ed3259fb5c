"""What a token costs, in ucr (1 credit = 1,000,000 ucr), by integers only.

The reference follows the work: a completion token takes about 2 operations per active parameter and is
bound by memory, a prompt token is batched and measured about eight times cheaper. So 1000 ucr and 125 ucr
per billion active parameters: a 7B model costs 7000 and 875. A node may ask for anything up to the cap.
"""

from __future__ import annotations

from typing import NamedTuple

PRICE_CAP = 1_000_000
"""ucr per token that no offer may exceed: one credit, twice the reference of a 405B dense model. It keeps a
typing error from emptying an account, and 2^62 far away."""


class Price(NamedTuple):
    """ucr per token."""

    prompt: int
    completion: int


FREE = Price(0, 0)


def reference_price(active_parameters: int) -> Price:
    """The price that a node asks for unless told otherwise. `active_parameters`: a count, not billions
    (for a mixture of experts those that work on one token). Rounded down, but never to nothing: a
    completion token costs at least 1 ucr, so that even the pocket model's receipts carry an amount."""
    if active_parameters <= 0:
        raise ValueError(f"a model has parameters: {active_parameters}")
    completion = max(1, active_parameters // 1_000_000)
    prompt = active_parameters // 8_000_000
    return Price(min(prompt, PRICE_CAP), min(completion, PRICE_CAP))


def cost(prompt_tokens: int, completion_tokens: int, price_prompt: int, price_completion: int) -> int:
    """ucr, exactly."""
    return prompt_tokens * price_prompt + completion_tokens * price_completion
