"""A real node that is lent only when it is idle, and a real program that uses its machine."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

from harness import Node, private_network, until
from sse import chat

BURN = "import itertools\nfor _ in itertools.count(): pass"
CHAT = "/v1/chat/completions"


def test_the_owners_program_pauses_the_node_within_five_seconds_and_everybody_hears_why(
    tmp_path: Path,
) -> None:
    """On a machine that does other things as well it is paused for those: what is asserted holds either
    way."""
    network = private_network()
    lent = {"when": "idle", "busy_percent": 1}
    with (
        Node(tmp_path, "home", network, engine={"kind": "pocket"}, contribute=lent) as home,
        Node(tmp_path, "asking", network, wire={"bootstrap": [home.endpoint]}) as asking,
    ):
        until(lambda: asking.get("/node/peers")["peers"], "they have met")
        with subprocess.Popen([sys.executable, "-c", BURN]) as burner:
            try:
                started = time.monotonic()
                warned = until(lambda: _warned(home), "the owner is told")
                assert time.monotonic() - started < 6
                assert "you use it (" in warned
                peer = lambda: asking.get("/node/peers")["peers"][0]  # noqa: E731
                until(lambda: peer()["paused"], "the peer's record says so", patience_s=5)
                status, answer = asking.request(
                    "POST", CHAT, chat(stream=False), headers={"x-opengateway-deadline": "3"}
                )
                assert status in (404, 503, 504), answer
                assert home.request("POST", CHAT, chat(stream=False))[0] == 200
            finally:
                burner.kill()


def _warned(node: Node) -> str:
    texts = [warning["text"] for warning in node.get("/node/status")["warnings"]]
    return next((text for text in texts if text.startswith("others are not served now")), "")


def test_outside_of_its_hours_a_node_serves_its_owner_only(tmp_path: Path) -> None:
    now = time.localtime()
    hour = (now.tm_hour + 12) % 24
    lent = {"hours": [f"{hour:02}:00-{hour:02}:30"]}
    with Node(tmp_path, "home", engine={"kind": "pocket"}, contribute=lent) as home:
        assert "hours" in until(lambda: _warned(home), "the owner is told")
        assert "outside of the hours" in home.cli("status").stdout
        assert home.request("POST", CHAT, chat(stream=False))[0] == 200
