"""Which cluster a model's nodes meet in: one name for each region and model.

A registry is a JSON file or URL (`cluster_registry_url`) that gives the names an operator chose:

    {"clusters": {"us-east-1": {"llama3.2:3b": "east-small", "phi": {"name": "east-phi"}}}}

What it does not list, and everything where there is no registry, has a derived name that every node
works out alike: `<region>.<model>`, such as `us-east-1.llama-3.2-3b`.

A registry comes from elsewhere, so it is bounded in size, count and time, and a name in it is a plain
word. The last good copy is kept: a registry that cannot be reached changes nothing.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from opengateway.download import download
from opengateway.errors import ConfigInvalid
from opengateway.models.catalog import canonical

MOST_BYTES: Final = 1024 * 1024
"""40 regions x 100 models x 100 bytes are 400 kB."""

MOST_CLUSTERS: Final = 10_000
FETCH_LIMIT_S: Final = 10.0
"""The node starts with the kept copy meanwhile fetching, so this may outlast a slow server."""

_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")


@dataclass(frozen=True, slots=True)
class ClusterRegistry:
    """The names an operator chose, by (region, canonical model)."""

    names: Mapping[tuple[str, str], str] = field(default_factory=dict)
    source: str = "derived"
    """ "derived", "file", "network" or "kept copy"."""
    warning: str = ""
    """One sentence if the registry could not be read and something else stands in."""

    def cluster_for(self, region: str, model_name: str) -> str:
        model = canonical(model_name)
        return self.names.get((region, model)) or f"{region}.{model}"

    def clusters(self) -> list[tuple[str, str, str]]:
        """Every listed (name, region, model), sorted."""
        return sorted((name, region, model) for (region, model), name in self.names.items())


DERIVED: Final = ClusterRegistry()


def cluster_for(region: str, model_name: str) -> str:
    """The derived name, where no registry says otherwise."""
    return DERIVED.cluster_for(region, model_name)


def parse(content: bytes, *, source: str) -> ClusterRegistry:
    """A registry from its JSON. Raises `ConfigInvalid` naming the first thing that is wrong."""
    if len(content) > MOST_BYTES:
        raise ConfigInvalid(f"the cluster registry is larger than {MOST_BYTES} bytes")
    try:
        written = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise ConfigInvalid(f"the cluster registry is not JSON: {error}") from error
    places = written.get("clusters") if isinstance(written, dict) else None
    if not isinstance(places, dict):
        raise ConfigInvalid('the cluster registry has no "clusters" object')
    names: dict[tuple[str, str], str] = {}
    for region, models in places.items():
        if not isinstance(models, dict) or not _NAME.fullmatch(region):
            raise ConfigInvalid(f'the cluster registry holds no models under "clusters.{region[:40]}"')
        for model, entry in models.items():
            names[region, canonical(model)] = _name(entry, f"clusters.{region[:40]}.{model[:60]}")
            if len(names) > MOST_CLUSTERS:
                raise ConfigInvalid(f"the cluster registry lists more than {MOST_CLUSTERS} clusters")
    return ClusterRegistry(names, source)


def _name(entry: Any, where: str) -> str:
    name = entry.get("name") if isinstance(entry, dict) else entry
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise ConfigInvalid(
            f'the cluster registry\'s "{where}" must be a name of letters, digits, dots and dashes'
        )
    return name


def load_local(location: str, kept: Path) -> ClusterRegistry:
    """What is known without the network: the file, else the kept copy of the URL, else derived names.

    `kept` is the file that `fetch` keeps its copy in. Never raises; `warning` says what went wrong.
    """
    if not location:
        return DERIVED
    try:
        if not _is_web(location):
            return parse(_bounded(_path(location)), source="file")
        return parse(_copy_of(location, kept), source="kept copy")
    except FileNotFoundError:
        reason = "not fetched yet" if _is_web(location) else "there is no such file"
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
    except ConfigInvalid as error:
        reason = error.message
    return ClusterRegistry(warning=f"clusters have derived names: {location}: {reason}")


async def fetch(location: str, kept: Path) -> ClusterRegistry:
    """The registry at `location`: a path, `file://`, `http://` or `https://`.

    A fetched one is kept in `kept`; if it cannot be fetched or is wrong, the copy kept of the same
    location stands in, else derived names do. Never raises; `warning` says what went wrong.
    """
    if not _is_web(location):
        return load_local(location, kept)
    try:
        content = await download(location, limit=MOST_BYTES, within_s=FETCH_LIMIT_S)
        found = parse(content, source="network")
    except (OSError, ValueError, ConfigInvalid) as error:
        reason = str(error) or "no answer in time"
        copy = load_local(location, kept)
        stands_in = "the last good copy is used" if copy.names else "clusters have derived names"
        return ClusterRegistry(copy.names, copy.source, f"cannot read {location}: {reason}; {stands_in}")
    _keep(location, content, kept)
    return found


def _is_web(location: str) -> bool:
    return location.startswith(("http://", "https://"))


def _path(location: str) -> Path:
    return Path(location.removeprefix("file://")).expanduser()


def _bounded(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(MOST_BYTES + 1)


def _copy_of(location: str, kept: Path) -> bytes:
    # First line: where it came from, so that a changed setting does not use another registry's copy.
    with kept.open("rb") as file:
        if file.readline(8192).strip() != location.encode():
            raise FileNotFoundError(kept)
        return file.read(MOST_BYTES + 1)


def _keep(location: str, content: bytes, kept: Path) -> None:
    draft = kept.with_name(f".{kept.name}.{os.getpid()}.new")
    with contextlib.suppress(OSError):  # without a copy the registry still holds until the next start
        draft.write_bytes(location.encode() + b"\n" + content)
        draft.replace(kept)
