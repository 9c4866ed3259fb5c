"""Settings as a schema: what each key is for, which values it takes, and what is wrong with others.

A key is a dataclass field made by `setting`, so that default, type and documentation stand in one
place (see `config.py`). Nothing here reads or writes a file.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar, cast

from opengateway import regions
from opengateway.closest import closest
from opengateway.errors import UnknownRegion
from opengateway.hours import read_span
from opengateway.identity import from_base32

T = TypeVar("T")
Value = str | int | bool | tuple[str, ...]

MOST_PORT: Final = 65535
MOST_TEXT: Final = 4096
"""Characters in any one value: none that is meant comes near it."""


def setting(
    default: T,
    doc: str,
    *,
    one_of: tuple[str, ...] = (),
    least: int = 0,
    most: int = 0,
    form: str = "text",
    secret: bool = False,
) -> T:
    meta = {"doc": doc, "one_of": one_of, "least": least, "most": most, "form": form, "secret": secret}
    made: T = field(default=default, metadata=meta)
    return made


@dataclass(frozen=True, slots=True)
class Key:
    """One setting: the schema as `config get`, `config check` and the documentation show it."""

    name: str
    default: Value
    doc: str
    one_of: tuple[str, ...]
    least: int
    most: int
    form: str
    secret: bool

    @property
    def wants(self) -> str:
        """In words, after "must be"."""
        if self.one_of:
            return "one of " + ", ".join(self.one_of)
        if isinstance(self.default, bool):
            return "true or false"
        if isinstance(self.default, int):
            return f"a whole number from {self.least} to {self.most}"
        return _WANTS[self.form]


_WANTS: Final = {
    "text": "a text",
    "word": "a text without spaces, not empty",
    "name": "a text of at most 64 characters on one line",
    "region": "a region code such as us-east-1",
    "url": "a URL that begins with http:// or https://",
    "location": "a file path or a URL that begins with file://, http:// or https://",
    "endpoints": 'a list of "host:port"',
    "entries": 'a list of "host:port", each with "ID@" before it if only that node may answer',
    "words": "a list of words",
    "hours": 'a list of times such as "22:00-07:00" or "mon-fri 18:00-23:30"',
    "aliases": 'an object of names and the models that they mean, such as {"gpt-4o-mini": "llama3.2"}',
    "origins": 'a list of origins such as "https://chat.example.org"',
    "node": "a node's id (52 letters and digits, as `opengateway key show` prints it)",
    "nodes": "a list of node ids (52 letters and digits each)",
}


def flatten(kind: type[Any], prefix: str = "") -> dict[str, Key]:
    found: dict[str, Key] = {}
    for item in dataclasses.fields(kind):
        if item.metadata:
            default = cast(Value, item.default)
            found[prefix + item.name] = Key(prefix + item.name, default, **item.metadata)
        else:
            found |= flatten(cast(type[Any], item.default_factory), f"{prefix}{item.name}.")
    return found


def nest(values: dict[str, Value]) -> dict[str, Any]:
    """Dotted keys as config.json nests them."""
    nested: dict[str, Any] = {}
    for name, value in values.items():
        section, dot, last = name.rpartition(".")
        (nested.setdefault(section, {}) if dot else nested)[last] = value
    return nested


def problem(key: Key, value: Any) -> str:
    """What is wrong with `value`; "" if nothing is."""
    wrong = f'"{key.name}" must be {key.wants}, not {"that" if key.secret else kind_of(value)}'
    if isinstance(key.default, bool):
        return "" if isinstance(value, bool) else wrong
    if isinstance(key.default, int):
        fine = isinstance(value, int) and not isinstance(value, bool) and key.least <= value <= key.most
        return "" if fine else wrong
    if isinstance(key.default, tuple):
        valid = _ITEMS.get(key.form, _is_endpoint)
        fine = isinstance(value, (list, tuple)) and all(valid(item) for item in value)
        return "" if fine else wrong
    if not isinstance(value, str) or len(value) > MOST_TEXT:
        return wrong
    if key.one_of:
        return "" if value in key.one_of else wrong + did_you_mean(value, key.one_of)
    return _wrong_text(key, value, wrong)


def _wrong_text(key: Key, value: str, wrong: str) -> str:
    if key.form == "region" and value:
        try:
            regions.region(value)
        except UnknownRegion as error:
            return f'"{key.name}": {error.message}'
    if key.form == "word" and (not value or any(c.isspace() for c in value)):
        return wrong
    if key.form == "name" and (len(value) > 64 or not value.isprintable()):
        return wrong
    if key.form == "url" and value and not value.startswith(("http://", "https://")):
        return wrong
    if key.form == "node" and value and not _is_node(value):
        return wrong
    scheme, colon, _ = value.partition("://")
    if key.form == "location" and colon and scheme not in ("file", "http", "https"):
        return wrong
    return ""


def _is_endpoint(text: Any) -> bool:
    if not isinstance(text, str):
        return False
    host, _, port = text.removeprefix("tcp://").rpartition(":")
    return bool(host) and port.isascii() and port.isdigit() and 0 < int(port) <= MOST_PORT


def _is_entry(text: Any) -> bool:
    """`[ID@]HOST:PORT`"""
    if not isinstance(text, str):
        return False
    name, at, where = text.removeprefix("tcp://").rpartition("@")
    return _is_endpoint(where) and (not at or _is_node(name))


def _is_span(text: Any) -> bool:
    try:
        return bool(read_span(text))
    except (ValueError, AttributeError):
        return False


def _is_node(text: Any) -> bool:
    try:
        return bool(from_base32(text))
    except (ValueError, AttributeError):
        return False


def _is_word(text: Any) -> bool:
    return isinstance(text, str) and 0 < len(text) <= 253 and text.isprintable() and " " not in text


def _is_alias(text: Any) -> bool:
    """`NAME=MODEL`, as the rest of the program sees an alias."""
    name, _, model = text.partition("=") if isinstance(text, str) else ("", "", "")
    return all(0 < len(part.strip()) == len(part) <= 200 and part.isprintable() for part in (name, model))


def _is_origin(text: Any) -> bool:
    if not isinstance(text, str):
        return False
    scheme, _, host = text.partition("://")
    return scheme in ("http", "https") and _is_word(host) and "/" not in host and "*" not in host


_ITEMS: Final = {
    "nodes": _is_node,
    "hours": _is_span,
    "entries": _is_entry,
    "words": _is_word,
    "aliases": _is_alias,
    "origins": _is_origin,
}


def unfolded(key: Key, value: Any) -> Any:
    """Aliases stand in config.json as an object, and are entries `NAME=MODEL` from here on."""
    if key.form == "aliases" and isinstance(value, dict) and all(isinstance(v, str) for v in value.values()):
        return [f"{name}={model}" for name, model in value.items()]
    return value


def typed(key: Key, text: str) -> Any:
    """What `text`, typed on a command line, means for this key; left as text if it means nothing."""
    if key.form == "aliases" and text.lstrip().startswith("{"):
        try:
            return json.loads(text)
        except ValueError:
            return text
    if isinstance(key.default, bool):
        words = {"true": True, "yes": True, "on": True, "false": False, "no": False, "off": False}
        return words.get(text.lower(), text)
    if isinstance(key.default, int):
        return int(text) if text.removeprefix("-").isdigit() and text.isascii() else text
    if isinstance(key.default, tuple):
        return [part.strip() for part in text.strip("[]").replace('"', "").split(",") if part.strip()]
    return text


def unknown(name: str, keys: Iterable[str], sections: Iterable[str]) -> str:
    """What to say about a key that does not exist."""
    keys = list(keys)
    # A key written without its section ("port") is nearer in its last part than in the whole.
    ends = [key for key in keys if key.endswith("." + name)]
    if len(ends) > 1:
        return f'unknown key "{name}", did you mean {" or ".join(ends)}?'
    return f'unknown key "{name}"' + (
        f', did you mean "{ends[0]}"?' if ends else did_you_mean(name, [*keys, *sections])
    )


def did_you_mean(text: str, known: Iterable[str]) -> str:
    """`, did you mean "x"?` for the nearest of `known`; "" where nothing is near."""
    near = closest(text, known)
    return f', did you mean "{near}"?' if near else ""


def kind_of(value: Any) -> str:
    if isinstance(value, str):
        return f'"{value}"' if len(value) <= 60 else f"a text of {len(value)} characters"
    if value is None:
        return "null"
    if isinstance(value, dict):
        return "an object"
    if isinstance(value, (list, tuple)):
        return "a list" if len(value) > 8 else json.dumps(list(value))[:80]
    return str(json.dumps(value))


def lower_first(text: str) -> str:
    return text[:1].lower() + text[1:]
