"""The output of a batch: one line for each request, whatever happens to whoever writes it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from opengateway.batch.output import (
    Output,
    OutputBusy,
    OutputForeign,
    answered,
    forget_failures,
    unanswered,
)
from opengateway.errors import SetupError


def written(path: Path, *ids: str, status: int = 200) -> None:
    with Output(path) as output:
        for custom_id in ids:
            row = answered("b", custom_id, status, "req-1", {"text": custom_id})
            output.add(custom_id, row, failed=status != 200)


def ids(path: Path) -> list[str]:
    return [json.loads(line)["custom_id"] for line in path.read_text().splitlines()]


def test_what_was_written_is_known_when_the_file_is_opened_again(tmp_path: Path) -> None:
    path = tmp_path / "out"
    written(path, "a", "b")
    written(path, "bad", status=404)
    with Output(path) as output:
        assert output.done == {"a", "b", "bad"}
        assert output.failed == {"bad"}
        assert not output.torn


def test_a_line_has_openais_shape(tmp_path: Path) -> None:
    path = tmp_path / "out"
    written(path, "a")
    row = json.loads(path.read_text())
    assert row["id"].startswith("batch_req_")
    assert row["response"] == {"status_code": 200, "request_id": "req-1", "body": {"text": "a"}}
    assert row["error"] is None
    assert unanswered("b", "a", "batch_expired", "too late")["response"] is None


@settings(max_examples=60)
@given(st.integers(0, 400))
def test_wherever_a_kill_tears_the_file_whole_lines_stay_and_the_torn_one_goes(cut: int) -> None:
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "out"
        written(path, "a", "b")
        data = path.read_bytes()
        path.write_bytes(data[:cut])
        whole = data[:cut].count(b"\n")
        with Output(path) as output:
            assert output.done == set(["a", "b"][:whole])
            assert output.torn == (cut < len(data) and data[:cut] != b"".join(data.splitlines(True)[:whole]))
            output.add("c", answered("b", "c", 200, "r", {}), failed=False)
        assert ids(path) == [*["a", "b"][:whole], "c"]


def test_a_file_of_something_else_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "out"
    path.write_text("dear diary\nsecond line\n")
    with pytest.raises(OutputForeign, match="line 1"):
        Output(path)
    assert path.read_text() == "dear diary\nsecond line\n"


def test_two_batches_do_not_write_one_file(tmp_path: Path) -> None:
    with Output(tmp_path / "out"), pytest.raises(OutputBusy):
        Output(tmp_path / "out")
    with Output(tmp_path / "out"):
        pass


def test_failures_are_forgotten_to_be_asked_again(tmp_path: Path) -> None:
    path = tmp_path / "out"
    written(path, "a")
    written(path, "bad", status=503)
    written(path, "b")
    assert forget_failures(path) == 1
    assert ids(path) == ["a", "b"]
    assert forget_failures(path) == 0
    assert forget_failures(tmp_path / "none") == 0


WRITER = """
import resource, signal, sys
from pathlib import Path
from opengateway.batch.output import Output, answered
from opengateway.errors import SetupError
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
output = Output(Path(sys.argv[1]))
for number in range(100):
    try:
        output.add(str(number), answered("b", str(number), 200, "r", {"text": "x" * 100}), failed=False)
    except SetupError as error:
        print(error.message)
        break
output.close()
"""


def test_a_full_disk_leaves_whole_lines_only(tmp_path: Path) -> None:
    """A file that may not grow beyond 1,000 bytes: the line that does not fit is written in part."""
    path = tmp_path / "out"
    done = subprocess.run(
        [sys.executable, "-c", WRITER, str(path)], capture_output=True, text=True, timeout=50, check=True
    )
    assert "cannot write" in done.stdout
    assert 0 < path.stat().st_size <= 1000
    assert ids(path) == [str(number) for number in range(len(ids(path)))]


def test_a_place_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    with pytest.raises(SetupError, match="cannot write"):
        Output(tmp_path / "no folder" / "out")
    assert list(tmp_path.iterdir()) == []
