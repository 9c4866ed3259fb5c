"""Everything that works, or fails well, without a running node."""

import json
import re
import shlex
import shutil
import socket
import subprocess
from pathlib import Path

import pytest
from cli_lab import Run, command, opengateway

from opengateway.home import Home

ONLINE = (
    "peers", "clusters", "connect x", "disconnect x", "join x", "leave x", "models", "models list",
    "models pull x", "models rm x", "prompt hi", "actors", "actors --stack x", "ledger", "ledger history",
    "ledger peers", "ledger export -",
)  # fmt: skip

OFFLINE = (
    "key show", "config", "config get", "config get http.port", "config check", "eligible", "resources",
    "gauge", "doctor", "version",
)  # fmt: skip


@pytest.mark.parametrize("words", ONLINE)
def test_a_command_that_needs_a_node_says_how_to_start_one(run: Run, words: str) -> None:
    code, out, err = run(*words.split())
    assert (code, out) == (1, "")
    assert err == "error: no node is running here\n  hint: start it with `opengateway start`\n"


@pytest.mark.parametrize("words", [w for w in ONLINE if "export" not in w])
def test_with_json_an_error_is_json_too(run: Run, words: str) -> None:
    code, out, err = run(*words.split(), "--json")
    assert (code, out) == (1, "")
    assert json.loads(err)["error"]["code"] == "not_running"


@pytest.mark.parametrize("words", OFFLINE)
def test_a_command_that_needs_no_node_works_without_one(run: Run, words: str) -> None:
    code, out, _ = run(*words.split())
    assert code == 0
    assert out
    assert "\x1b" not in out
    code, out, _ = run(*words.split(), "--json")
    assert code == 0
    json.loads(out)


def test_status_says_that_nothing_runs_and_fails(run: Run, home: Home) -> None:
    assert run("status")[:2] == (1, "Node: not running\n")
    code, out, _ = run("status", "--json")
    assert (code, json.loads(out)["running"]) == (1, False)
    assert not home.path.exists()


def test_stopping_what_does_not_run_is_fine(run: Run) -> None:
    assert run("stop")[:2] == (0, "Node: not running\n")


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ("strat", 'no such command: "strat", did you mean "start"?'),
        ("config gett", 'did you mean "get"?'),
        ("peers --nope", "no such option: --nope"),
        ("connect", "missing argument"),
        ("prompt --local --friends x", "choose one of --local, --friends and --anywhere"),
        ("prompt --temperature 9 x", "--temperature"),
        ("audit", "which ledger?"),
        ("status --home", "--home needs a folder"),
    ],
)
def test_wrong_usage_is_explained_and_exits_2(run: Run, words: str, says: str) -> None:
    code, out, err = run(*words.split())
    assert (code, out) == (2, "")
    assert err.startswith("error: ")
    assert says in err
    assert "  hint: " in err


def test_help_lists_every_command_in_groups_without_colours() -> None:
    done = opengateway("--help")
    assert done.returncode == 0
    assert "\x1b" not in done.stdout
    for word in ("start", "stop", "status", "peers", "prompt", "eligible", "ledger", "doctor", "The network"):
        assert re.search(rf"\b{word}\b", done.stdout), word


def test_the_home_may_be_named_before_or_after_the_command(tmp_path: Path) -> None:
    for args in (["--home", str(tmp_path), "key", "show"], ["key", "show", f"--home={tmp_path}"]):
        assert str(tmp_path / "identity.key") in opengateway(*args).stdout


def test_the_key_is_shown_but_never_its_secret(run: Run, home: Home) -> None:
    _, out, _ = run("key", "show", "--json")
    shown = json.loads(out)
    assert len(shown["id"]) == 52
    assert shown["id"].startswith(shown["short"])
    assert run("key", "show", "--json")[1] == out
    assert home.identity_key.read_text().strip() not in out


def test_settings_are_set_checked_and_hidden_where_they_are_secrets(run: Run, home: Home) -> None:
    assert run("config", "set", "http.port", "0")[:2] == (0, "http.port = 0\n")
    assert run("config", "set", "network.secret", "hunter2")[:2] == (0, "network.secret = (set)\n")
    assert run("config", "get", "network.secret")[1] == "hunter2\n"
    assert "hunter2" not in run("config", "get")[1] + run("config", "--json")[1]
    assert run("config", "unset", "http.port")[1] == "http.port = 11435\n"
    code, _, err = run("config", "set", "http.prot", "0")
    assert (code, 'did you mean "http.port"?' in err) == (1, True)
    home.config.write_text('{"http": {"prot": 1}, "lan": 3}')
    code, _, err = run("config", "check")
    assert (code, "2 mistakes" in err) == (1, True)


def test_the_doctors_report_is_safe_to_paste(run: Run, home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    run("config", "set", "network.secret", "hunter2-hunter2")
    monkeypatch.setattr("getpass.getuser", lambda: "alice")
    monkeypatch.setattr("pathlib.Path.home", lambda: home.path.parent)
    monkeypatch.setattr("socket.gethostname", lambda: "alices-laptop.local")
    _, out, _ = run("doctor")
    assert "hunter2" not in out
    assert "~/home can be written" in out
    assert str(home.path.parent) not in out
    assert "alices-laptop" not in out


def test_the_doctor_finds_a_broken_setting_a_taken_port_and_an_open_key(run: Run, home: Home) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        run("config", "set", "http.port", str(taken.getsockname()[1]))
        run("key", "show")
        home.identity_key.chmod(0o644)
        code, out, _ = run("doctor", "--json")
    found = {check["name"]: check for check in json.loads(out)["checks"]}
    assert code == 1
    assert found["http port"]["state"] == "fail"
    assert found["key"]["state"] == "warn"
    home.config.write_text('{"regoin": ""}')
    code, out, _ = run("doctor")
    assert (code, 'did you mean "region"?' in out) == (1, True)


def test_logs_show_the_last_lines_without_control_characters(run: Run, home: Home) -> None:
    assert run("logs")[0] == 1
    home.logs.mkdir(parents=True)
    home.node_log.write_text("".join(f"line {n} \x1b[31m\n" for n in range(100)))
    assert run("logs", "-n", "2")[:2] == (0, "line 98 [31m\nline 99 [31m\n")


def test_a_closed_pipe_is_no_error(home: Home) -> None:
    line = shlex.join(command("config", home=home.path))  # the checkout may lie in "a folder"
    bash = shutil.which("bash")
    assert bash
    done = subprocess.run(
        [bash, "-c", f"set -o pipefail; {line} | head -1"],
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("KEY")


def test_a_traceback_is_shown_only_on_request(home: Home, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    done = opengateway("key", "show", home=tmp_path / "file" / "home")
    assert done.returncode == 1
    assert done.stderr.startswith("error: cannot write to ")
    assert "Traceback" not in done.stderr


def test_the_audit_tool_is_passed_its_own_options(run: Run, tmp_path: Path) -> None:
    (tmp_path / "no-ledger").write_bytes(b"\x00" * 100)
    code, out, _ = run("audit", str(tmp_path / "no-ledger"), "--json")
    assert code == 5
    assert json.loads(out)["verdict"] == "UNREADABLE"
