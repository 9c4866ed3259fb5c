"""GGUF headers, good and hostile."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from opengateway.engines.gguf import MAX_FIELDS, MAX_ITEMS, MAX_KEPT, MAX_TENSORS, read_header
from opengateway.errors import EngineUnavailable
from opengateway.models import pocket

HEADER = pocket.path().read_bytes()[:40_000]


def text(value: str) -> bytes:
    return struct.pack("<Q", len(value.encode())) + value.encode()


def field(key: str, value: str | int) -> bytes:
    if isinstance(value, str):
        return text(key) + struct.pack("<I", 8) + text(value)
    return text(key) + struct.pack("<II", 4, value)


def tensor(name: str, *dimensions: int) -> bytes:
    return text(name) + struct.pack(f"<I{len(dimensions)}QIQ", len(dimensions), *dimensions, 0, 0)


def made(fields: list[bytes], tensors: list[bytes], version: int = 3) -> bytes:
    return b"GGUF" + struct.pack("<IQQ", version, len(tensors), len(fields)) + b"".join(fields + tensors)


def test_the_pocket_model_is_read() -> None:
    header = read_header(pocket.path())
    assert (header.name, header.architecture, header.quantisation) == ("tiny-chat", "llama", "Q8_0")
    assert (header.context, header.size) == (1024, 1_260_928)
    assert header.parameters == pytest.approx(0.001163136)
    assert "<|im_start|>" in header.chat_template
    assert not header.embedding


def test_of_a_mixture_only_the_experts_in_use_count(tmp_path: Path) -> None:
    fields = [
        field("general.architecture", "qwen3moe"),
        field("qwen3moe.expert_count", 128),
        field("qwen3moe.expert_used_count", 8),
    ]
    tensors = [tensor("blk.0.ffn_up_exps.weight", 1000, 1000, 128), tensor("output.weight", 1000, 1000)]
    file = tmp_path / "m.gguf"
    file.write_bytes(made(fields, tensors))
    header = read_header(file)
    assert header.parameters == pytest.approx((8e6 + 1e6) / 1e9)
    assert (header.name, header.context, header.chat_template) == ("m", 0, "")


def test_an_embedding_model_is_known_by_its_pooling(tmp_path: Path) -> None:
    file = tmp_path / "m.gguf"
    fields = [field("general.architecture", "bert"), field("bert.pooling_type", 1)]
    file.write_bytes(made(fields, []))
    assert read_header(file).embedding


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (made([], []), "names no architecture"),
        (made([], [], version=1), "version is 1"),
        (b"GGUF" + struct.pack("<IQQ", 3, 1 << 60, 0), f"at most {MAX_TENSORS}"),
        (b"GGUF" + struct.pack("<IQQ", 3, 0, 1 << 60), f"at most {MAX_FIELDS}"),
        (made([struct.pack("<Q", 1 << 40)], []), f"at most {MAX_KEPT}"),
        (made([text("a") + struct.pack("<IIQ", 9, 4, 1 << 50)], []), f"at most {MAX_ITEMS}"),
        (made([text("a") + struct.pack("<IIQ", 9, 9, 1)], []), "unknown type 9"),
        (made([text("a") + struct.pack("<I", 77)], []), "unknown type 77"),
        (made([text("a") + struct.pack("<IIQQ", 9, 8, 2, (1 << 64) - 1)], []), "ends early"),
        (made([], [text("t") + struct.pack("<I", 200)]), "200 dimensions"),
    ],
)
def test_a_hostile_header_is_refused_by_its_reason(tmp_path: Path, data: bytes, words: str) -> None:
    file = tmp_path / "m.gguf"
    file.write_bytes(data)
    with pytest.raises(EngineUnavailable, match=words):
        read_header(file)


@given(st.integers(0, len(HEADER) - 1), st.binary(min_size=1, max_size=16), st.integers(24, len(HEADER)))
@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_damage_never_breaks_the_reader(tmp_path: Path, at: int, damage: bytes, length: int) -> None:
    file = tmp_path / "m.gguf"
    file.write_bytes((HEADER[:at] + damage + HEADER[at + len(damage) :])[:length])
    try:
        header = read_header(file)
    except EngineUnavailable as refusal:
        assert refusal.hint
    else:
        assert header.architecture
