"""What the fuzzer found worth keeping, put to the same targets without it."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest

from tools.fuzz.__main__ import CORPUS, KEPT
from tools.fuzz.targets import TARGETS, Defect, Target

CHANGED = 4
"""Changed copies tried of each input: a byte flipped, cut off, doubled, or a run taken out."""


def inputs(name: str) -> list[Path]:
    return sorted((CORPUS / name).iterdir())


@pytest.mark.parametrize("name", TARGETS)
def test_every_input_that_was_kept_is_taken_or_refused_as_documented(name: str) -> None:
    kept = inputs(name)
    assert kept, f"no inputs: python -m tools.fuzz --keep {name}"
    taken = [TARGETS[name].run(file.read_bytes()) for file in kept]
    assert any(taken), "nothing that this target accepts is among them"
    assert name == "export" or not all(taken), "nor anything that it refuses"


@pytest.mark.parametrize("name", TARGETS)
def test_seeds_are_accepted_and_their_neighbours_do_no_harm(name: str) -> None:
    target, chance = TARGETS[name], random.Random(name)
    seeds = target.seeds()
    assert all(target.run(seed) for seed in seeds)
    for seed in seeds[:12]:
        for _ in range(CHANGED):
            target.run(changed(seed, chance))


def changed(data: bytes, chance: random.Random) -> bytes:
    if not data:
        return b"\x00"
    place = chance.randrange(len(data))
    return chance.choice(
        [
            data[:place] + bytes([data[place] ^ 1 << chance.randrange(8)]) + data[place + 1 :],
            data[:place],
            data[:place] + data[place:] * 2,
            data[:place] + data[place + chance.randrange(1, 9) :],
        ]
    )


def test_what_is_kept_is_small() -> None:
    for name in TARGETS:
        assert len(inputs(name)) <= 2 * KEPT
    assert sum(file.stat().st_size for name in TARGETS for file in inputs(name)) < 400_000


def test_a_target_reports_what_must_never_be(monkeypatch: pytest.MonkeyPatch) -> None:
    """The check itself: a reader that accepts a second encoding of the same value is found out."""
    from opengateway.wire import cbor

    monkeypatch.setattr(cbor, "decode", json.loads)
    monkeypatch.setattr(cbor, "encode", lambda value: json.dumps(value).encode())
    target: Target = TARGETS["cbor"]
    assert target.run(b"[1, 2]")
    with pytest.raises(Defect):
        target.run(b"[1,2]")
