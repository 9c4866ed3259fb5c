"""What an auditor demands beyond the rules that every ledger keeps: a JSON file, all of it optional.

{"witnesses": ["<node id>", ...], "quorum": 4,     who may cosign checkpoints, how many must
 "auditors": ["<node id>", ...],                   whose certificates count
 "credit_limit": 50,                               credits that may be spent and held beyond what was earned
 "price_cap": 7000,                                ucr per token
 "tokens_per_s": 500}                              faster than this, an answer is implausible
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NamedTuple

from opengateway.identity import from_base32
from opengateway.units import CREDIT

TOKENS_PER_S = 20_000
"""No model answers one request faster; the fastest hardware sold does some 3,000."""


class Policy(NamedTuple):
    witnesses: frozenset[bytes] = frozenset()
    """Empty: anybody."""
    quorum: int | None = None
    auditors: frozenset[bytes] = frozenset()
    credit: int | None = None
    """ucr."""
    price_cap: int | None = None
    tokens_per_s: int = TOKENS_PER_S


class PolicyInvalid(ValueError):
    """The text says what is wrong with it."""


def read_policy(path: Path) -> Policy:
    """Raises `PolicyInvalid`."""
    try:
        given = json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        raise PolicyInvalid(f"{path} cannot be read: {error}") from error
    if type(given) is not dict:
        raise PolicyInvalid(f"{path} is not a JSON object")
    known = {"witnesses", "quorum", "auditors", "credit_limit", "price_cap", "tokens_per_s"}
    if unknown := sorted(set(given) - known):
        raise PolicyInvalid(f"{path}: unknown: {', '.join(unknown)}; known: {', '.join(sorted(known))}")
    credit = _count(given, "credit_limit")
    policy = Policy(
        _nodes(given, "witnesses"),
        _count(given, "quorum"),
        _nodes(given, "auditors"),
        None if credit is None else credit * CREDIT,
        _count(given, "price_cap"),
        _count(given, "tokens_per_s") or TOKENS_PER_S,
    )
    if policy.quorum is not None and policy.witnesses and policy.quorum > len(policy.witnesses):
        raise PolicyInvalid(f"{path}: a quorum of {policy.quorum} among {len(policy.witnesses)} witnesses")
    return policy


def _count(given: dict[str, Any], name: str) -> int | None:
    value = given.get(name)
    if value is None or (type(value) is int and value >= 0):
        return value
    raise PolicyInvalid(f"{name} must be a whole number: {value!r}")


def _nodes(given: dict[str, Any], name: str) -> frozenset[bytes]:
    try:
        return frozenset(from_base32(text) for text in given.get(name, []))
    except (ValueError, AttributeError, TypeError) as error:
        raise PolicyInvalid(f"{name} must be a list of node ids: {error}") from error
