"""What `opengateway doctor` looks at of the DHT and the bootstrap document."""

from __future__ import annotations

import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any, Final

from opengateway.app.cli.check import Check
from opengateway.app.cli.lifecycle import home_status
from opengateway.app.client import connect
from opengateway.config import Config
from opengateway.discovery.dht_settings import ANY_HOST, PORT_TRIES
from opengateway.errors import OpenGatewayError
from opengateway.home import Home

IMPORT_LIMIT_S: Final = 20.0
DAY_MS: Final = 24 * 3600 * 1000


def check_dht(home: Home, config: Config) -> Iterator[Check]:
    if not config.dht.enabled:
        yield Check("dht", "ok", "finding nodes by the DHT is switched off (dht.enabled)")
        return
    if why := _unloadable():
        hint = "pip install libtorrent; or switch it off: opengateway config set dht.enabled false"
        yield Check("dht", "warn", f"libtorrent cannot be loaded: {why}; LAN and bootstrap go on", hint)
        return
    found = _running(home).get("dht")
    yield _of_running(found, config) if found else _of_port(config)


def _unloadable() -> str:
    """Why; empty if it can be loaded. In a process of its own: a wheel for another machine may end it."""
    done = subprocess.run(
        [sys.executable, "-c", "import libtorrent"], capture_output=True, timeout=IMPORT_LIMIT_S, check=False
    )
    last = done.stderr.decode("utf-8", "replace").strip().splitlines()[-1:]
    return (last[0] if last else f"exit code {done.returncode}") if done.returncode else ""


def _running(home: Home) -> dict[str, Any]:
    try:
        return home_status(connect(home)).get("discovery") or {}
    except OpenGatewayError:
        return {}


def _of_running(dht: dict[str, Any], config: Config) -> Check:
    port = f"UDP port {dht['port']}"
    if dht["problem"]:
        return Check(
            "dht", "warn", str(dht["problem"]), "opengateway config set dht.port 0 takes any free one"
        )
    if dht["nodes"]:
        return Check("dht", "ok", f"{dht['nodes']} other nodes, {port}, found under {dht['topics']} topics")
    if config.dht.entries or config.dht.mainline:
        hint = f"open {port} in the firewall, or check dht.entries"
        return Check("dht", "warn", f"{port} is open, but no other DHT node answers", hint)
    text = f"{port} is open; nobody is known yet: other nodes come by peers, dht.entries or dht.mainline"
    return Check("dht", "ok", text)


def _of_port(config: Config) -> Check:
    host = "" if config.wire.host in ANY_HOST else config.wire.host
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    ports = range(config.dht.port, config.dht.port + PORT_TRIES + 1) if config.dht.port else (0,)
    why = ""
    for port in ports:
        try:
            with socket.socket(family, socket.SOCK_DGRAM) as probe:
                probe.bind((host, port))
        except (OSError, OverflowError) as error:
            why = why or str(error)
        else:
            return Check("dht", "ok", f"libtorrent can be loaded, and UDP port {port or '(any)'} is free")
    hint = "opengateway config set dht.port 0 takes any free one"
    return Check("dht", "warn", f"UDP ports {ports[0]} to {ports[-1]} cannot be used: {why}", hint)


def check_bootstrap(home: Home, config: Config) -> Iterator[Check]:
    wanted = config.bootstrap
    if not wanted.source:
        yield Check("bootstrap", "ok", "no signed list of nodes is set (bootstrap.source)")
        return
    if len(wanted.publishers) < wanted.needed:
        text = f"{len(wanted.publishers)} publishers are trusted, and {wanted.needed} must sign"
        yield Check("bootstrap", "fail", text, "opengateway config set bootstrap.publishers ID,ID")
        return
    found = _running(home).get("bootstrap")
    if not found:
        yield Check("bootstrap", "ok", f"read when the node runs: {wanted.source}")
    elif found["problem"]:
        hint = "opengateway bootstrap verify FILE says why"
        state = "warn" if found["nodes"] else "fail"
        yield Check("bootstrap", state, str(found["problem"]), hint)  # type: ignore[arg-type]
    elif found["expires_ms"]:
        days = (found["expires_ms"] - time.time() * 1000) / DAY_MS
        yield Check("bootstrap", "ok", f"{found['nodes']} nodes, signed and good for {days:.0f} days")
