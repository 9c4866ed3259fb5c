import os
from pathlib import Path

from opengateway.app.node_log import KEPT, LogStream


def test_the_log_is_renamed_when_it_is_full_and_its_descriptors_follow(tmp_path: Path) -> None:
    path = tmp_path / "node.log"
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    try:
        stream = LogStream(path, most=100, descriptors=(descriptor,))
        for number in range(60):
            print(f"line {number:04d}", file=stream)
        os.write(descriptor, b"from a C library\n")  # not through the stream
    finally:
        os.close(descriptor)
    assert path.read_text().endswith("line 0059\nfrom a C library\n")
    older = sorted(tmp_path.glob("node.log.*"))
    assert len(older) == KEPT
    assert all(file.stat().st_size <= 100 for file in older)
    kept = [*reversed([file.read_text() for file in older]), path.read_text()]
    lines = "".join(kept).splitlines()[:-1]
    assert lines == [
        f"line {number:04d}" for number in range(60 - len(lines), 60)
    ]  # in order, none lost between


def test_a_full_disk_loses_lines_and_raises_nothing() -> None:
    full = Path("/dev/full")
    if not full.exists():
        return
    descriptor = os.open(full, os.O_WRONLY)
    try:
        assert LogStream(full, descriptors=(descriptor,)).write("x" * 10) == 10
    finally:
        os.close(descriptor)
