"""The relay between two homes is killed in mid-answer: the reader has the whole text, over another relay, or
is told that nobody goes on."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from lab.hosts import Host, Lab
from lab.inside import ask, listen
from lab.internet import ASIA, EUROPE, tun_unavailable
from lab.nat_world import World, path, reach, shown
from lab.whole_node import Node, until
from paced_engines import command

pytestmark = [
    pytest.mark.lab,
    pytest.mark.slow,
    pytest.mark.timeout(300),
    pytest.mark.skipif(bool(tun_unavailable()), reason=tun_unavailable()),
]

TOKENS, SPEED = 160, 20.0
KILLED_AT = 30
WHOLE = "".join(f" {number}" for number in range(1, TOKENS + 1))
SOON_S = 60.0


@dataclass
class Heard:
    text: str = ""
    error: str = ""
    killed_at: float = 0.0
    next_token_s: float = 0.0
    """Seconds from the kill to the token after the longest pause: before that come those on their way."""
    ended_s: float = 0.0
    _last: float = 0.0
    _pause: float = field(default=0.0)

    def token(self, text: str) -> None:
        now = time.monotonic()
        self.text += text
        if self.killed_at and now - max(self._last, self.killed_at) > self._pause:
            self._pause = now - max(self._last, self.killed_at)
            self.next_token_s = now - self.killed_at
        self._last = now


@pytest.fixture
def world(lab: Lab, tmp_path: Path) -> Iterator[World]:
    with shown(World(lab, tmp_path)) as built:
        yield built


def engine(host: Host) -> dict[str, object]:
    process = host.popen(command({"one": SPEED}), stdout=subprocess.PIPE)
    port = json.loads(process.stdout.readline())["port"]
    return {"kind": "openai", "url": f"http://127.0.0.1:{port}/one/v1", "slots": 2}


def read(node: Node, strike: Callable[[], None]) -> Heard:
    """The answer, with the relay struck at a token in its middle."""
    heard, began = Heard(), time.monotonic()
    body = {"messages": [{"role": "user", "content": "Count."}], "max_tokens": TOKENS, "temperature": 0}

    def line(text: str) -> None:
        if text.startswith(":") or text == "data: [DONE]":
            return
        event = json.loads(text.removeprefix("data: "))
        heard.error = event.get("error", {}).get("code", heard.error)
        for choice in event.get("choices", ()):
            if piece := choice["delta"].get("content"):
                heard.token(piece)
        if not heard.killed_at and len(heard.text.split()) >= KILLED_AT:
            strike()
            heard.killed_at = time.monotonic()

    listen(node.host, node.home, "/v1/chat/completions", body, line, SOON_S)
    heard.ended_s = time.monotonic() - began
    return heard


def test_the_reader_has_the_whole_text_over_the_other_relay_and_an_error_when_there_is_none(
    world: World,
) -> None:
    site = world.net.home("villa", ASIA)
    villa = world.node(site, engine(site.host))
    flat = world.node(world.net.home("flat", EUROPE, "symmetric"))
    world.start()
    until(lambda: reach(villa)["kind"] == "relayed", "villa has a relay", SOON_S)
    until(lambda: path(flat, villa).startswith("relayed via "), "flat reaches villa through a relay", SOON_S)
    until(lambda: len(ask(villa.host, villa.home, "/node/status")["relays"]) == 2, "villa has two", SOON_S)
    relays = {relay.name: relay.pid for relay in (world.ada, world.ben)}

    for last in (False, True):
        via = path(flat, villa).removeprefix("relayed via ")
        heard = read(flat, lambda: os.kill(relays.pop(via), signal.SIGKILL))  # noqa: B023
        print(f"{via} killed: next token after {heard.next_token_s:.1f} s, all after {heard.ended_s:.1f} s,"
              f" {len(heard.text.split())} tokens, {heard.error or 'no error'}", flush=True)  # fmt: skip
        assert WHOLE.startswith(heard.text)
        if last:
            assert heard.error == "answer_broken_off"
        else:
            assert (heard.text, heard.error) == (WHOLE, "")
            until(lambda: path(flat, villa).startswith("relayed via "), "the other relay", SOON_S)
