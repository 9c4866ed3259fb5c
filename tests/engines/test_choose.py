"""Which engine a node gets: what is configured, or what is found; nothing is made up."""

from __future__ import annotations

import asyncio
import shutil
from pathlib import Path

import pytest
from aiohttp import web
from engine_lab import serving

from opengateway.engines.choose import NOTHING_FOUND, EngineSetting, choose, gguf_files
from opengateway.engines.llama_server import LlamaServer
from opengateway.engines.ollama import Ollama
from opengateway.engines.openai import OpenAIServer
from opengateway.engines.protocol import Engine
from opengateway.errors import EngineUnavailable
from opengateway.models import pocket

NOWHERE = "http://127.0.0.1:9"
"""The discard port: nothing listens there."""


@pytest.fixture(autouse=True)
def _no_ollama_of_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OLLAMA_HOST", NOWHERE)


def chosen(setting: EngineSetting, folder: Path) -> list[Engine]:
    return asyncio.run(choose(setting, models_dir=folder / "models", log_dir=folder / "logs"))


def with_models(folder: Path, *names: str) -> None:
    (folder / "models").mkdir()
    for name in names:
        shutil.copy(pocket.path(), folder / "models" / name)


def test_nothing_found_is_nothing_and_a_hint_says_what_to_do(tmp_path: Path) -> None:
    assert chosen(EngineSetting(), tmp_path) == []
    assert chosen(EngineSetting(kind="none"), tmp_path) == []
    assert "Ollama" in NOTHING_FOUND
    assert "opengateway models import" in NOTHING_FOUND


def test_every_usable_file_in_the_folder_is_served(tmp_path: Path) -> None:
    with_models(tmp_path, "one.gguf", "two.gguf", "big-00001-of-00002.gguf", "big-00002-of-00002.gguf")
    (tmp_path / "models" / "broken.gguf").write_bytes(b"half a download")
    engines = chosen(EngineSetting(slots=2), tmp_path)
    assert sorted(e.model for e in engines if isinstance(e, LlamaServer)) == [
        "big-00001-of-00002", "one", "two",
    ]  # fmt: skip
    assert {e.slots for e in engines} == {2}
    assert len(gguf_files(tmp_path / "models")) == 4
    (only,) = chosen(EngineSetting(model="two"), tmp_path)
    assert isinstance(only, LlamaServer)
    assert only.model == "two"


def test_ollama_is_found_where_it_listens(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def answer(request: web.Request) -> web.Response:
        return web.Response(text="Ollama is running")

    async def main() -> None:
        async with serving(answer) as url:
            monkeypatch.setenv("OLLAMA_HOST", url)
            for kind in ("auto", "ollama"):
                setting = EngineSetting(kind=kind)
                (engine,) = await choose(setting, models_dir=tmp_path, log_dir=tmp_path)
                assert isinstance(engine, Ollama)
                assert engine.url == url

    asyncio.run(main())


def test_an_address_that_is_not_ollama_is_taken_for_openai(tmp_path: Path) -> None:
    for kind in ("auto", "openai"):
        (engine,) = chosen(EngineSetting(kind=kind, url=NOWHERE, slots=3), tmp_path)
        assert isinstance(engine, OpenAIServer)
        assert engine.slots == 3


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        (EngineSetting(kind="ollama"), "ollama serve"),
        (EngineSetting(kind="openai"), "engine.url"),
        (EngineSetting(kind="openai", url="localhost:8000"), "engine.url"),
        (EngineSetting(kind="llama_server"), "models import"),
        (EngineSetting(kind="llama_server", model="missing"), "engine.model"),
    ],
)
def test_a_setting_that_cannot_be_met_fails_and_says_what_to_do(
    tmp_path: Path, setting: EngineSetting, words: str
) -> None:
    with pytest.raises(EngineUnavailable) as refusal:
        chosen(setting, tmp_path)
    assert words in refusal.value.hint


def test_the_pocket_model_is_served_by_its_name_and_only_as_a_demo(tmp_path: Path) -> None:
    async def main() -> None:
        setting = EngineSetting(kind="pocket", threads=1)
        (engine,) = await choose(setting, models_dir=tmp_path / "none", log_dir=tmp_path / "logs")
        await engine.start()
        try:
            (info,) = await engine.models()
            assert (info.name, info.demo) == ("pocket", True)
        finally:
            await engine.close()

    asyncio.run(main())


def test_a_named_file_is_served_from_anywhere(tmp_path: Path) -> None:
    with_models(tmp_path, "one.gguf")
    for name in ("one", "one.gguf", str(pocket.path())):
        (engine,) = chosen(EngineSetting(kind="llama_server", model=name), tmp_path)
        assert isinstance(engine, LlamaServer)
