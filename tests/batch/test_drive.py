"""All requests of a batch, asked as many at once as there is room."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from opengateway.batch import drive
from opengateway.batch.drive import AHEAD, Drive, Progress, Reply
from opengateway.batch.lines import ROUTES, Line
from opengateway.batch.output import Output
from opengateway.errors import NotRunning

FINE = Reply(200, "r", {"ok": True})


def lines(count: int) -> list[Line]:
    return [Line(n + 1, 0, 0, str(n), ROUTES[0]) for n in range(count)]


def run(
    path: Path, count: int, ask: Callable[[Line], Awaitable[Reply]], capacity: Callable[[], int] = lambda: 4
) -> Progress:
    async def room() -> int:
        return capacity()

    async def main() -> Progress:
        with Output(path) as output:
            return await Drive(lines(count), output, ask, name="b", capacity=room).run()

    return asyncio.run(asyncio.wait_for(main(), 20))


def ids(path: Path) -> list[str]:
    return [json.loads(line)["custom_id"] for line in path.read_text().splitlines()]


@pytest.fixture(autouse=True)
def _hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(drive, "PAUSE_S", 0.001)


def test_every_request_is_asked_once_and_no_more_at_once_than_there_is_room(tmp_path: Path) -> None:
    asked: Counter[str] = Counter()
    now = most = 0

    async def ask(line: Line) -> Reply:
        nonlocal now, most
        asked[line.custom_id] += 1
        now += 1
        most = max(most, now)
        await asyncio.sleep(0.001)
        now -= 1
        return FINE

    progress = run(tmp_path / "out", 50, ask)
    assert (progress.done, progress.failed) == (50, 0)
    assert set(asked.values()) == {1}
    assert sorted(ids(tmp_path / "out"), key=int) == [str(n) for n in range(50)]
    assert most == 4 + AHEAD


def test_what_passes_is_tried_again_and_what_does_not_is_an_error_line(tmp_path: Path) -> None:
    asked: Counter[str] = Counter()

    async def ask(line: Line) -> Reply:
        asked[line.custom_id] += 1
        if line.custom_id == "0" and asked["0"] < 3:
            return Reply(503, "r", {"error": {}}, 0.001)
        return Reply(404, "r", {"error": {"code": "model_not_found"}}) if line.custom_id == "1" else FINE

    progress = run(tmp_path / "out", 3, ask)
    assert (progress.done, progress.failed) == (3, 1)
    assert asked == {"0": 3, "1": 1, "2": 1}
    rows = {row["custom_id"]: row for row in map(json.loads, (tmp_path / "out").read_text().splitlines())}
    assert rows["1"]["response"]["body"]["error"]["code"] == "model_not_found"
    assert rows["0"]["response"]["status_code"] == 200


def test_what_never_passes_ends_as_an_error_after_five_tries(tmp_path: Path) -> None:
    asked: list[str] = []

    async def ask(line: Line) -> Reply:
        asked.append(line.custom_id)
        return Reply(503, "r", {}, 0.001)

    assert run(tmp_path / "out", 1, ask).failed == 1
    assert len(asked) == drive.TRIES


def test_a_node_that_goes_away_ends_the_run_and_the_next_goes_on(tmp_path: Path) -> None:
    asked: Counter[str] = Counter()

    async def dies(line: Line) -> Reply:
        asked[line.custom_id] += 1
        if len(asked) > 10:
            raise NotRunning("gone")
        return FINE

    with pytest.raises(NotRunning):
        run(tmp_path / "out", 30, dies)
    done = ids(tmp_path / "out")
    assert 0 < len(done) <= 10

    async def lives(line: Line) -> Reply:
        assert line.custom_id not in done
        return FINE

    progress = run(tmp_path / "out", 30, lives)
    assert (progress.done, progress.resumed) == (30, len(done))
    assert sorted(ids(tmp_path / "out"), key=int) == [str(n) for n in range(30)]


def test_more_room_is_used_as_it_comes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(drive, "LOOK_EVERY_S", 0.01)
    looks = iter([1, *[20] * 1000])
    now = most = 0

    async def ask(_: Line) -> Reply:
        nonlocal now, most
        now += 1
        most = max(most, now)
        await asyncio.sleep(0.02)
        now -= 1
        return FINE

    run(tmp_path / "out", 60, ask, capacity=lambda: next(looks))
    assert most > 10


def test_rate_and_time_left_are_what_has_been_seen() -> None:
    progress = Progress(total=100)
    assert (progress.rate, progress.eta_s) == (0.0, None)
    progress._ends.extend([10.0, 10.5, 11.0])
    progress.done = 50
    assert progress.rate == pytest.approx(2.0)
    assert progress.eta_s == pytest.approx(25.0)
