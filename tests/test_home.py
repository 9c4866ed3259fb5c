import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from opengateway.errors import DiskFull, HomeBusy, SetupError
from opengateway.home import Home, cannot_write, write_atomically

HOLDER = """
import sys, time
from opengateway.home import Home
home = Home(sys.argv[1])
with home.hold():
    home.announce(http="http://127.0.0.1:1", wire_port=2, node_id="id", version="0")
    print("held", flush=True)
    time.sleep(60)
"""


def holder(home: Home) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(home.path)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout and process.stdout.readline() == "held\n"
    return process


def test_the_option_comes_before_the_variable_before_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENGATEWAY_HOME", "/var")
    assert Home.find("/opt/x").path == Path("/opt/x")
    assert Home.find().path == Path("/var")
    monkeypatch.delenv("OPENGATEWAY_HOME")
    assert Home.find().path == Path.home() / ".opengateway"


def test_only_one_node_holds_a_home_and_the_other_is_told_its_pid(tmp_path: Path) -> None:
    home = Home(tmp_path)
    with holder(home) as process:
        try:
            assert home.running_pid() == process.pid
            with pytest.raises(HomeBusy, match=f"process {process.pid}"), home.hold():
                pass
            facts = home.announced()
            assert facts and facts["pid"] == process.pid
        finally:
            process.kill()


def test_what_a_killed_node_left_is_believed_by_nobody(tmp_path: Path) -> None:
    home = Home(tmp_path)
    with holder(home) as process:
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
    assert home.node_json.exists()
    assert home.running_pid() is None
    assert home.announced() is None
    with home.hold():
        assert not home.node_json.exists()
        assert home.running_pid() == os.getpid()
        with home.hold():  # the same node, one call deeper
            assert home.running_pid() == os.getpid()
    assert home.running_pid() is None
    assert not home.pid_file.exists()


def test_the_control_token_is_the_owners_and_new_at_each_start(tmp_path: Path) -> None:
    home = Home(tmp_path)
    assert home.read_control_token() == ""
    home.prepare()
    first, second = home.new_control_token(), home.new_control_token()
    assert first != second == home.read_control_token()
    assert home.control_token.stat().st_mode & 0o777 == 0o600
    assert home.run.stat().st_mode & 0o077 == 0


def test_a_home_that_cannot_be_made_is_a_setup_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(SetupError, match="cannot write to"):
        Home(tmp_path / "file" / "home").prepare()


def test_a_full_disk_has_its_own_words() -> None:
    assert isinstance(cannot_write(Path("/x"), OSError(28, "No space left on device")), DiskFull)


def test_a_write_that_fails_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = tmp_path / "file"
    write_atomically(target, b"old")

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(DiskFull):
        write_atomically(target, b"new")
    assert target.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [target]
