"""What `opengateway doctor` looks at. Each check is a function of the home; none needs a running node,
none changes anything, and one that breaks is a failed check, not a broken report."""

from __future__ import annotations

import importlib.util
import os
import platform
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from typing import Final

from opengateway import __version__
from opengateway.app.cli import access_check, search_checks
from opengateway.app.cli.check import Check, ledger
from opengateway.app.cli.lifecycle import home_status
from opengateway.app.cli.output import gigabytes
from opengateway.app.client import connect
from opengateway.config import Config, load
from opengateway.discovery.clocks import FIX
from opengateway.errors import NotRunning, OpenGatewayError
from opengateway.home import Home

MDNS_GROUP: Final = "224.0.0.251"  # RFC 6762
OLLAMA: Final = ("127.0.0.1", 11434)
DIAL_LIMIT_S: Final = 1.0
IMPORT_LIMIT_S: Final = 20.0
LEAST_DISK: Final = 100_000_000
"""Bytes: ledger, peers and log of a node without models."""
LITTLE_DISK: Final = 2_000_000_000
"""What the smallest model tier needs."""
FILES: Final = 1024
"""Open files: 64 streams take some 200; 256, the default of macOS, is too few."""
RELEASED: Final = 1_760_000_000.0
"""October 2025: a clock before that is wrong."""


def examine(home: Home) -> list[Check]:
    """Every check, in the order in which one would look."""
    found: list[Check] = []
    looks = (_python, _home, _disk, _files, _clock, _key, ledger, _config, _node, _ports, _access, _lan, _dht)
    for look in (*looks, _bootstrap, _llama, _engine):
        found += _tried(look, home)
    return found


def _tried(look: Callable[[Home], Iterator[Check]], home: Home) -> list[Check]:
    name = look.__name__.strip("_")
    try:
        return list(look(home))
    except OpenGatewayError as error:
        return [Check(name, "fail", error.message, error.hint)]
    except Exception as error:
        return [Check(name, "fail", f"the check itself broke: {type(error).__name__}: {error}")]


def _python(home: Home) -> Iterator[Check]:
    del home
    machine = f"{platform.system()} {platform.release()} {platform.machine()}"
    text = f"opengateway {__version__}, Python {platform.python_version()}, {machine}"
    yield Check("version", "ok", text)


def _home(home: Home) -> Iterator[Check]:
    place = next(path for path in (home.path, *home.path.parents) if path.exists())
    if not os.access(place, os.W_OK | os.X_OK):
        yield Check("home", "fail", f"{place} cannot be written", "choose another with --home FOLDER")
    elif place != home.path:
        yield Check("home", "ok", f"{home.path} will be made by the first start")
    else:
        home.prepare()
        yield Check("home", "ok", f"{home.path} can be written")


def _disk(home: Home) -> Iterator[Check]:
    from opengateway.models.machine import disk

    total, free = disk(home.path)
    text = f"{gigabytes(free)} of {gigabytes(total)} free"
    if free < LEAST_DISK:
        yield Check("disk", "fail", text, "free some space, or choose another disk with --home FOLDER")
    elif free < LITTLE_DISK:
        yield Check("disk", "warn", text, "enough for a node, too little for a model")
    else:
        yield Check("disk", "ok", text)


def _files(home: Home) -> Iterator[Check]:
    del home
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    few = soft != resource.RLIM_INFINITY and soft < FILES
    hint = f"ulimit -n {FILES if hard == resource.RLIM_INFINITY else min(FILES, hard)}, then start"
    yield Check("open files", "warn" if few else "ok", f"{soft} at once", hint if few else "")


def _clock(home: Home) -> Iterator[Check]:
    now = time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime())
    if time.time() < RELEASED:
        yield Check("clock", "fail", f"it says {now}", FIX)
        return
    try:
        clock = home_status(connect(home)).get("clock") or {}
    except NotRunning:
        clock = {}
    text = f"{now}; {clock.get('text', 'no peer to compare it with')}"
    yield Check("clock", "ok" if clock.get("ok", True) else "warn", text, FIX)


def _key(home: Home) -> Iterator[Check]:
    from opengateway.identity import Identity, short

    if not home.identity_key.exists():
        yield Check("key", "ok", "none yet: the first start makes one")
        return
    node_id = short(Identity.load_or_create(home.identity_key).node_id)
    if home.identity_key.stat().st_mode & 0o077:
        yield Check("key", "warn", f"{node_id}, and others can read it", f"chmod 600 {home.identity_key}")
    else:
        yield Check("key", "ok", f"{node_id}, readable by its owner only")


def _config(home: Home) -> Iterator[Check]:
    config = load(home)
    how = "guessed" if config.place_is_guessed else "set"
    yield Check("config", "ok", f"valid; region {config.place.code} ({how}), engine {config.engine.kind}")


def _node(home: Home) -> Iterator[Check]:
    try:
        client = connect(home)
    except NotRunning as error:
        yield Check("node", "warn", error.message, error.hint)
        return
    status = home_status(client)
    reach = (status.get("reachability") or {}).get("text", "")
    total = (status.get("peers") or {}).get("total", 0)
    yield Check("node", "ok", f"running (pid {status['pid']}), {total} peers; {reach}")
    ready, why = client.ready()
    if not ready:
        yield Check("node", "warn", f"not ready: {'; '.join(why)}", "see `opengateway status`")
    if client.get("/node/actors").get("failed"):
        yield Check("actors", "fail", "an actor has failed", "see which with `opengateway actors`")
    for warning in status.get("warnings") or []:
        yield Check("node", "warn", str(warning["text"]), str(warning.get("hint") or ""))


def _ports(home: Home) -> Iterator[Check]:
    config, ours = _settings(home), home.announced()
    for name, host, port in (
        ("http", config.http.host, config.http.port),
        ("wire", config.wire.host, config.wire.port),
    ):
        if port == 0:
            yield Check(f"{name} port", "ok", "any free one")
        elif ours is not None:
            yield Check(f"{name} port", "ok", f"{port}, or what the running node was started with")
        elif (why := _taken("" if host == "*" else host, port)) != "":
            hint = f"opengateway config set {name}.port 0 takes any free one"
            yield Check(f"{name} port", "fail", f"{port} cannot be used: {why}", hint)
        else:
            yield Check(f"{name} port", "ok", f"{port} is free")


def _taken(host: str, port: int) -> str:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_STREAM) as listener:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind((host, port))
            listener.listen(1)
    except OSError as error:
        return (error.strerror or str(error)).lower()
    return ""


def _lan(home: Home) -> Iterator[Check]:
    if not _settings(home).lan.enabled:
        yield Check("lan", "ok", "finding nodes on this link is switched off (lan.enabled)")
        return
    import psutil

    joined: list[str] = []
    refused: list[str] = []
    up = {name for name, state in psutil.net_if_stats().items() if state.isup}
    for name, addresses in psutil.net_if_addrs().items():
        for address in addresses:
            if address.family != socket.AF_INET or name not in up or address.address.startswith("127."):
                continue
            (joined if _joins_multicast(address.address) else refused).append(name)
    if joined:
        yield Check("lan", "ok", f"multicast DNS works on {', '.join(dict.fromkeys(joined))}")
    elif refused:
        yield Check("lan", "warn", f"no multicast on {', '.join(refused)}", "opengateway connect HOST:PORT")
    else:
        yield Check(
            "lan", "warn", "no network but this machine's own", "nodes on other machines cannot be found"
        )


def _dht(home: Home) -> Iterator[Check]:
    return search_checks.check_dht(home, _settings(home))


def _access(home: Home) -> Iterator[Check]:
    return access_check.check_access(home, _settings(home))


def _bootstrap(home: Home) -> Iterator[Check]:
    return search_checks.check_bootstrap(home, _settings(home))


def _joins_multicast(address: str) -> bool:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as listener:
        member = struct.pack("4s4s", socket.inet_aton(MDNS_GROUP), socket.inet_aton(address))
        try:
            listener.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, member)
        except OSError:
            return False
    return True


def _llama(home: Home) -> Iterator[Check]:
    del home
    if importlib.util.find_spec("xllamacpp") is None:
        yield Check(
            "llama.cpp", "warn", "xllamacpp is not installed here", "pip install xllamacpp, or use Ollama"
        )
        return
    # In a process of its own: on a CPU it was not built for, importing it is an illegal instruction.
    done = subprocess.run(
        [sys.executable, "-c", "import xllamacpp"], capture_output=True, timeout=IMPORT_LIMIT_S, check=False
    )
    if done.returncode:
        last = done.stderr.decode("utf-8", "replace").strip().splitlines()[-1:] or [
            f"exit code {done.returncode}"
        ]
        yield Check(
            "llama.cpp", "fail", f"xllamacpp cannot be loaded: {last[0]}", "reinstall it, or use Ollama"
        )
    else:
        yield Check("llama.cpp", "ok", "xllamacpp can be loaded")


def _engine(home: Home) -> Iterator[Check]:
    from opengateway.models.gpus import gpus

    config = _settings(home)
    ollama = _answers(*OLLAMA)
    found = [name for name, there in (("llama.cpp (built in)", _has_llama()), ("Ollama", ollama)) if there]
    text = f"found: {', '.join(found) or 'none'}; setting: engine.kind {config.engine.kind}"
    nothing = (
        "install Ollama, or set engine.kind openai and engine.url; without one this node only asks others"
    )
    yield Check("engine", "ok" if found else "warn", text, "" if found else nothing)
    graphics = [gpu for gpu in gpus(0) if gpu.vendor != "apple"]
    if graphics and not ollama and config.engine.kind in ("auto", "llama_server", "pocket"):
        yield Check(
            "gpu",
            "warn",
            f"{graphics[0].name} is not used: the built-in llama.cpp computes on the CPU",
            "install Ollama, or set engine.kind openai with the engine.url of a server that uses the GPU",
        )


def _has_llama() -> bool:
    return importlib.util.find_spec("xllamacpp") is not None


def _answers(host: str, port: int) -> bool:
    try:
        socket.create_connection((host, port), DIAL_LIMIT_S).close()
    except OSError:
        return False
    return True


def _settings(home: Home) -> Config:
    """The settings, or their defaults where they are broken (which `_config` reports)."""
    try:
        return load(home)
    except OpenGatewayError:
        return Config()
