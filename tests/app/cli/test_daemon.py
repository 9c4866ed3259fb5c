"""The node as a background process, with real nodes."""

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from cli_lab import PATIENCE_S, Run, command, opengateway
from harness import private_network, processes_of, until

from opengateway.app import daemon
from opengateway.home import Home


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Home]:
    """A home with settings for a network of its own. Nothing that ran from it outlives the test."""
    home = Home(tmp_path / "home")
    home.path.mkdir()
    home.config.write_text(json.dumps(private_network()))
    yield home
    if left := processes_of(home.path):
        for process in left:
            process.kill()
        psutil.wait_procs(left, PATIENCE_S)
        raise AssertionError(f"left running: {left}")


def gone(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE  # ended; init has yet to notice
    except psutil.NoSuchProcess:
        return True


def pid_of(out: str) -> int:
    found = re.match(r"Node: running \(pid (\d+)\)", out)
    assert found, out
    return int(found[1])


def test_a_node_starts_answers_restarts_and_stops(home: Home) -> None:
    done = opengateway("start", "--engine", "pocket", home=home.path)
    assert done.returncode == 0, done.stderr
    first = pid_of(done.stdout)
    for line in (
        "Clusters: eu-central-1.pocket",
        "Models: pocket",
        "Engine: llama_server, running",
        "Peers: 0",
    ):
        assert line in done.stdout
    again = opengateway("start", home=home.path)
    assert (again.returncode, pid_of(again.stdout)) == (0, first)

    asked = opengateway("prompt", "--stats", "What is 2+2?", home=home.path)
    assert (asked.returncode, asked.stdout) == (0, "4\n")
    assert "route: local" in asked.stderr
    assert opengateway("actors", home=home.path).returncode == 0
    assert opengateway("doctor", home=home.path).returncode == 0
    assert "demo" in opengateway("models", home=home.path).stdout

    done = opengateway("restart", "--engine", "none", home=home.path)
    second = pid_of(done.stdout)
    assert second != first
    assert gone(first)
    done = opengateway("stop", home=home.path)
    assert (done.returncode, done.stdout) == (0, f"Node: stopped (pid {second})\n")
    assert gone(second)
    assert opengateway("status", home=home.path).returncode == 1
    assert "Traceback" not in home.node_log.read_text()


@pytest.mark.timeout(180)
def test_a_running_node_changes_its_key_and_runs_on(home: Home) -> None:
    first = pid_of(opengateway("start", home=home.path).stdout)
    done = opengateway("key", "rotate", "--yes", "--json", home=home.path)
    assert done.returncode == 0, done.stderr
    changed = json.loads(done.stdout)
    now = json.loads(opengateway("status", "--json", home=home.path).stdout)
    assert now["node_id"] == changed["new"] != changed["old"]
    assert gone(first) and now["pid"] != first
    done = opengateway("ledger", "repair", "--yes", home=home.path)
    assert (done.returncode, done.stdout) == (0, "Nothing is wrong with this ledger.\n")
    assert json.loads(opengateway("status", "--json", home=home.path).stdout)["pid"] == now["pid"]
    assert opengateway("stop", home=home.path).returncode == 0


@pytest.mark.parametrize(
    "words",
    [
        "status", "peers", "clusters", "models", "actors", "ledger", "ledger history", "ledger peers",
        "eligible", "resources", "gauge", "doctor", "actors --stack scheduler",
    ],
)  # fmt: skip
def test_every_listing_of_a_running_node_is_also_json(words: str, running: Run) -> None:
    code, out, err = running(*words.split())
    assert (code, err) == (0, "")
    assert out
    code, out, _ = running(*words.split(), "--json")
    assert code == 0
    json.loads(out)


@pytest.fixture(scope="module")
def running_home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """One node for all tests that only look at it."""
    path = tmp_path_factory.mktemp("running")
    (path / "config.json").write_text(json.dumps(private_network()))
    started = opengateway("start", home=path)
    assert started.returncode == 0, started.stderr
    try:
        yield path
    finally:
        assert opengateway("stop", home=path).returncode == 0


@pytest.fixture
def running(running_home: Path, capsys: pytest.CaptureFixture[str]) -> Run:
    from opengateway.app.cli import main

    def call(*args: str) -> tuple[int, str, str]:
        code = main(["--home", str(running_home), *args])
        out, err = capsys.readouterr()
        return code, out, err

    return call


def test_the_ledger_is_exported_and_found_valid(running: Run, tmp_path: Path) -> None:
    file = tmp_path / "ledger.ogwl"
    assert running("ledger", "export", str(file))[0] == 0
    code, out, _ = running("audit", str(file))
    assert (code, out.startswith("VALID")) == (0, True)
    assert running("ledger", "export", str(tmp_path / "no" / "folder"))[0] == 1


@pytest.mark.parametrize(
    "words",
    ["connect 127.0.0.1:9", "disconnect nobody", "prompt --model nosuch hi", "peers x", "models rm x"],
)
def test_what_a_running_node_refuses_is_one_error_with_a_hint(running: Run, words: str) -> None:
    code, out, err = running(*words.split())
    if code == 0:  # a cluster without members is no error
        assert out == "no peers in x\n"
        return
    assert (code, out) == (1, "")
    assert err.startswith("error: ")
    assert err.count("\n") <= 2


def test_a_killed_node_leaves_no_orphan_and_is_no_obstacle(home: Home) -> None:
    done = opengateway("start", "--engine", "pocket", home=home.path)
    first = pid_of(done.stdout)
    os.kill(first, signal.SIGKILL)
    until(lambda: not processes_of(home.path), "the engine has followed its node")
    assert opengateway("status", home=home.path).stdout == "Node: not running\n"
    done = opengateway("start", home=home.path)
    assert pid_of(done.stdout) != first
    assert opengateway("stop", home=home.path).returncode == 0


def test_two_starts_at_once_give_one_node(home: Home) -> None:
    starts = [
        subprocess.Popen(
            command("start", home=home.path),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        for _ in range(2)
    ]
    results = [(*process.communicate(timeout=PATIENCE_S), process.returncode) for process in starts]
    pids = {pid_of(out.decode()) for out, _, code in results if code == 0}
    assert len(pids) == 1, results
    assert all(b"already running" in err for _, err, code in results if code)
    assert opengateway("stop", home=home.path).returncode == 0


def test_a_start_beside_another_that_comes_to_nothing_waits_for_it_and_starts_the_node(home: Home) -> None:
    with home.hold():  # somebody has begun, and is not there yet
        start = subprocess.Popen(
            command("start", home=home.path),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert start.stderr is not None
        assert "is starting the node" in start.stderr.readline()
    out, err = start.communicate(timeout=PATIENCE_S)
    assert start.returncode == 0, err
    assert pid_of(out)
    assert opengateway("stop", home=home.path).returncode == 0


@pytest.mark.parametrize("foreground", [[], ["--foreground"]], ids=["background", "foreground"])
@pytest.mark.parametrize(
    "trouble", ["http port", "wire port", "region", "engine", "config", "no file", "home"]
)
def test_a_start_that_cannot_be_is_one_sentence_with_a_hint(
    home: Home, foreground: list[str], trouble: str, tmp_path: Path
) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        where, says, more = home.path, "", []
        match trouble:
            case "http port" | "wire port":
                more, says = ["--set", f"{trouble.split(maxsplit=1)[0]}.port={port}"], f"{port}"
            case "region":
                more, says = (
                    ["--region", "eu-wset-1"],
                    'unknown region "eu-wset-1", did you mean "eu-west-1"?',
                )
            case "engine":
                more, says = ["--engine", "olama"], 'did you mean "ollama"?'
            case "config":
                home.config.write_text('{"region": }')
                says = "is not JSON: line 1, column 12"
            case "no file":
                home.config.unlink()
                home.config.mkdir()
                says = "cannot read the configuration"
            case "home":
                (tmp_path / "file").write_text("")
                where, says = tmp_path / "file" / "home", "cannot write to"
        done = opengateway("start", *foreground, *more, home=where)
    assert done.returncode == 1
    assert done.stdout == ""
    assert says in done.stderr
    assert "Traceback" not in done.stderr
    last = done.stderr.splitlines()[-2:]
    assert last[0].startswith("error: ")
    assert last[1].startswith("  hint: ")
    if not foreground:
        assert done.stderr.count("\n") == 2


@pytest.mark.skipif(
    os.geteuid() != 0 or not sys.platform.startswith("linux"), reason="mounting a small disk needs root"
)
@pytest.mark.parametrize("foreground", [[], ["--foreground"]], ids=["background", "foreground"])
def test_a_full_disk_is_one_sentence(tmp_path: Path, foreground: list[str]) -> None:
    mount, umount = shutil.which("mount"), shutil.which("umount")
    if not mount or not umount:
        pytest.skip("no mount command")
    disk = tmp_path / "disk"
    disk.mkdir()
    if subprocess.run(
        [mount, "-t", "tmpfs", "-o", "size=64k", "tmpfs", disk], check=False, capture_output=True
    ).returncode:
        pytest.skip("mounting is not permitted here")
    try:
        (disk / "rest").write_bytes(b"\0" * 64 * 1024)
        done = opengateway("start", *foreground, home=disk / "home")
    finally:
        subprocess.run([umount, disk], check=True)
    assert done.returncode == 1
    assert done.stderr.startswith("error: no space left on the disk of ")
    assert done.stderr.count("\n") == 2


HANGING = """
import signal, sys, time
from opengateway.home import Home
signal.signal(signal.SIGTERM, signal.SIG_IGN)
home = Home(sys.argv[1])
with home.hold():
    print("held", flush=True)
    time.sleep(60)
"""


def test_a_node_that_hangs_is_killed_in_the_end(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(daemon, "STOP_LIMIT_S", 0.2)
    with subprocess.Popen(
        [sys.executable, "-c", HANGING, str(home.path)], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout
        assert process.stdout.readline() == "held\n"
        assert daemon.stop(home) == process.pid
        assert process.wait(PATIENCE_S) == -signal.SIGKILL


def test_a_pid_that_no_longer_holds_the_lock_is_never_killed(home: Home) -> None:
    home.prepare()
    home.lock.touch()
    home.pid_file.write_text(f"{os.getpid()}\n")
    done = opengateway("stop", home=home.path)
    assert (done.returncode, done.stdout) == (0, "Node: not running\n")


def test_the_log_is_followed_while_it_grows_and_rotates(home: Home) -> None:
    home.prepare()
    home.node_log.write_text("old\n")
    with subprocess.Popen(
        command("logs", "-f", "-n", "1", home=home.path), stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout
        stuck = threading.Timer(PATIENCE_S, process.kill)
        stuck.start()
        assert process.stdout.readline() == "old\n"
        with home.node_log.open("a") as log:
            log.write("grown\n")
        assert process.stdout.readline() == "grown\n"
        home.node_log.rename(home.logs / "node.log.1")
        home.node_log.write_text("rotated\n")
        assert process.stdout.readline() == "rotated\n"
        process.send_signal(signal.SIGINT)
        assert process.wait(PATIENCE_S) == 0
        stuck.cancel()
        stuck.join()
