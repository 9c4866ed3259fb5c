"""The programs under tools/: what a stranger types first, so they say clearly what is wrong."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
from harness import until

ROOT = Path(__file__).resolve().parent.parent
SCRIPTS = [
    path
    for path in (*(ROOT / "tools").rglob("*"), ROOT / ".ci" / "run")
    if path.is_file()
    and path.suffix in {"", ".sh"}
    and path.read_bytes().startswith((b"#!/usr/bin/env bash", b"# S"))
]


def run(*command: str | Path, home: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """With an own, empty home and only what is given beside PATH in the environment."""
    return subprocess.run(
        [str(word) for word in command],
        env={"PATH": os.environ["PATH"], "HOME": str(home), "TMPDIR": str(home)} | environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def without_python(folder: Path) -> str:
    """A PATH with the usual tools and no Python at all."""
    folder.mkdir()
    for tool in (
        "bash",
        "env",
        "dirname",
        "sed",
        "cut",
        "cat",
        "date",
        "awk",
        "tr",
        "readlink",
        "mktemp",
        "cksum",
        "rm",
    ):
        if found := shutil.which(tool):
            (folder / tool).symlink_to(found)
    return str(folder)


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_script_is_valid_bash(script: Path) -> None:
    checked = subprocess.run(["bash", "-n", str(script)], capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stderr


def test_the_scripts_that_people_type_are_executable() -> None:
    for name in ("tools/quickstart", "tools/check", "tools/install.sh", "tools/bench/all", ".ci/run"):
        assert os.access(ROOT / name, os.X_OK), name


def test_no_script_names_a_package_index() -> None:
    for script in SCRIPTS:
        text = script.read_text()
        assert "--index-url" not in text
        assert "--extra-index-url" not in text


def test_the_installer_explains_itself(tmp_path: Path) -> None:
    said = run(ROOT / "tools/install.sh", "--help", home=tmp_path)
    assert said.returncode == 0
    assert "--uninstall" in said.stdout


def test_the_installer_refuses_an_argument_it_does_not_know(tmp_path: Path) -> None:
    said = run(ROOT / "tools/install.sh", "--frobnicate", home=tmp_path)
    assert said.returncode == 2
    assert "unknown argument --frobnicate" in said.stderr


def test_the_installer_does_not_replace_a_program_of_somebody_else(tmp_path: Path) -> None:
    other = tmp_path / ".local" / "bin" / "opengateway"
    other.parent.mkdir(parents=True)
    other.write_text("not ours")
    said = run(ROOT / "tools/install.sh", home=tmp_path)
    assert said.returncode == 1
    assert "is not from this installer" in said.stderr
    assert other.read_text() == "not ours"


def test_uninstalling_keeps_the_home_unless_told_otherwise(tmp_path: Path) -> None:
    node_home = tmp_path / ".opengateway"
    node_home.mkdir()
    (node_home / "identity.key").write_text("x")
    said = run(ROOT / "tools/install.sh", "--uninstall", home=tmp_path)
    assert said.returncode == 0
    assert "is kept" in said.stdout
    assert node_home.is_dir()
    said = run(ROOT / "tools/install.sh", "--uninstall", "--purge", home=tmp_path)
    assert said.returncode == 0
    assert not node_home.exists()


def test_purging_spares_a_folder_that_is_no_node_home(tmp_path: Path) -> None:
    precious = tmp_path / "photos"
    precious.mkdir()
    (precious / "cat.jpg").write_text("x")
    said = run(
        ROOT / "tools/install.sh", "--uninstall", "--purge", home=tmp_path, OPENGATEWAY_HOME=str(precious)
    )
    assert said.returncode == 1
    assert (precious / "cat.jpg").exists()


def test_without_a_new_enough_python_the_installer_says_so(tmp_path: Path) -> None:
    said = run(ROOT / "tools/install.sh", home=tmp_path, PATH=without_python(tmp_path / "bin"))
    assert said.returncode == 1
    assert "no Python 3.11 or newer" in said.stderr


def test_without_a_new_enough_python_the_quickstart_says_so(tmp_path: Path) -> None:
    clone = tmp_path / "a clone"
    (clone / "tools").mkdir(parents=True)
    for name in ("tools/quickstart", "tools/venv.sh"):
        shutil.copy(ROOT / name, clone / name)
    said = run(clone / "tools/quickstart", home=tmp_path, PATH=without_python(tmp_path / "bin"))
    assert said.returncode == 1
    assert "no Python 3.11 or newer" in said.stderr


def test_the_quickstart_answers_four_and_leaves_nothing(tmp_path: Path) -> None:
    said = run(sys.executable, ROOT / "tools/quickstart.py", home=tmp_path)
    assert said.returncode == 0, said.stdout + said.stderr
    lines = said.stdout.splitlines()
    assert len(lines) < 40
    assert lines[lines.index("Now cleo, who has no model, asks:") + 2].strip() == "4"
    assert said.stdout.count("VALID") == 3
    assert not list(tmp_path.glob("opengateway-quickstart-*"))


def test_an_interrupted_quickstart_leaves_nothing(tmp_path: Path) -> None:
    quickstart = subprocess.Popen(
        [sys.executable, str(ROOT / "tools/quickstart.py")],
        env={"PATH": os.environ["PATH"], "HOME": str(tmp_path), "TMPDIR": str(tmp_path)},
        stdout=subprocess.PIPE,
        text=True,
    )
    started: list[psutil.Process] = []
    with quickstart:
        try:
            # Engines are children of nodes: two levels below the quickstart.
            family = psutil.Process(quickstart.pid)
            until(lambda: len(family.children(recursive=True)) >= 2, "a node and its engine run")
            started = family.children(recursive=True)
            quickstart.send_signal(signal.SIGINT)
            said, _ = quickstart.communicate(timeout=50)
        finally:
            quickstart.kill()
    assert quickstart.returncode == 130
    assert "Interrupted" in said
    assert not list(tmp_path.glob("opengateway-quickstart-*"))
    assert [process for process in started if process.is_running()] == []


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_installing_upgrading_and_uninstalling(tmp_path: Path) -> None:
    """Runs pip, so it needs the network: 20 s and more."""
    home = tmp_path / "a home"
    home.mkdir()
    for _ in ("install", "upgrade"):
        said = run(ROOT / "tools/install.sh", home=home)
        assert said.returncode == 0, said.stdout + said.stderr
        assert run(home / ".local/bin/opengateway", "--help", home=home).returncode == 0
        assert run(home / ".local/bin/opengateway-audit", "--help", home=home).returncode == 0
    assert run(ROOT / "tools/install.sh", "--uninstall", home=home).returncode == 0
    assert not list((home / ".local/bin").iterdir())
    assert not (home / ".local/share/opengateway").exists()
