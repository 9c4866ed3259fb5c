"""What the owner of a node can set, in one schema: the dataclass below and its sections (sections.py).

config.json is nested as the dataclasses are (`{"http": {"port": 11435}}`); the command line writes the
same keys with dots (`opengateway config set http.port 0`). A missing file or key means the default.
All mistakes are reported at once, each with what was probably meant (mopidy's rule: nobody should
start five times to find five typos).
"""

from __future__ import annotations

import dataclasses
import json
import socket
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, TypeVar, cast

from opengateway import regions
from opengateway.errors import ConfigInvalid, SetupError, UnknownRegion
from opengateway.home import Home, write_atomically
from opengateway.schema import (
    Key,
    Value,
    flatten,
    kind_of,
    lower_first,
    nest,
    problem,
    setting,
    typed,
    unfolded,
    unknown,
)
from opengateway.sections import (
    BootstrapConfig,
    ContributeConfig,
    DhtConfig,
    EngineConfig,
    HttpConfig,
    LanConfig,
    LedgerConfig,
    LogConfig,
    NetworkConfig,
    PriceConfig,
    RelayConfig,
    WireConfig,
)

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Config:
    region: str = setting("", "where this node is; empty guesses from the timezone", form="region")
    cluster_registry_url: str = setting("", "file or URL that lists the clusters", form="location")
    node_name: str = setting("", "what others see; empty is the host name", form="name")
    default_model: str = setting("", "model for prompts that name none")
    aliases: tuple[str, ...] = setting(
        (), "other names for models, for programs that insist on theirs", form="aliases"
    )
    network: NetworkConfig = field(default_factory=NetworkConfig)
    http: HttpConfig = field(default_factory=HttpConfig)
    wire: WireConfig = field(default_factory=WireConfig)
    relay: RelayConfig = field(default_factory=RelayConfig)
    lan: LanConfig = field(default_factory=LanConfig)
    dht: DhtConfig = field(default_factory=DhtConfig)
    bootstrap: BootstrapConfig = field(default_factory=BootstrapConfig)
    engine: EngineConfig = field(default_factory=EngineConfig)
    contribute: ContributeConfig = field(default_factory=ContributeConfig)
    price: PriceConfig = field(default_factory=PriceConfig)
    ledger: LedgerConfig = field(default_factory=LedgerConfig)
    log: LogConfig = field(default_factory=LogConfig)

    @property
    def place(self) -> regions.Region:
        """The node's region, guessed if none is set. The one place that decides it."""
        return regions.region(self.region) if self.region else regions.guess()

    @property
    def place_is_guessed(self) -> bool:
        return not self.region

    @property
    def name(self) -> str:
        """The node's name for people."""
        return self.node_name or socket.gethostname().partition(".")[0] or "node"


KEYS: Final[dict[str, Key]] = flatten(Config)
"""Every key by its dotted name, in the order of the classes above."""

SECTIONS: Final = tuple(dict.fromkeys(name.partition(".")[0] for name in KEYS if "." in name))


def load(home: Home) -> Config:
    """The configuration of `home`; defaults where config.json says nothing, or is not there.

    Raises `ConfigInvalid` (every mistake), `UnknownRegion` (the only one), `SetupError` (unreadable).
    """
    return parse(read(home.config), home.config)


def read(path: Path) -> dict[str, Any]:
    """What is written in config.json, unchecked except that it is a JSON object."""
    try:
        text = path.read_text("utf-8")
    except (FileNotFoundError, NotADirectoryError):  # the latter is the home's trouble, and told by it
        return {}
    except UnicodeDecodeError as error:
        raise ConfigInvalid(f"{path} is not a text file", hint=f"restore it, or: rm {path}") from error
    except OSError as error:
        why = (error.strerror or str(error)).lower()
        mend = f"it must be a file: mv {path} {path}.old" if path.is_dir() else f"chmod u+r {path}"
        raise SetupError(f"cannot read the configuration {path}: {why}", hint=mend) from error
    if not text.strip():
        return {}
    try:
        written = json.loads(text, object_pairs_hook=_no_twins)
    except json.JSONDecodeError as error:
        raise ConfigInvalid(
            f"{path} is not JSON: line {error.lineno}, column {error.colno}: {lower_first(error.msg)}",
            hint="use double quotes and no comma after the last value; then `opengateway config check`",
        ) from error
    except RecursionError as error:
        raise ConfigInvalid(f"{path} is nested too deeply") from error
    if not isinstance(written, dict):
        raise ConfigInvalid(
            f"{path} must hold one JSON object, not {kind_of(written)}",
            hint='the smallest is {}; an example: {"region": "us-east-1"}',
        )
    return written


def parse(written: dict[str, Any], path: Path | None = None) -> Config:
    """Check nested settings against the schema. Raises as `load` does."""
    problems: list[str] = []
    values = _check(written, problems)
    if problems:
        raise _invalid(problems, path)
    return _build(Config, values)


def override(config: Config, changes: dict[str, Value]) -> Config:
    """`config` with dotted keys replaced, checked as if they stood in the file."""
    return parse(nest(flat(config) | changes))


def flat(config: Config) -> dict[str, Value]:
    """Every key with its value, dotted."""
    found: dict[str, Value] = {}
    for name in KEYS:
        value: Any = config
        for part in name.split("."):
            value = getattr(value, part)
        found[name] = value
    return found


def change(home: Home, name: str, text: str | None) -> Config:
    """Write one key (`text` as typed on a command line; None removes it). Returns the new configuration.

    Nothing is written unless the whole file is valid with it: the owner's other keys stay as they are.
    """
    key = known_key(name)
    return settle(home, {name: None if text is None else typed(key, text)})


def settle(home: Home, changes: dict[str, Any]) -> Config:
    """Write several keys at once, by their dotted names (None removes one); none if one is wrong."""
    written = read(home.config)
    before = _mistakes(written)
    for name, value in changes.items():
        place = written
        *sections, last = name.split(".")
        for section in sections:
            inner = place.setdefault(section, {})
            if not isinstance(inner, dict):
                inner = place[section] = {}
            place = inner
        if value is None:
            place.pop(last, None)
        else:
            place[last] = list(value) if isinstance(value, tuple) else value
    # Mending a broken file key by key must work: only what this change adds is held against it.
    if fresh := [mistake for mistake in _mistakes(written) if mistake not in before]:
        raise _invalid(fresh, None)
    home.path.mkdir(parents=True, exist_ok=True)
    # 0600: it may hold the network's secret and an engine's key.
    write_atomically(
        home.config, json.dumps(written, indent=2, ensure_ascii=False).encode() + b"\n", mode=0o600
    )
    return parse(written, home.config)


def known_key(name: str) -> Key:
    """The key with this dotted name. Raises `ConfigInvalid` with what was probably meant."""
    if (key := KEYS.get(name)) is None:
        raise ConfigInvalid(unknown(name, KEYS, SECTIONS), hint="see them all with `opengateway config get`")
    return key


def _mistakes(written: dict[str, Any]) -> list[str]:
    problems: list[str] = []
    _check(written, problems)
    return problems


def _check(written: dict[str, Any], problems: list[str]) -> dict[str, Value]:
    values: dict[str, Value] = {}
    for name, value in _dotted(written, "", problems):
        if name not in KEYS:
            problems.append(unknown(name, KEYS, SECTIONS))
            continue
        value = unfolded(KEYS[name], value)  # noqa: PLW2901
        if wrong := problem(KEYS[name], value):
            problems.append(wrong)
        else:
            values[name] = tuple(value) if isinstance(value, list) else value
    return values


def _dotted(written: dict[str, Any], prefix: str, problems: list[str]) -> list[tuple[str, Any]]:
    found: list[tuple[str, Any]] = []
    for name, value in written.items():
        if not prefix and name in SECTIONS:
            if isinstance(value, dict):
                found += _dotted(value, f"{name}.", problems)
            else:
                problems.append(f'"{name}" must be an object of its own keys, not {kind_of(value)}')
        else:
            found.append((prefix + name, value))
    return found


def _invalid(problems: list[str], path: Path | None) -> ConfigInvalid:
    where = f"in {path}" if path else "in the settings"
    only_region = len(problems) == 1 and problems[0].startswith('"region": ')
    kind = UnknownRegion if only_region else ConfigInvalid
    if len(problems) == 1:
        text = problems[0].removeprefix('"region": ') if only_region else problems[0]
        message = f"{text} ({where})" if path else text
    else:
        message = f"{len(problems)} mistakes {where}:" + "".join(f"\n  - {line}" for line in problems)
    hint = "see every key with `opengateway config get`, then `opengateway config set KEY VALUE`"
    if only_region:
        hint = "set a known one: `opengateway config set region us-east-1`; without one it is guessed"
    return kind(message, hint=hint)


def _build(kind: type[T], values: dict[str, Value], prefix: str = "") -> T:
    given: dict[str, Any] = {}
    for item in dataclasses.fields(cast(Any, kind)):
        if not item.metadata:
            inner = cast(type[Any], item.default_factory)
            given[item.name] = _build(inner, values, f"{prefix}{item.name}.")
        elif prefix + item.name in values:
            given[item.name] = values[prefix + item.name]
    return kind(**given)


def _no_twins(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    seen: dict[str, Any] = {}
    for name, value in pairs:
        if name in seen:
            raise ConfigInvalid(
                f'config.json says "{name}" twice in one place, and only one of them can hold',
                hint="remove one of the two",
            )
        seen[name] = value
    return seen
