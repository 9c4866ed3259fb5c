"""`opengateway map`: the network as seen from here."""

from __future__ import annotations

import builtins
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cli_lab import Run, Script, scripted_node

from opengateway.app.cli.map import FAR_MS, LONGEST, line_to
from opengateway.app.cli.map_picture import bearing, places, radius
from opengateway.home import Home

PNG = b"\x89PNG\r\n\x1a\n"
STATUS = {
    "short": "abcdefghij",
    "name": "flat",
    "region": "eu-central-1",
    "reachability": {"kind": "relayed", "text": "relayed through ada"},
    "models": [],
    "clusters": [],
}


def peer(name: str, ring: str, rtt_ms: float | None, **more: Any) -> dict[str, Any]:
    row = {
        "id": name,
        "short": name,
        "name": name,
        "ring": ring,
        "rtt_ms": rtt_ms,
        "region": "eu-central-1",
        "path": "direct",
        "models": [],
        "state": "up",
        "owes_us": 0,
        "quiet": False,
        "place_disproved": False,
    }
    return row | more


PEERS = [
    peer("villa", "world", 238.0, region="ap-northeast-1", path="relayed via ada", models=["pocket"]),
    peer("ada", "nearest", 8.2, models=["a", "b"], owes_us=1_500_000),
    peer("liar", "world", 8.0, region="us-east-1", place_disproved=True, owes_us=-250_000),
    peer("new", "nearest", None, region="atlantis-1"),
    peer("cellar$\x1b[2J", "lan", 0.4, quiet=True),
    peer("gone", "", None, state="down"),
]


@pytest.fixture
def mapped(home: Home, run: Run) -> Callable[..., tuple[int, str, str]]:
    home.prepare()

    def call(*args: str, peers: list[dict[str, Any]] = PEERS) -> tuple[int, str, str]:
        script = Script(answers={"/node/status": (200, STATUS), "/node/peers": (200, {"peers": peers})})
        with scripted_node(home, script):
            return run("map", *args)

    return call


def test_the_map_shows_rings_round_trips_and_ways_from_near_to_far(mapped: Any) -> None:
    code, out, _ = mapped()
    assert code == 0
    lines = {line.split()[3]: line for line in out.splitlines() if "●" in line}
    assert list(lines) == ["cellar$[2J", "ada", "new", "liar", "villa"]
    assert "8.2 ms" in lines["ada"] and "owes us 1.5" in lines["ada"] and "a, b" in lines["ada"]
    assert "not us-east-1" in lines["liar"] and "we owe 0.25" in lines["liar"]
    assert "relayed via ada" in lines["villa"] and "┈" in lines["villa"]
    assert "? ms" in lines["new"]
    assert "quiet" in out
    assert "without a session: 1 down" in out
    assert "\x1b" not in out


def test_programs_get_it_as_json(mapped: Any) -> None:
    found = json.loads(mapped("--json")[1])
    assert [ring["ring"] for ring in found["rings"]] == ["lan", "nearest", "world"]
    assert [one["name"] for one in found["rings"][2]["peers"]] == ["liar", "villa"]
    assert found["here"]["name"] == "flat"
    assert found["away"] == {"down": 1}


def test_without_company_it_says_so(mapped: Any) -> None:
    assert "nobody is connected" in mapped(peers=[])[1]


def test_it_is_drawn_where_matplotlib_is_installed(mapped: Any, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    for peers in (PEERS, []):
        code, out, _ = mapped("--png", str(tmp_path / "map.png"), peers=peers)
        assert code == 0
        assert "map.png" in out
        assert (tmp_path / "map.png").read_bytes().startswith(PNG)
    code, _, err = mapped("--png", str(tmp_path / "map.xyz"))
    assert code == 2
    assert "--png FILE.png" in err


def test_where_it_is_not_installed_the_user_is_told_what_to_do(
    mapped: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = builtins.__import__

    def without(name: str, *args: Any, **kwargs: Any) -> Any:
        if name.startswith("matplotlib"):
            raise ImportError(name)
        return whole(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without)
    code, _, err = mapped("--png", str(tmp_path / "map.png"))
    assert code == 1
    assert "pip install matplotlib" in err
    assert not (tmp_path / "map.png").exists()


def test_the_line_grows_with_the_round_trip_within_its_bounds() -> None:
    lengths = [line_to(peer("x", "lan", ms)).count("─") for ms in (0.0, 0.1, 1.0, 10.0, 100.0, FAR_MS, 1e6)]
    assert lengths == sorted(lengths)
    assert (lengths[0], lengths[-1]) == (1, LONGEST)


def test_the_picture_keeps_distances_and_directions() -> None:
    assert math.degrees(bearing("eu-central-1", "eu-north-1")) == pytest.approx(29, abs=5)
    assert math.degrees(bearing("eu-central-1", "af-south-1")) == pytest.approx(172, abs=5)
    spots = places("eu-central-1", PEERS)
    for one, (x, y) in zip(PEERS, spots, strict=True):
        assert math.hypot(x, y) == pytest.approx(radius(one["rtt_ms"]))
    assert len({(round(x, 6), round(y, 6)) for x, y in spots}) >= len(PEERS) - 1
