"""The ten model tiers: what a machine must have to serve each, and the names it goes by.

A tier is a class of need. The names are those of Ollama's library (a successor of the same size and
family, such as smollm2 for smollm, needs the same machine); GGUF files and Hugging Face repositories
are recognised by family and size, whatever their quantisation.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any, Final

from opengateway.models.machine import Machine

GB: Final = 10**9
"""Needs are decimal: a "4 GB" machine shows some 3.8 GiB to its programs, which is 4.1 GB."""


@dataclass(frozen=True, slots=True)
class Tier:
    name: str
    cores: int
    ram_gb: int
    gpu_gb: int
    disk_gb: int
    parameters: float
    """Active parameters in billions, as in the model's published weights: the price follows them."""
    ollama: tuple[str, ...]
    """Names under which Ollama serves it, the usual one first."""
    _form: re.Pattern[str] = field(repr=False)

    def matches(self, canonical: str) -> bool:
        return self._form.match(canonical) is not None


def _tier(
    name: str, needs: tuple[int, int, int, int], parameters: float, ollama: tuple[str, ...], form: str
) -> Tier:
    return Tier(name, *needs, parameters, ollama, re.compile(form))


_LLAMA = r"(?:meta-)?llama-?"
_BARE = r"(?:-latest)?$"

TIERS: Final = (
    _tier("SmolLM-360M", (1, 1, 0, 2), 0.36, ("smollm:360m", "smollm2:360m"), r"smollm2?-360m\b"),
    _tier("Qwen2-0.5B", (1, 2, 0, 3), 0.49, ("qwen2:0.5b", "qwen2.5:0.5b"), r"qwen-?2(?:\.5)?-0\.5b\b"),
    _tier(
        "SmolLM-1.7B",
        (1, 4, 0, 5),
        1.71,
        ("smollm:1.7b", "smollm2:1.7b", "smollm", "smollm2"),
        rf"smollm2?(?:-1\.7b\b|{_BARE})",
    ),
    _tier(
        "TinyLlama-1.1B",
        (2, 1, 0, 2),
        1.1,
        ("tinyllama:1.1b", "tinyllama"),
        rf"tinyllama(?:-1\.1b\b|-chat|{_BARE})",
    ),
    _tier(
        "Phi-2-2.7B",
        (2, 2, 0, 3),
        2.78,
        ("phi:2.7b", "phi"),
        rf"phi(?:-2(?=[-_.]q|-|$)|-2\.7b\b|-chat|{_BARE})",
    ),
    _tier("Llama-3.2-1.5B", (2, 4, 0, 5), 1.24, ("llama3.2:1b",), rf"{_LLAMA}3\.2-1(?:\.5)?b\b"),
    _tier(
        "Llama-3.2-3B",
        (4, 8, 0, 20),
        3.21,
        ("llama3.2:3b", "llama3.2"),
        rf"{_LLAMA}3\.2(?:-3b\b|{_BARE})",
    ),
    _tier(
        "Llama-3.1-8B",
        (4, 12, 8, 30),
        8.03,
        ("llama3.1:8b", "llama3.1"),
        rf"{_LLAMA}3\.1(?:-8b\b|{_BARE})",
    ),
    _tier("Llama-3.1-70B", (8, 32, 24, 150), 70.6, ("llama3.1:70b",), rf"{_LLAMA}3\.1-70b\b"),
    _tier("Llama-3.1-405B", (16, 64, 48, 500), 405.9, ("llama3.1:405b",), rf"{_LLAMA}3\.1-405b\b"),
)


def tier_of(model_name: str) -> Tier | None:
    """The tier of a model by any of its names; None for one that is not among the ten.

    `llama3.2:3b-instruct-q4_K_M`, `Llama-3.2-3B-Instruct-Q4_K_M.gguf`, `bartowski/Llama-3.2-3B-Instruct-GGUF`
    and `Llama-3.2-3B` are one tier.
    """
    plain = _plain(model_name)
    return next((tier for tier in TIERS if tier.matches(plain)), None)


def canonical(model_name: str) -> str:
    """One lower-case name for all spellings of a model: its tier's, else its own in `a-z 0-9 . -`.

    It names clusters, so it holds nothing that a file name, URL or topic could not.
    """
    tier = tier_of(model_name)
    plain = tier.name.lower() if tier else _plain(model_name)
    return re.sub(r"[^a-z0-9.]+", "-", plain).strip("-.")[:64] or "model"


def _plain(model_name: str) -> str:
    # The last part of a path, repository or registry address; a tag separator is as good as a dash.
    last = model_name.strip().lower().replace("\\", "/").rpartition("/")[2]
    return re.sub(r"[:_\s]+", "-", last.removesuffix(".gguf"))


@dataclass(frozen=True, slots=True)
class Eligibility:
    """Whether this machine may serve a tier, and if not, every reason in words."""

    tier: Tier
    why_not: tuple[str, ...]

    @property
    def eligible(self) -> bool:
        return not self.why_not

    def as_json(self) -> dict[str, Any]:
        """As in `/node/eligible`, but for `serving`, which only a running node knows."""
        tier = self.tier
        needs = {name: getattr(tier, name) for name in ("cores", "ram_gb", "gpu_gb", "disk_gb")}
        return {
            "name": tier.name,
            "eligible": self.eligible,
            "why": list(self.why_not),
            "needs": needs,
            "ollama": list(tier.ollama),
        }


def eligible(machine: Machine) -> list[Eligibility]:
    """One verdict per tier, smallest first."""
    return [Eligibility(tier, tuple(_why_not(tier, machine))) for tier in TIERS]


def _why_not(tier: Tier, machine: Machine) -> list[str]:
    reasons = []
    if machine.cores < tier.cores:
        reasons.append(f"needs {tier.cores} CPU cores, has {machine.cores}")
    if machine.ram_bytes < tier.ram_gb * GB:
        reasons.append(f"needs {tier.ram_gb} GB of RAM, has {_gb(machine.ram_bytes)}")
    if machine.gpu_bytes < tier.gpu_gb * GB:
        has = _gb(machine.gpu_bytes) if machine.gpus else "no GPU"
        reasons.append(f"needs {tier.gpu_gb} GB of GPU memory, has {has}")
    if machine.disk_free_bytes < tier.disk_gb * GB:
        reasons.append(f"needs {tier.disk_gb} GB of free disk, has {_gb(machine.disk_free_bytes)}")
    return reasons


def _gb(amount: int) -> str:
    # Cut, not rounded: "needs 8 GB, has 8 GB" would read like a mistake.
    return f"{amount // 10**8 / 10:g} GB"
