"""What the command line makes of a node's answers, good and bad, against a scripted port."""

import contextlib
import json
import os
import pty
import select
import signal
import subprocess
import threading
import time
from typing import Any

import pytest
from cli_lab import DONE, PATIENCE_S, Run, Script, command, opengateway, scripted_node, sse, token

from opengateway.app.cli.asking import in_words
from opengateway.home import Home

STATS: dict[str, Any] = {
    "request_id": "r1",
    "route": {"node": "abcdefghij", "name": "desk", "ring": "lan", "model": "m", "engine": "llama_server"},
    "ttft_ms": 12.34,
    "tokens_per_second": 45.67,
    "prompt_tokens": 5,
    "completion_tokens": 7,
    "credits": "0.001",
}


def asking(home: Home, *args: str) -> "subprocess.Popen[bytes]":
    return subprocess.Popen(
        command("prompt", *args, home=home.path),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


def test_tokens_are_printed_as_they_come(home: Home) -> None:
    seen = threading.Event()
    script = Script([token("one"), seen, token(" two"), DONE])
    with scripted_node(home, script), asking(home, "hi") as process:
        assert process.stdout
        assert process.stdout.read(3) == b"one"  # while the node still holds back the rest
        seen.set()
        out, err = process.communicate(timeout=PATIENCE_S)
        assert (out, err, process.returncode) == (b" two\n", b"", 0)


def test_ctrl_c_closes_the_connection_and_exits_130(home: Home) -> None:
    script = Script([token("one"), threading.Event()])
    with scripted_node(home, script), asking(home, "hi") as process:
        assert process.stdout
        assert process.stdout.read(3) == b"one"
        process.send_signal(signal.SIGINT)
        assert process.wait(PATIENCE_S) == 130
        assert script.left.wait(PATIENCE_S)
        assert process.stderr
        assert process.stderr.read() == b""


def test_the_request_carries_what_the_options_say(
    home: Home, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = Script([token("ok"), DONE])
    with scripted_node(home, script):
        options = ["--model", "m", "--system", "s", "--max-tokens", "9", "--temperature", "0", "--friends"]
        assert run("prompt", "two", "words", *options)[0] == 0
        token_kept = home.read_control_token()
    path, headers, body = script.requests[-1]
    assert path == "/v1/chat/completions"
    assert headers["x-opengateway-scope"] == "friends"
    assert headers["Authorization"] == f"Bearer {token_kept}"
    assert body == {
        "messages": [{"role": "system", "content": "s"}, {"role": "user", "content": "two words"}],
        "stream": True,
        "model": "m",
        "max_tokens": 9,
        "temperature": 0.0,
    }


def test_what_is_piped_in_is_the_prompt_or_goes_after_the_text(home: Home) -> None:
    script = Script([token("ok"), DONE])
    with scripted_node(home, script):
        assert opengateway("prompt", home=home.path, input="from a pipe\n").stdout == "ok\n"
        assert opengateway("prompt", "Review:", home=home.path, input="a diff").returncode == 0
        assert opengateway("prompt", home=home.path, input="").returncode == 1
    asked = [body["messages"][-1]["content"] for _, _, body in script.requests]
    assert asked == ["from a pipe", "Review:\n\na diff"]


def test_stats_are_one_line_on_stderr_and_part_of_the_json(home: Home, run: Run) -> None:
    figures = sse({"choices": [], "opengateway": STATS})
    script = Script([b": waiting 1st in line\n\n", token("4"), figures, DONE])
    with scripted_node(home, script):
        code, out, err = run("prompt", "hi", "--stats")
        assert (code, out) == (0, "4\n")
        assert err == in_words(STATS) + "\n"
        code, out, err = run("prompt", "hi", "--json")
    assert json.loads(out)["text"] == "4"
    assert json.loads(out)["route"]["ring"] == "lan"
    for words in (
        "route: lan",
        "desk (abcdefghij)",
        "12.3 ms",
        "45.7 tokens/s",
        "5 in, 7 out",
        "credits: 0.001",
    ):
        assert words in in_words(STATS)


def test_an_error_during_the_stream_comes_after_the_text_so_far(home: Home, run: Run) -> None:
    lost = {"error": {"message": "the node is gone (ask again)", "hint": "ask again", "code": "worker_lost"}}
    with scripted_node(home, Script([token("half"), sse(lost)])):
        code, out, err = run("prompt", "hi")
    assert (code, out) == (1, "half\n")
    assert err == "error: the node is gone\n  hint: ask again\n"


def test_a_stream_that_just_ends_is_no_answer(home: Home, run: Run) -> None:
    with scripted_node(home, Script([token("half")])):
        code, out, err = run("prompt", "hi")
    assert (code, out) == (1, "half\n")
    assert "broke off" in err


@pytest.mark.parametrize("answer", [b"", b"<html>", b"[]", b'{"error": 3}', b'{"error": {"code": 7}}'])
def test_a_port_that_is_no_node_is_told_in_words(home: Home, run: Run, answer: bytes) -> None:
    script = Script(answers={"/v1/chat/completions": (500, answer), "/node/status": (200, answer)})
    with scripted_node(home, script):
        for words in (["prompt", "hi"], ["status"]):
            code, _, err = run(*words)
            assert code == 1
            assert err.startswith("error: ")


def test_a_node_that_went_away_without_a_word_is_not_running(home: Home, run: Run) -> None:
    with home.hold():
        home.announce(http="http://127.0.0.1:9", wire_port=1, node_id="a", version="0")
        code, _, err = run("peers")
    assert (code, "no node is running here" in err) == (1, True)


def test_names_from_the_network_cannot_move_the_cursor(home: Home, run: Run) -> None:
    peer = {
        "id": "a" * 52, "short": "aaaaaaaaaa", "name": "evil\x1b[2J\u202e\nname", "region": "us-east-1",
        "ring": "lan", "rtt_ms": None, "state": "up", "models": ["m" * 200], "slots": 1, "endpoint": "",
        "dialled": True, "up_s": None, "last_seen_s": 1.0, "version": "0", "clusters": [], "owes_us": 0,
    }  # fmt: skip
    with scripted_node(home, Script(answers={"/node/peers": (200, {"peers": [peer]})})):
        code, out, _ = run("peers")
        assert run("peers", "--json")[0] == 0
    assert code == 0
    assert len(out.splitlines()) == 2
    assert "\x1b" not in out
    assert "m" * 200 in out  # nothing is cut off a terminal


def test_failed_actors_make_the_command_fail(home: Home, run: Run) -> None:
    row = {
        "life": 1,
        "uptime_s": 1.0,
        "handled": 0,
        "mailbox": 0,
        "peak": 0,
        "lost": 0,
        "doing": "",
        "error": "",
    }
    tree = [("node", 0), ("ledger", 1), ("network", 1), ("registry", 2), ("gateway", 1)]
    rows = [{"name": name, "depth": depth, "state": "running", **row} for name, depth in tree]
    with scripted_node(home, Script(answers={"/node/actors": (200, {"actors": rows, "failed": True})})):
        code, out, _ = run("actors")
    assert code == 1
    drawn = [line.partition("  running")[0].rstrip() for line in out.splitlines()[1:]]
    assert drawn == ["node", "├─ ledger", "├─ network", "│  └─ registry", "└─ gateway"]


def test_on_a_terminal_an_answer_loses_its_control_characters(home: Home) -> None:
    script = Script([token("a\x1b]0;title\x07b"), DONE])
    with scripted_node(home, script):
        shown = on_a_terminal(command("prompt", "hi", home=home.path))
    assert "a]0;titleb\r\n" in shown


def on_a_terminal(args: list[str], *, typed: bytes = b"") -> str:
    """What a program shows on a terminal of 80 columns."""
    master, slave = pty.openpty()
    env = {**os.environ, "TERM": "xterm", "COLUMNS": "80"}
    try:
        process = subprocess.Popen(
            args, stdin=slave, stdout=slave, stderr=slave, env=env, start_new_session=True
        )
        os.close(slave)
        if typed:
            os.write(master, typed)
        shown, ends = b"", time.monotonic() + PATIENCE_S
        while time.monotonic() < ends and (process.poll() is None or select.select([master], [], [], 0)[0]):
            if select.select([master], [], [], 0.05)[0]:
                with contextlib.suppress(OSError):  # EIO: the other end is closed
                    shown += os.read(master, 65536)
                    continue
                break
        process.wait(PATIENCE_S)
        return shown.decode()
    finally:
        os.close(master)


def test_without_text_on_a_terminal_it_is_a_conversation(home: Home) -> None:
    script = Script([token("pong"), DONE])
    with scripted_node(home, script):
        shown = on_a_terminal(
            command("prompt", home=home.path), typed=b"ping\n/model big\nagain\n/route local\n/nope\n/exit\n"
        )
    assert shown.count("pong") == 2
    assert "there is no /nope" in shown
    second = script.requests[-1][2]
    assert [message["content"] for message in second["messages"]] == ["ping", "pong", "again"]
    assert second["model"] == "big"
    assert (home.path / "chat_history").stat().st_mode & 0o077 == 0


def test_all_places_that_gave_the_answer_are_named_in_their_order() -> None:
    second = {**STATS["route"], "node": "k3j5k3j5k3", "name": "attic", "ring": "world"}
    told = in_words(STATS | {"places": [STATS["route"], second]})
    assert told.startswith("route: lan, then world | node: desk (abcdefghij), then attic (k3j5k3j5k3) | ")
