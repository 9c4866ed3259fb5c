import pytest

from opengateway.models.catalog import GB, TIERS, canonical, eligible, tier_of
from opengateway.models.gpus import Gpu
from opengateway.models.machine import Machine


def machine(cores: int, ram_gb: float, gpu_gb: float, disk_gb: float) -> Machine:
    gpus = (Gpu("card", int(gpu_gb * GB), "nvidia"),) if gpu_gb else ()
    return Machine(cores, cores, "cpu", int(ram_gb * GB), gpus, int(1000 * GB), int(disk_gb * GB), "Linux")


def names(found: Machine) -> list[str]:
    return [verdict.tier.name for verdict in eligible(found) if verdict.eligible]


def test_the_ten_tiers_need_what_they_always_needed() -> None:
    assert {t.name: (t.cores, t.ram_gb, t.gpu_gb, t.disk_gb) for t in TIERS} == {
        "SmolLM-360M": (1, 1, 0, 2),
        "Qwen2-0.5B": (1, 2, 0, 3),
        "SmolLM-1.7B": (1, 4, 0, 5),
        "TinyLlama-1.1B": (2, 1, 0, 2),
        "Phi-2-2.7B": (2, 2, 0, 3),
        "Llama-3.2-1.5B": (2, 4, 0, 5),
        "Llama-3.2-3B": (4, 8, 0, 20),
        "Llama-3.1-8B": (4, 12, 8, 30),
        "Llama-3.1-70B": (8, 32, 24, 150),
        "Llama-3.1-405B": (16, 64, 48, 500),
    }


def test_every_tier_is_found_by_its_own_name_and_by_all_its_names_in_ollama() -> None:
    for tier in TIERS:
        for name in (tier.name, *tier.ollama):
            assert tier_of(name) is tier, name


@pytest.mark.parametrize(
    ("name", "tier"),
    [
        ("llama3.2:3b-instruct-q4_K_M", "Llama-3.2-3B"),
        ("Llama-3.2-3B-Instruct-Q4_K_M.gguf", "Llama-3.2-3B"),
        ("/home/u/models/Llama-3.2-3B-Instruct.gguf", "Llama-3.2-3B"),
        ("hf.co/bartowski/Llama-3.2-3B-Instruct-GGUF:Q4_K_M", "Llama-3.2-3B"),
        ("meta-llama/Llama-3.2-1B-Instruct", "Llama-3.2-1.5B"),
        ("Meta-Llama-3.1-8B-Instruct-Q4_K_M.gguf", "Llama-3.1-8B"),
        ("llama3.1:70b-instruct-q2_K", "Llama-3.1-70B"),
        ("phi-2.Q4_K_M.gguf", "Phi-2-2.7B"),
        ("microsoft/phi-2", "Phi-2-2.7B"),
        ("phi:latest", "Phi-2-2.7B"),
        ("TinyLlama-1.1B-Chat-v1.0.Q4_K_M.gguf", "TinyLlama-1.1B"),
        ("HuggingFaceTB/SmolLM-360M-Instruct", "SmolLM-360M"),
        ("Qwen/Qwen2-0.5B-Instruct", "Qwen2-0.5B"),
    ],
)
def test_a_model_is_known_by_whatever_it_is_called(name: str, tier: str) -> None:
    found = tier_of(name)
    assert found and found.name == tier


@pytest.mark.parametrize(
    "name",
    [
        "phi3",
        "phi3:mini",
        "llama3.2-vision:11b",
        "Llama-3.2-11B-Vision",
        "qwen2.5-coder:0.5b",
        "llama2",
        "",
        "x" * 999,
    ],
)
def test_a_relative_is_not_mistaken_for_a_tier(name: str) -> None:
    assert tier_of(name) is None


def test_a_small_laptop_may_serve_the_small_ones() -> None:
    assert names(machine(2, 4, 0, 50)) == [
        "SmolLM-360M", "Qwen2-0.5B", "SmolLM-1.7B", "TinyLlama-1.1B", "Phi-2-2.7B", "Llama-3.2-1.5B"
    ]  # fmt: skip


def test_a_machine_sold_with_4_gb_counts_as_4_gb() -> None:
    assert "Llama-3.2-1.5B" in names(machine(2, 3.8 * 1.073741824, 0, 50))


def test_a_big_machine_may_serve_all() -> None:
    assert len(names(machine(16, 64, 48, 500))) == 10
    assert len(names(machine(16, 64, 47.9, 500))) == 9


def test_why_not_names_every_reason() -> None:
    verdict = eligible(machine(4, 8, 0, 10))[-1]
    assert verdict.why_not == (
        "needs 16 CPU cores, has 4",
        "needs 64 GB of RAM, has 8 GB",
        "needs 48 GB of GPU memory, has no GPU",
        "needs 500 GB of free disk, has 10 GB",
    )


@pytest.mark.parametrize(
    ("name", "plain"),
    [
        ("llama3.2", "llama-3.2-3b"),
        ("gemma2:9b", "gemma2-9b"),
        ("../../etc/passwd", "passwd"),
        ("a b\x00c/d\nö", "d"),
        ("", "model"),
        ("..", "model"),
    ],
)
def test_a_canonical_name_is_safe_in_files_and_topics(name: str, plain: str) -> None:
    assert canonical(name) == plain
