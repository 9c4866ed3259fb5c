"""`opengateway batch` over two real nodes: whole, killed, interrupted, resumed."""

from __future__ import annotations

import json
import os
import pty
import select
import signal
import subprocess
import time
from collections import Counter
from pathlib import Path
from typing import Any

import cli_lab
import pytest
from harness import Node, until
from pairs import Pair

CHAT = "/v1/chat/completions"


def requests(path: Path, count: int, *, tokens: int = 3, **more: Any) -> Path:
    body = {
        "messages": [{"role": "user", "content": "hello"}],
        "max_tokens": tokens,
        "temperature": 0,
        **more,
    }
    rows = ({"custom_id": f"r{n}", "method": "POST", "url": CHAT, "body": body} for n in range(count))
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def rows(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def whole(path: Path) -> int:
    """Lines that are there to their end."""
    return path.read_bytes().count(b"\n") if path.exists() else 0


def ids(path: Path) -> Counter[str]:
    return Counter(row["custom_id"] for row in rows(path))


def started(node: Node, source: Path, target: Path, *more: str, **how: Any) -> subprocess.Popen[bytes]:
    how.setdefault("stderr", subprocess.PIPE)
    return subprocess.Popen(
        cli_lab.command("batch", str(source), str(target), *more, home=node.home),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        **how,
    )


def test_a_file_is_answered_by_the_network_and_errors_are_lines_too(
    pocket_pair: Pair, tmp_path: Path
) -> None:
    source, target = requests(tmp_path / "in", 12), tmp_path / "out"
    wrong = {"custom_id": "no", "method": "POST", "url": CHAT, "body": {"messages": [], "model": "pocket"}}
    with source.open("a") as file:
        file.write(json.dumps(wrong) + "\n")
    done = pocket_pair.asking.cli("batch", str(source), str(target))
    assert done.returncode == 1, done.stderr
    assert "12 of 13 answered, 1 failed" in done.stdout
    assert "--retry-failed" in done.stderr
    assert ids(target) == Counter([*(f"r{n}" for n in range(12)), "no"])
    found = {row["custom_id"]: row["response"] for row in rows(target)}
    assert found["r0"]["status_code"] == 200
    assert found["r0"]["body"]["object"] == "chat.completion"
    assert found["r0"]["request_id"].startswith("req-")
    assert found["no"]["status_code"] == 400
    assert found["no"]["body"]["error"]["code"] == "invalid_request"


def test_another_model_for_all_and_what_failed_once_more(pocket_pair: Pair, tmp_path: Path) -> None:
    source, target = requests(tmp_path / "in", 3, model="nonsense"), tmp_path / "out"
    failed = pocket_pair.asking.cli("batch", str(source), str(target), "--json")
    assert failed.returncode == 1
    assert json.loads(failed.stdout)["failed"] == 3
    assert {row["response"]["body"]["error"]["code"] for row in rows(target)} == {"model_not_found"}
    again = pocket_pair.asking.cli(
        "batch", str(source), str(target), "--json", "--retry-failed", "-m", "pocket"
    )
    assert again.returncode == 0, again.stderr
    assert json.loads(again.stdout) == {
        "total": 3, "done": 3, "failed": 0, "resumed": 0, "output": str(target)
    }  # fmt: skip
    assert ids(target) == Counter(f"r{n}" for n in range(3))


def test_killed_again_and_again_each_request_has_one_line_in_the_end(
    paced_pair: Pair, tmp_path: Path
) -> None:
    """kill -9 at moments that fall between asking, answering and writing; the last line torn besides."""
    source, target = requests(tmp_path / "in", 40, tokens=2), tmp_path / "out"
    for wanted in (1, 9, 20):
        with started(paced_pair.asking, source, target) as process:
            until(lambda wanted=wanted: whole(target) >= wanted, f"{wanted} lines")
            process.kill()
        os.truncate(target, target.stat().st_size - 7)
    done = paced_pair.asking.cli("batch", str(source), str(target))
    assert done.returncode == 0, done.stderr
    assert "torn" in done.stderr
    assert ids(target) == Counter(f"r{n}" for n in range(40))


def test_ctrl_c_keeps_everything_and_says_how_to_go_on(paced_pair: Pair, tmp_path: Path) -> None:
    source, target = requests(tmp_path / "in", 300, tokens=5), tmp_path / "out"
    with started(paced_pair.asking, source, target) as process:
        until(lambda: whole(target) >= 3, "three lines")
        process.send_signal(signal.SIGINT)
        _, told = process.communicate(timeout=20)
    assert process.returncode == 130
    assert b"the same command goes on" in told
    assert len(ids(target)) == len(rows(target)) < 300
    until(lambda: paced_pair.serving.get("/node/status")["engine"]["busy"] == 0, "the slots are free")


def test_mistakes_are_told_before_anything_is_asked(pocket_pair: Pair, tmp_path: Path) -> None:
    source, target = tmp_path / "in", tmp_path / "out"
    source.write_text('{"custom_id": "a"}\nnonsense\n')
    done = pocket_pair.asking.cli("batch", str(source), str(target))
    assert done.returncode == 1
    assert "line 1" in done.stderr
    assert "line 2" in done.stderr
    assert not target.exists()


def test_answers_of_another_batch_are_not_added_to(pocket_pair: Pair, tmp_path: Path) -> None:
    target = tmp_path / "out"
    target.write_text('{"custom_id": "else", "response": null}\n')
    done = pocket_pair.asking.cli("batch", str(requests(tmp_path / "in", 2)), str(target))
    assert done.returncode == 1
    assert "'else'" in done.stderr
    assert len(rows(target)) == 1


def test_a_terminal_shows_a_bar_with_rate_and_time_left(paced_pair: Pair, tmp_path: Path) -> None:
    source, target = requests(tmp_path / "in", 1000, tokens=4), tmp_path / "out"
    terminal, inside = pty.openpty()
    command = cli_lab.command("batch", str(source), str(target), home=paced_pair.asking.home)
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": "100"}
    process = subprocess.Popen(command, stdin=inside, stdout=inside, stderr=inside, env=environment)
    os.close(inside)
    seen, deadline = b"", time.monotonic() + 30
    try:
        while b"1000 of 1000 answered" not in seen:
            assert time.monotonic() < deadline, seen
            if select.select([terminal], [], [], 0.5)[0]:
                seen += os.read(terminal, 65536)
        assert process.wait(20) == 0
    finally:
        process.kill()
        process.wait()
        os.close(terminal)
    assert b"/s" in seen
    assert b"left" in seen
    assert b"/1000" in seen


@pytest.mark.parametrize("target", ["in", "missing/out"])
def test_an_output_that_cannot_be_is_refused(pocket_pair: Pair, tmp_path: Path, target: str) -> None:
    source = requests(tmp_path / "in", 1)
    done = pocket_pair.asking.cli("batch", str(source), str(tmp_path / target))
    assert done.returncode in (1, 2)
    assert "error:" in done.stderr
    assert len(source.read_text().splitlines()) == 1
