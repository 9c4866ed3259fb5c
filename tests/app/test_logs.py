"""The node's log: its lines for people and for programs, and what never stands in it."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from harness import Node, private_network, until
from sse import Streamed, chat

from opengateway.app.logs import JsonLines, LogFormat
from opengateway.errors import PortTaken

CHAT = "/v1/chat/completions"
CANARY = "xylophone-prompt-canary"
ANSWER = "marimba-answer-canary"
KEY = "sk-glockenspiel-key-canary"


def record(message: str, *arguments: object, **more: Any) -> logging.LogRecord:
    return logging.LogRecord("a.logger", logging.WARNING, __file__, 1, message, arguments, more.get("error"))


def test_a_json_line_is_one_object_however_the_message_is() -> None:
    line = JsonLines(datefmt="%Y-%m-%dT%H:%M:%S").format(record('two\nlines and "quotes" of %s', "ada"))
    assert "\n" not in line
    found = json.loads(line)
    assert found["message"] == 'two\nlines and "quotes" of ada'
    assert (found["level"], found["logger"]) == ("warning", "a.logger")
    assert found["time"].endswith("Z")


def test_the_facts_of_a_request_stand_beside_the_message() -> None:
    made = record("answered")
    made.facts = {"request": "req-1", "seconds": 0.5}
    found = json.loads(JsonLines().format(made))
    assert (found["request"], found["seconds"]) == ("req-1", 0.5)


@pytest.mark.parametrize("kind", [LogFormat, JsonLines])
def test_an_error_with_a_name_is_told_in_its_words(kind: type[LogFormat]) -> None:
    try:
        raise PortTaken("the port is taken", hint="choose another")
    except PortTaken as error:
        line = kind().format(record("no", error=(type(error), error, error.__traceback__)))
    assert "the port is taken (choose another)" in line
    assert "Traceback" not in line


class Echoing(BaseHTTPRequestHandler):
    """An engine that quotes whatever it is asked, as engines do in their errors."""

    protocol_version = "HTTP/1.1"

    def log_message(self, *_: object) -> None:
        pass

    def do_GET(self) -> None:
        self.send(200, {"object": "list", "data": [{"id": "echo", "object": "model", "max_model_len": 4096}]})

    def do_POST(self) -> None:
        assert self.headers["Authorization"] == f"Bearer {KEY}"
        asked = self.rfile.read(int(self.headers["Content-Length"])).decode()
        if "FAIL" in asked:
            self.send(400, {"error": {"message": f"cannot read {asked}", "type": "invalid_request_error"}})
        elif "CRASH" in asked:
            self.send(500, {"error": {"message": f"crashed over {asked} with {KEY}"}})
        elif "BREAK" in asked:
            self.close_connection = True
        else:
            message = {"role": "assistant", "content": ANSWER}
            choice = {"index": 0, "message": message, "delta": message, "finish_reason": "stop"}
            usage = {"prompt_tokens": 5, "completion_tokens": 3, "total_tokens": 8}
            self.send(200, {"id": "x", "model": "echo", "choices": [choice], "usage": usage}, asked)

    def send(self, status: int, body: dict[str, Any], asked: str = "") -> None:
        content = json.dumps(body).encode()
        streamed = '"stream": true' in asked or '"stream":true' in asked
        if streamed:
            content = b"data: " + content + b"\n\ndata: [DONE]\n\n"
        self.send_response(status)
        self.send_header("Content-Type", "text/event-stream" if streamed else "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)


@contextmanager
def echoing_engine() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Echoing)
    server.daemon_threads = False
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/v1"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def everything_written(node: Node) -> str:
    """Every file of the home that is text a person would paste, and what the process printed."""
    files = [node.output, *(node.home / "logs").glob("*"), *(node.home / "run").glob("*.json")]
    return "\n".join(file.read_text(errors="replace") for file in files if file.exists())


def request_lines(node: Node) -> dict[str, dict[str, Any]]:
    """The lines of requests in its log, by id; every line of the log must be JSON."""
    lines = [json.loads(line) for line in node.output.read_text().splitlines()]
    return {line["request"]: line for line in lines if "request" in line}


def test_prompts_answers_and_keys_are_in_no_log_no_metric_and_no_listing(tmp_path: Path) -> None:
    network = private_network() | {"log": {"level": "debug", "format": "json", "requests": True}}
    with echoing_engine() as url:
        engine = {"kind": "openai", "url": url, "api_key": KEY}
        with (
            Node(tmp_path, "serving", network, engine=engine) as serving,
            Node(tmp_path, "asking", network, wire={"bootstrap": [serving.endpoint]}) as asking,
        ):
            until(lambda: asking.get("/node/models")["network"], "the model is offered")
            for word in ("", "FAIL", "CRASH", "BREAK"):
                for node in (asking, serving):
                    node.request("POST", CHAT, chat(f"{CANARY} {word}"))
                    with Streamed(node, chat(f"{CANARY} {word}")) as streamed:
                        list(streamed.lines())
            for body in (
                [CANARY],
                {"messages": CANARY},
                chat(CANARY, temperature=CANARY),
                {"prompt": {CANARY: 1}},
            ):
                asking.request("POST", CHAT, body)
            asking.request("POST", CHAT, chat(CANARY), {"Authorization": f"Bearer {KEY}"})
            with Streamed(asking, chat(CANARY)) as streamed:
                request_id = streamed.headers["x-opengateway-request-id"]
                list(streamed.lines())

            found = until(
                lambda: (
                    (mine := request_lines(asking).get(request_id))
                    and (theirs := request_lines(serving).get(request_id))
                    and (mine, theirs)
                ),
                "both logs have the request",
            )
            assert found[0]["event"] == "answered"
            assert (found[0]["node"], found[0]["ring"]) == (serving.info["node_id"][:10], "lan")
            assert found[1]["event"] == "served"
            assert found[1]["for"] == asking.info["node_id"][:10]
            assert found[1]["outcome"] == "ok"

            for node in (asking, serving):
                said = everything_written(node)
                said += "".join(
                    json.dumps(node.request("GET", path)[1])
                    for path in (
                        "/metrics",
                        "/node/status",
                        "/node/actors",
                        "/node/peers",
                        "/node/ledger/history",
                    )
                )
                said += node.cli("doctor", "--json").stdout + node.cli("config", "get").stdout
                for secret in (CANARY, ANSWER, KEY, network["network"]["secret"], node.token):
                    assert secret not in said, f"{secret} is in what {node.name} wrote"
