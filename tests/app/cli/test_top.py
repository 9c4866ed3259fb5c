"""`top`: one look as plain lines, and the screen."""

from __future__ import annotations

import asyncio
from pathlib import Path

from harness import Node
from sse import chat
from textual.widgets import Static

from opengateway.app.cli import top_picture
from opengateway.app.cli.top import SHOWN, lines
from opengateway.app.cli.top_picture import Picture
from opengateway.app.cli.top_screen import Rows, TopScreen
from opengateway.app.client import NodeClient
from opengateway.errors import NotRunning


def picture(**more: object) -> Picture:
    made = Picture("ada (abc)", "pocket, running", "1 credits", 1_000_000)
    made.peers = [("ben", "lan", "1.0", "pocket", "2", "up", "", "direct")]
    made.actors = [("node", "running", "1", "0", "0", "0", "")]
    for name, value in more.items():
        setattr(made, name, value)
    return made


def test_plain_lines_have_every_table_that_has_rows_and_say_what_is_left_out() -> None:
    peers = [(f"peer-{n}", "lan", "1.0", "pocket", "2", "up", "", "direct") for n in range(SHOWN + 3)]
    found = lines(picture(peers=peers, warnings=["the disk is full"]))
    assert found[0] == "ada (abc)"
    assert "warning: the disk is full" in found
    assert "and 3 more" in found
    assert not any(line.startswith("FOR") for line in found), "there are no jobs"
    assert any(line.startswith("ACTOR") for line in found)


def test_without_a_terminal_top_prints_looks_at_a_real_node(tmp_path: Path) -> None:
    with Node(tmp_path, "ada") as node:
        done = node.cli("top", "--count", "2", "--interval", "0.2")
        assert node.cli("top", "--interval", "0").returncode == 2
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("ada (") == 2
    assert "swarm_peer" in done.stdout
    assert "\x1b" not in done.stdout


def test_textual_is_imported_by_the_screen_alone() -> None:
    import subprocess
    import sys

    code = "import sys; import opengateway.app.cli.tree as t; t.build(); print('textual' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_the_screen_shows_what_it_saw_pauses_and_survives_a_node_that_is_gone() -> None:
    looks: list[Picture | NotRunning] = [picture(), NotRunning("no node is running here", hint="start it")]
    taken = 0

    def look() -> Picture:
        nonlocal taken
        taken += 1
        found = looks[min(taken, len(looks)) - 1]
        if isinstance(found, NotRunning):
            raise found
        return found

    async def scene() -> None:
        screen = TopScreen(look, 60.0)
        async with screen.run_test(size=(120, 40)) as pilot:
            await screen.workers.wait_for_complete()
            await pilot.pause()
            peers = screen.query_one("#peers", Rows)
            assert peers.row_count == 1
            assert [str(cell) for cell in peers.get_row_at(0)][:2] == ["ben", "lan"]
            assert screen.query_one("#jobs", Rows).row_count == 0
            await pilot.press("p")
            screen.look_again()
            await screen.workers.wait_for_complete()
            assert taken == 1, "it looked while it was paused"
            await pilot.press("p")
            await screen.workers.wait_for_complete()
            await pilot.pause()
            assert taken == 2
            assert "no node is running here" in str(screen.query_one("#line", Static).render())
            assert peers.row_count == 1, "the last picture stays"
            await pilot.press("q")

    asyncio.run(scene())


FAILURE = {
    "request": "req-1", "model": "llama-70b", "code": "model_not_found", "at_ms": 0, "ms": 1.0,
}  # fmt: skip


def test_a_request_that_was_not_answered_stands_below_those_in_flight_with_its_reason(tmp_path: Path) -> None:
    with Node(tmp_path, "ada") as node:
        assert node.request("POST", "/v1/chat/completions", chat(model="nope"))[0] == 404
        found = top_picture.take(NodeClient(node.http, node.token)).jobs
    [row] = [dict(zip(top_picture.JOBS, row, strict=True)) for row in found]
    assert (row["FOR"], row["MODEL"], row["STATE"]) == ("you", "nope", "model_not_found")
    assert row["REQUEST"].startswith("req-")


def test_a_small_terminal_has_one_column_and_shows_what_matters_of_each_row() -> None:
    long = ("a-host-name-that-never-ends-" * 3, "lan", "1.0", "pocket", "2", "up", "", "direct")

    async def scene(size: tuple[int, int]) -> tuple[bool, bool]:
        screen = TopScreen(lambda: picture(peers=[long], jobs=[top_picture._failure(FAILURE)]), 60.0)
        async with screen.run_test(size=size) as pilot:
            await screen.workers.wait_for_complete()
            await pilot.pause()
            peers, actors = (screen.query_one(f"#{name}", Rows) for name in ("peers", "actors"))
            assert len(str(peers.get_row_at(0)[0])) <= 24
            assert screen.query_one("#jobs", Rows).get_row_at(0)[4].style == "red"
            beside = actors.region.x >= peers.region.right
            shown = screen.query_one("#accounts", Rows).display
            await pilot.press("q")
        return beside, bool(shown)

    assert asyncio.run(scene((80, 24))) == (False, False)
    assert asyncio.run(scene((200, 50))) == (True, True)


def test_names_from_the_network_cannot_steer_the_terminal() -> None:
    row = {
        "name": "evil\x1b[2J\nname", "short": "s", "ring": "lan", "rtt_ms": 1.0, "models": ["m\x07"],
        "slots": 1, "path": "", "owes_us": 0, "state": "up",
    }  # fmt: skip
    assert not any("\x1b" in cell or "\n" in cell or "\x07" in cell for cell in top_picture._peer(row))
