"""API keys for other users of this node: who may ask which models, how often, and for how much.

A key is 256 random bits, so its SHA-256 is enough at rest: there is nothing to guess slowly. The file holds
the hash, never the key; the first eight characters name it to people. Every change is one atomic write
under a lock, by the command line as well as by the node, which looks at the file again when it has changed:
a revoked key ends within a second, without a restart.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import secrets
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Final, Literal, TypeAlias

from opengateway.errors import BadRequest, SetupError
from opengateway.home import write_atomically

PREFIX: Final = "og-"
SHOWN: Final = 8
"""Characters after the prefix that name a key to people: 48 bits of 256."""
MOST_KEYS: Final = 10_000
LOOK_S: Final = 1.0
"""Seconds for which the file is believed to be as it was."""
Period: TypeAlias = Literal["day", "month", "ever"]
PERIODS: Final = ("day", "month", "ever")


@dataclass(frozen=True, slots=True)
class ApiKey:
    id: str
    """`og-` and its first characters."""
    name: str
    hash: str
    """SHA-256 of the whole key, in hex."""
    created: int
    """Unix seconds."""
    models: tuple[str, ...] = ()
    """The only models that it may ask for; empty: all."""
    tokens: int = 0
    """Prompt and answer together in one period; 0: without limit."""
    credits: int = 0
    """Micro-credits in one period that its requests may cost this node; 0: without limit."""
    period: Period = "ever"
    per_minute: int = 0
    """Requests; 0: as many as everybody (`http.requests_per_minute`)."""


def is_key(text: str) -> bool:
    """Whether it looks like one of ours: others' keys ("sk-...") are what clients send where none is
    wanted."""
    return text.startswith(PREFIX) and len(text) == len(PREFIX) + 43


def digest(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()


class KeyFile:
    """`api-keys.json` in the home."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._keys: dict[str, ApiKey] = {}
        """By hash."""
        self._seen: tuple[int, int, int] | None = None
        self._looked = -LOOK_S

    # -- the command line ----------------------------------------------------------------------

    def add(self, name: str, **limits: Any) -> tuple[str, ApiKey]:
        """A new key, in words for the only time. Raises `BadRequest` for a name that is taken."""
        secret = PREFIX + secrets.token_urlsafe(32)
        with self._locked():
            keys = self._read()
            if any(key.name == name for key in keys):
                raise BadRequest(f"a key named {name!r} is there already", hint="opengateway keys list")
            if len(keys) >= MOST_KEYS:
                raise BadRequest(f"a node has at most {MOST_KEYS} keys", hint="opengateway keys revoke NAME")
            made = ApiKey(secret[: len(PREFIX) + SHOWN], name, digest(secret), int(time.time()), **limits)
            self._write([*keys, made])
        return secret, made

    def revoke(self, which: str) -> ApiKey:
        """By its name or its id."""
        with self._locked():
            keys = self._read()
            found = next((key for key in keys if which in (key.name, key.id)), None)
            if found is None:
                raise BadRequest(f"there is no key {which[:80]!r}", hint="opengateway keys list")
            self._write([key for key in keys if key is not found])
        return found

    def all(self) -> list[ApiKey]:
        return self._read()

    # -- the node ------------------------------------------------------------------------------

    def find(self, given: str) -> ApiKey | None:
        """The key that this is. Looked up by its hash, so that no comparison tells how much of it was
        right."""
        self._refresh()
        hashed = digest(given)
        if hashed not in self._keys:  # it may have been made in this very second
            self._looked = -LOOK_S
            self._refresh()
        return self._keys.get(hashed)

    def __bool__(self) -> bool:
        self._refresh()
        return bool(self._keys)

    def _refresh(self) -> None:
        now = time.monotonic()
        if now - self._looked < LOOK_S:
            return
        self._looked = now
        try:
            status = self.path.stat()
            seen = (status.st_mtime_ns, status.st_size, status.st_ino)
        except OSError:
            self._keys, self._seen = {}, None
            return
        if seen != self._seen:
            self._keys = {key.hash: key for key in self._read()}
            self._seen = seen

    # -- the file ------------------------------------------------------------------------------

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        fd = os.open(self.path.with_suffix(".lock"), os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX)
            yield
        finally:
            os.close(fd)

    def _read(self) -> list[ApiKey]:
        try:
            written = json.loads(self.path.read_bytes())
            return [_key(entry) for entry in written["keys"][:MOST_KEYS]]
        except FileNotFoundError:
            return []
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise SetupError(
                f"{self.path} cannot be read ({type(error).__name__})",
                hint="restore it from a copy, or move it away and make the keys anew",
            ) from error

    def _write(self, keys: list[ApiKey]) -> None:
        body = {"format": 1, "keys": [asdict(key) for key in keys]}
        write_atomically(self.path, json.dumps(body, indent=1).encode() + b"\n", mode=0o600)


def _key(entry: dict[str, Any]) -> ApiKey:
    made = ApiKey(**{**entry, "models": tuple(entry.get("models", ()))})
    if len(made.hash) != 64 or made.period not in PERIODS:
        raise ValueError(made.id)
    return made


# -- what was used ------------------------------------------------------------------------------------


@dataclass(slots=True)
class Used:
    """Of one key, in one period."""

    period: str
    """`2026-11-25`, `2026-11` or "": when it ends, the next begins with nothing used."""
    tokens: int = 0
    credits: int = 0
    """Micro-credits."""
    requests: int = 0
    reserved: int = 0
    """Tokens of requests in flight: budgets hold for many at once, too."""


def period_now(period: Period, now: float) -> str:
    form = {"day": "%Y-%m-%d", "month": "%Y-%m", "ever": ""}[period]
    return time.strftime(form, time.gmtime(now)) if form else ""


@dataclass(slots=True)
class Usage:
    """What each key has used, kept in a file that is written at most every `SAVE_S` seconds, and at the
    end."""

    path: Path
    _used: dict[str, Used] = field(default_factory=dict)
    _dirty: bool = False

    def load(self) -> None:
        with contextlib.suppress(OSError, ValueError, TypeError, AttributeError):
            for key, entry in json.loads(self.path.read_bytes()).items():
                self._used[str(key)] = replace(Used(**entry), reserved=0)

    def of(self, key: ApiKey, now: float) -> Used:
        period = period_now(key.period, now)
        used = self._used.get(key.id)
        if used is None or used.period != period:
            used = self._used[key.id] = Used(period, reserved=used.reserved if used else 0)
        return used

    def add(self, used: Used, tokens: int, cost: int) -> None:
        used.tokens += tokens
        used.credits += cost
        used.requests += 1
        self._dirty = True

    def save(self) -> None:
        if not self._dirty:
            return
        self._dirty = False
        body = {
            key: {"period": u.period, "tokens": u.tokens, "credits": u.credits, "requests": u.requests}
            for key, u in self._used.items()
        }
        write_atomically(self.path, json.dumps(body).encode(), mode=0o600)


SAVE_S: Final = 5.0
