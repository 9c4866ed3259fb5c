"""Which engines this node has: what the configuration says, or what is found on this machine.

A setting that names an engine is obeyed or fails loudly. With `auto` nothing found is an empty list
and a sentence that says what to do, never a made-up answer.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal, TypeAlias

from opengateway.engines import ollama
from opengateway.engines.gguf import read_header
from opengateway.engines.llama_server import LlamaServer
from opengateway.engines.openai import OpenAIServer
from opengateway.engines.protocol import Engine
from opengateway.errors import EngineUnavailable
from opengateway.models import pocket

EngineKind: TypeAlias = Literal["auto", "none", "pocket", "llama_server", "ollama", "openai"]

NOTHING_FOUND: Final = (
    "No engine was found, so this node only asks others. To serve as well, start Ollama, put a GGUF file"
    " into the models folder (opengateway models import FILE.gguf), or set engine.kind and engine.url."
)

MAX_FILES: Final = 4
"""GGUF files that `auto` serves at once, smallest first: each is a process that holds its weights."""


@dataclass(frozen=True, slots=True)
class EngineSetting:
    """The `engine` part of the configuration. None and "" mean: decide for me."""

    kind: EngineKind = "auto"
    url: str = ""
    """Of an Ollama or OpenAI-compatible server."""
    api_key: str = ""
    model: str = ""
    """Serve only this model: a name at the server, or a GGUF file (path, or name in the folder)."""
    slots: int | None = None
    threads: int | None = None
    context: int | None = None
    """Tokens per slot."""
    abilities: tuple[str, ...] = ()
    """What an OpenAI-compatible server can do beyond the usual."""


async def choose(setting: EngineSetting, *, models_dir: Path, log_dir: Path) -> list[Engine]:
    """The engines, not yet started. Raises `EngineUnavailable` where the setting cannot be met."""
    match setting.kind:
        case "none":
            return []
        case "pocket":
            return [_pocket(setting, log_dir)]
        case "llama_server":
            return [_llama(setting, file, log_dir) for file in _configured_files(setting, models_dir)]
        case "ollama":
            return [await _ollama(setting)]
        case "openai":
            return [_openai(setting)]
        case "auto":
            return await _found(setting, models_dir, log_dir)


async def _found(setting: EngineSetting, models_dir: Path, log_dir: Path) -> list[Engine]:
    engines: list[Engine] = []
    url = setting.url or ollama.default_url()
    if await ollama.detect(url):
        engines.append(_ollama_at(setting, url))
    elif setting.url:
        engines.append(_openai(setting))
    usable = [file for file in gguf_files(models_dir) if _usable(file)]
    if setting.model:
        usable = [file for file in usable if setting.model in (file.stem, file.name)]
    engines += [_llama(setting, file, log_dir) for file in usable[:MAX_FILES]]
    return engines


def gguf_files(folder: Path) -> list[Path]:
    """The GGUF files of a folder, smallest first. Of a file in parts only the first counts."""
    found = [file for file in folder.glob("*.gguf") if file.is_file()]
    parts = [file for file in found if "-of-" not in file.stem or "-00001-of-" in file.stem]
    return sorted(parts, key=lambda file: (file.stat().st_size, file.name))


def _usable(file: Path) -> bool:
    try:
        read_header(file)
    except EngineUnavailable:
        return False
    return True


def _configured_files(setting: EngineSetting, models_dir: Path) -> Sequence[Path]:
    if not setting.model:
        found = [file for file in gguf_files(models_dir) if _usable(file)]
        if found:
            return found[:MAX_FILES]
        raise EngineUnavailable(
            f"engine.kind is llama_server, but {models_dir} holds no usable GGUF file.",
            hint="Put one there with opengateway models import FILE.gguf, or set engine.model to a path.",
        )
    named = Path(setting.model).expanduser()
    for file in (named, models_dir / named, models_dir / f"{setting.model}.gguf"):
        if file.is_file():
            read_header(file)  # a broken file is told now, not after the start
            return [file]
    raise EngineUnavailable(
        f"The model file {setting.model} does not exist, here or in {models_dir}.",
        hint="Set engine.model to the path of a GGUF file.",
    )


def _pocket(setting: EngineSetting, log_dir: Path) -> Engine:
    if not pocket.verify():
        raise EngineUnavailable(
            f"The pocket model {pocket.path()} is missing or damaged.", hint="Install opengateway again."
        )
    return _llama(setting, pocket.path(), log_dir, name=pocket.NAME, demo=True)


def _llama(
    setting: EngineSetting, file: Path, log_dir: Path, *, name: str = "", demo: bool = False
) -> Engine:
    slots = {} if setting.slots is None else {"slots": setting.slots}
    return LlamaServer(
        file,
        log=log_dir / f"llama-{name or file.stem}.log",
        name=name,
        threads=setting.threads,
        context=setting.context,
        demo=demo,
        **slots,
    )


async def _ollama(setting: EngineSetting) -> Engine:
    url = setting.url or ollama.default_url()
    if not await ollama.detect(url):
        raise EngineUnavailable(
            f"engine.kind is ollama, but nothing that answers like Ollama is at {url}.",
            hint="Start it with: ollama serve. Or set engine.url to where it runs.",
            retry_after=5.0,
        )
    return _ollama_at(setting, url)


def _ollama_at(setting: EngineSetting, url: str) -> Engine:
    slots = setting.slots or ollama.SLOTS
    return ollama.Ollama(url, model=setting.model, slots=slots, context=setting.context)


def _openai(setting: EngineSetting) -> Engine:
    if not setting.url.startswith(("http://", "https://")):
        raise EngineUnavailable(
            f"engine.url is {setting.url!r}, and an address such as http://127.0.0.1:8000/v1 is needed.",
            hint="Set engine.url to the base of an OpenAI-compatible API.",
        )
    slots = {} if setting.slots is None else {"slots": setting.slots}
    return OpenAIServer(
        setting.url, setting.api_key, model=setting.model, abilities=setting.abilities, **slots
    )
