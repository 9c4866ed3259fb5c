"""The files that start a node at login, and the command that installs them."""

from __future__ import annotations

import json
import os
import plistlib
import shutil
import subprocess
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest
from cli_lab import command

from opengateway.app.service_files import Service, own_command

ODD = Path('/srv/a home/50% "quoted" $HOME \\ ünï')
"""A folder whose name has everything that means something to systemd."""


def complaints(unit: Path) -> list[str]:
    """What systemd finds wrong with this unit."""
    if not shutil.which("systemd-analyze"):
        pytest.skip("no systemd-analyze here")
    done = subprocess.run(
        ["systemd-analyze", "--user", "verify", str(unit)],
        capture_output=True, text=True, check=False, env={**os.environ, "XDG_RUNTIME_DIR": str(unit.parent)},
    )  # fmt: skip
    found = [line for line in done.stderr.splitlines() if unit.name in line]
    assert found or done.returncode == 0, done.stderr
    return found


def test_systemd_itself_finds_nothing_wrong_with_the_unit(tmp_path: Path) -> None:
    unit = tmp_path / "opengateway.service"
    unit.write_text(Service(("/bin/sh", "-c", "true"), ODD).systemd())
    assert complaints(unit) == []
    assert "network" not in unit.read_text(), "a user's manager knows no network-online.target"


@pytest.mark.parametrize("wrong", ["Colour=red", "RestartSec=soon", "ExecStart=nowhere"])
def test_and_it_would_find_what_is_wrong(tmp_path: Path, wrong: str) -> None:
    unit = tmp_path / "opengateway.service"
    made = Service(("/bin/sh", "-c", "true"), ODD).systemd()
    unit.write_text(made.replace("Restart=on-failure", wrong))
    assert complaints(unit)


def test_words_survive_systemds_quoting() -> None:
    unit = Service(("/opt/my bin/opengateway", "50%", "$HOME", 'a"b', "c\\d"), ODD).systemd()
    assert 'ExecStart="/opt/my bin/opengateway" "50%%" "$$HOME" "a\\"b" "c\\\\d"' in unit
    assert 'Environment="OPENGATEWAY_HOME=/srv/a home/50%% \\"quoted\\" $HOME \\\\ ünï"' in unit


def test_the_launchd_agent_is_a_property_list_that_says_the_same() -> None:
    agent = plistlib.loads(Service(("/usr/bin/og", "start", "--foreground"), ODD).launchd())
    assert agent["ProgramArguments"] == ["/usr/bin/og", "start", "--foreground"]
    assert agent["EnvironmentVariables"] == {"OPENGATEWAY_HOME": str(ODD)}
    assert agent["KeepAlive"] == {"SuccessfulExit": False}
    assert agent["Label"] == "org.opengateway.node"


LAUNCHD = {
    "Label": str,
    "ProgramArguments": list,
    "EnvironmentVariables": dict,
    "RunAtLoad": bool,
    "KeepAlive": dict,
    "ThrottleInterval": int,
    "ExitTimeOut": int,
    "ProcessType": str,
    "StandardOutPath": str,
    "StandardErrorPath": str,
}
"""Keys and their kinds, from launchd.plist(5): launchd leaves out without a word what it does not know."""


def test_the_launchd_agent_has_only_what_launchd_knows_and_as_it_wants_it(tmp_path: Path) -> None:
    made = Service(own_command(), tmp_path / "home").launchd()
    agent = plistlib.loads(made, fmt=plistlib.FMT_XML)
    assert {key: type(value) for key, value in agent.items()} == LAUNCHD
    assert all(isinstance(word, str) for word in agent["ProgramArguments"])
    assert all(isinstance(value, str) for value in agent["EnvironmentVariables"].values())
    assert agent["ProcessType"] in ("Background", "Standard", "Adaptive", "Interactive")
    paths = (agent["ProgramArguments"][0], agent["StandardOutPath"], agent["StandardErrorPath"])
    assert all(Path(one).is_absolute() for one in paths), "launchd has no folder and no PATH of ours"
    assert ET.fromstring(made).tag == "plist"


def test_two_homes_have_two_services() -> None:
    one, other = (Service(("og",), Path(home), default=False) for home in ("/a", "/b"))
    assert one.name != other.name
    assert one.path("systemd", Path("/c")) != other.path("systemd", Path("/c"))
    assert one.label != other.label


def test_the_command_is_one_that_is_there() -> None:
    program, *words = own_command()
    assert Path(program).is_absolute()
    assert os.access(program, os.X_OK)
    assert words[-2:] == ["start", "--foreground"]


SYSTEMCTL = """#!/bin/sh
echo "$*" >> "$OUT"
case "$*" in *"$FAIL"*) [ -z "$FAIL" ] || { echo "refused" >&2; exit 1; } ;; esac
"""


@pytest.fixture
def user(tmp_path: Path) -> dict[str, str]:
    """A user whose systemd is a script that writes down what it is told."""
    tools = tmp_path / "bin"
    tools.mkdir()
    (tools / "systemctl").write_text(SYSTEMCTL)
    (tools / "systemctl").chmod(0o755)
    return {
        "HOME": str(tmp_path), "PATH": f"{tools}:/usr/bin:/bin", "OUT": str(tmp_path / "told"), "FAIL": "",
    }  # fmt: skip


def service(user: dict[str, str], *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command("service", *words), capture_output=True, text=True, timeout=50, check=False, env=user
    )


def test_install_writes_enables_and_starts_and_remove_takes_it_back(user: dict[str, str]) -> None:
    done = service(user, "install", "--kind", "systemd", "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    unit = Path(user["HOME"]) / ".config/systemd/user/opengateway.service"
    assert found == {"file": str(unit), "kind": "systemd", "started": True}
    assert f'"OPENGATEWAY_HOME={user["HOME"]}/.opengateway"' in unit.read_text()
    assert complaints(unit) == []
    told = Path(user["OUT"]).read_text().splitlines()
    assert told[1:] == [
        "--user daemon-reload",
        "--user enable --quiet opengateway.service",
        "--user restart opengateway.service",
    ]
    assert service(user, "remove", "--kind", "systemd").returncode == 0
    assert not unit.exists()
    told = Path(user["OUT"]).read_text()
    assert "--user disable --now --quiet opengateway.service" in told
    again = service(user, "remove", "--kind", "systemd")
    assert (again.returncode, again.stdout) == (0, "no service is installed\n")


def test_the_folder_of_launchds_log_is_there_before_launchd_needs_it(user: dict[str, str]) -> None:
    done = service(user, "install", "--kind", "launchd", "--json")
    assert done.returncode == 0, done.stderr
    agent = plistlib.loads(Path(json.loads(done.stdout)["file"]).read_bytes())
    assert Path(agent["StandardOutPath"]).parent.is_dir()


def test_a_refusal_is_told_with_what_works_instead(user: dict[str, str]) -> None:
    done = service(user | {"FAIL": "enable"}, "install", "--kind", "systemd")
    assert done.returncode == 1
    assert "refused" in done.stderr
    assert "opengateway start" in done.stderr
    assert "Traceback" not in done.stderr


def test_print_changes_nothing(user: dict[str, str]) -> None:
    done = service(user, "install", "--print", "--kind", "launchd")
    assert plistlib.loads(done.stdout.encode())["RunAtLoad"] is True
    assert not Path(user["OUT"]).exists()
    assert not (Path(user["HOME"]) / "Library").exists()
