"""One node, from its lock to its last goodbye: what `opengateway start --foreground` does."""

from __future__ import annotations

import gc
import json
import logging
import os
import resource
import signal
import sys
import time

from opengateway import __version__
from opengateway.app.key_change import finish
from opengateway.app.logs import configure_logs
from opengateway.app.node import Node
from opengateway.config import Config
from opengateway.home import Home, write_atomically
from opengateway.identity import network_id, short
from opengateway.units import Seconds

logger = logging.getLogger(__name__)

SWITCH_INTERVAL = Seconds(0.002)
"""How long a busy thread may keep the others from running. Python's 5 ms is a tenth of a token's time at
20 tokens/s; a request crosses four threads, and with 0.5 ms switching took a tenth of all CPU time."""
WATCH = Seconds(0.5)
FILES = 16_384
"""Open files at once: 4,096 callers, as many peers, and twice that for whatever else there is."""


def run_node(home: Home, config: Config) -> int:
    """Run until SIGTERM, SIGINT or `POST /node/stop`; 1 if the node gave up by itself.

    Raises `SetupError` if it cannot start.
    """
    with home.hold():
        configure_logs(config.log.level, config.log.format, requests=config.log.requests)
        _raise_the_file_limit()
        sys.setswitchinterval(SWITCH_INTERVAL)
        if (
            changed := finish(home, network_id(config.network.name, config.network.secret), _now_ms)
        ) is not None:
            logger.warning("%s goes on as %s, with all its accounts", short(changed.old), short(changed.new))
        node = Node(home, config)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: node.stopped.set())
        node.start()
        _calm_the_collector()
        _announce(node)
        logger.info("node %s is running at %s", node.facts.short, node.http.url)
        while not node.stopped.wait(WATCH):
            if node.root.state in ("failed", "stopped"):
                logger.critical("the node gives up: %s", node.root.error)
                node.stop()
                return 1
        logger.info("stopping")
        home.node_json.unlink(missing_ok=True)
        node.stop()
    return 0


def _raise_the_file_limit() -> None:
    """A connection is an open file, and 1024, the usual soft limit, is for programs that use select()."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = FILES if hard == resource.RLIM_INFINITY else min(FILES, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def _calm_the_collector() -> None:
    """What the start made lives as long as the node, so it need not be looked at again; and 700 short-lived
    objects, Python's default, are two requests' worth."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 50, 100)


def _announce(node: Node) -> None:
    """run/node.json is there when requests are taken: other commands wait for it."""
    config = node.config
    described = {
        "pid": os.getpid(),
        "http": node.http.url,
        "certificate": config.http.certificate,
        "wire_port": node.port.number,
        "node_id": node.facts.node_id,
        "version": __version__,
    }
    write_atomically(node.home.node_json, json.dumps(described).encode() + b"\n")


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
