"""The HTTP port of a real node, as its clients and its attackers see it."""

from __future__ import annotations

import http.client
import json
import re
import socket
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from harness import Node
from pairs import paced_engine
from sse import Streamed, chat

CHAT = "/v1/chat/completions"
NOBODY = {"Authorization": ""}


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    folder = tmp_path_factory.mktemp("http")
    with paced_engine(1.0) as url, Node(folder, "a", engine={"kind": "openai", "url": url}) as made:
        yield made


def raw(node: Node, request: bytes) -> tuple[int, Mapping[str, str], bytes]:
    """Status, headers and body of an answer to exactly these bytes."""
    host, _, port = node.http.removeprefix("http://").partition(":")
    with socket.create_connection((host, int(port)), timeout=10) as connection:
        connection.sendall(request)
        answer = http.client.HTTPResponse(
            connection, method=request.partition(b" ")[0].decode(errors="replace")
        )
        answer.begin()
        return answer.status, answer.headers, answer.read()


def error_of(answer: Any) -> dict[str, Any]:
    assert set(answer) == {"error"}
    error = answer["error"]
    assert {"message", "hint", "code", "type", "retry_after"} <= set(error)
    assert error["message"]
    assert error["code"]
    assert "Traceback" not in json.dumps(answer)
    return dict(error)


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "code"),
    [
        ("GET", "/nothing", None, 404, "http_404"),
        ("GET", "/v2/models", None, 404, "http_404"),
        ("GET", "/v1/models/nope", None, 404, "model_not_found"),
        ("GET", CHAT, None, 405, "http_405"),
        ("POST", "/v1/models", {}, 405, "http_405"),
        ("DELETE", CHAT, None, 405, "http_405"),
        ("POST", CHAT, None, 400, "invalid_request"),
        ("POST", CHAT, [], 400, "invalid_request"),
        ("POST", CHAT, {"messages": []}, 400, "invalid_request"),
        ("POST", CHAT, chat(temperature=9), 400, "invalid_request"),
        ("POST", CHAT, chat(model="nope"), 404, "model_not_found"),
        ("POST", CHAT, chat(model="nope", stream=True), 404, "model_not_found"),
        ("POST", "/v1/completions", {}, 400, "invalid_request"),
        ("POST", "/v1/embeddings", {"input": 7}, 400, "invalid_request"),
        ("GET", "/node/nothing", None, 404, "http_404"),
        ("GET", "/node/ledger/history?limit=x", None, 400, "invalid_request"),
        ("GET", "/node/actors/stack?name=nobody", None, 400, "invalid_request"),
        ("POST", "/node/connect", None, 400, "invalid_request"),
        ("POST", "/node/connect", [], 400, "invalid_request"),
        ("POST", "/node/disconnect", {"target": "nobody"}, 404, "peer_unknown"),
    ],
)
def test_every_error_has_one_shape(
    node: Node, method: str, path: str, body: Any, status: int, code: str
) -> None:
    got, answer = node.request(method, path, body)
    assert got == status, answer
    assert error_of(answer)["code"] == code


def test_a_hint_is_part_of_what_a_foreign_client_prints(node: Node) -> None:
    error = error_of(node.request("POST", CHAT, chat(model="fak"))[1])
    assert error["hint"] == "did you mean fake?"
    assert error["hint"] in error["message"]


@pytest.mark.parametrize("body", [b"{", b"\xff\xfe", b"{'a': 1}", b""])
def test_malformed_json_is_a_bad_request(node: Node, body: bytes) -> None:
    head = f"POST {CHAT} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: {len(body)}\r\n\r\n".encode()
    status, _, answer = raw(node, head + body)
    assert status == 400
    assert "JSON" in error_of(json.loads(answer))["message"]


def test_a_body_beyond_the_limit_is_refused(node: Node) -> None:
    head = (
        f"POST {CHAT} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\nContent-Length: {17 << 20}\r\n\r\n"
    )
    host, _, port = node.http.removeprefix("http://").partition(":")
    with socket.create_connection((host, int(port)), timeout=10) as connection:
        connection.sendall(head.encode())
        try:
            for _ in range(17):
                connection.sendall(b"x" * (1 << 20))
        except ConnectionError:
            pass  # it may hang up before all of it is there
        answer = http.client.HTTPResponse(connection)
        answer.begin()
        assert answer.status == 413
        assert "16 MiB" in error_of(json.loads(answer.read()))["message"]


# -- who may ask ------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/healthz", "/v1/models", "/node/status", "/metrics"])
@pytest.mark.parametrize(
    "header",
    [
        "Host: evil.example",
        "Host: 127.0.0.1\r\nOrigin: https://evil.example",
        "Host: 127.0.0.1\r\nOrigin: null",
    ],
)
def test_a_page_from_the_internet_is_refused_everywhere(node: Node, path: str, header: str) -> None:
    status, _, answer = raw(
        node, f"GET {path} HTTP/1.1\r\n{header}\r\nAuthorization: Bearer {node.token}\r\n\r\n".encode()
    )
    assert status == 403
    assert error_of(json.loads(answer))["code"] == "forbidden_origin"


def test_no_cross_origin_header_is_ever_sent(node: Node) -> None:
    _, headers, _ = raw(
        node, b"GET /v1/models HTTP/1.1\r\nHost: 127.0.0.1\r\nOrigin: http://localhost\r\n\r\n"
    )
    assert not [name for name in headers if name.lower().startswith("access-control")]


@pytest.mark.parametrize("path", ["status", "peers", "ledger/export", "actors", "models", "ledger/balance"])
@pytest.mark.parametrize("given", ["", "Bearer wrong", "Basic x"])
def test_the_node_itself_wants_its_token(node: Node, path: str, given: str) -> None:
    status, answer = node.request("GET", f"/node/{path}", headers={"Authorization": given})
    assert status == 401
    assert error_of(answer)["code"] == "unauthorized"


@pytest.mark.parametrize(
    "path", ["/node/stop", "/node/../node/stop", "/node//stop", "//node/stop", "/node/%73top"]
)
def test_nobody_stops_the_node_without_its_token(node: Node, path: str) -> None:
    status, _, _ = raw(node, f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 0\r\n\r\n".encode())
    assert status in (401, 404)
    assert node.request("GET", "/healthz")[0] == 200


def test_openais_routes_and_health_need_no_token(node: Node) -> None:
    for path in ("/healthz", "/readyz", "/v1/models"):
        assert node.request("GET", path, headers=NOBODY)[0] == 200


# -- answers -----------------------------------------------------------------------------------


def test_a_stream_is_what_openai_sends(node: Node) -> None:
    with Streamed(node, chat(max_tokens=3)) as answer:
        assert answer.headers["Content-Type"] == "text/event-stream"
        assert answer.headers["Cache-Control"] == "no-cache"
        assert answer.headers["x-opengateway-route"] == "local"
        assert answer.headers["x-opengateway-node"]
        events = list(answer.events())
    role, *words, end, done = events
    assert role["choices"] == [
        {"index": 0, "delta": {"role": "assistant", "content": ""}, "finish_reason": None}
    ]
    assert [event["choices"][0]["delta"] for event in words] == [{"content": " word"}] * 3
    assert end["choices"] == [{"index": 0, "delta": {}, "finish_reason": "stop"}]
    assert done == "[DONE]"


@pytest.mark.parametrize(("asked", "there"), [(None, False), ("1", True), ("0", False)])
def test_stats_are_there_for_who_asks(node: Node, asked: str | None, there: bool) -> None:
    headers = {} if asked is None else {"x-opengateway-stats": asked}
    answer = node.request("POST", CHAT, chat(max_tokens=3), headers)[1]
    assert ("opengateway" in answer) is there
    with Streamed(node, chat(max_tokens=3), headers) as streamed:
        assert any("opengateway" in event for event in streamed.events() if event != "[DONE]") is there


def test_a_whole_answer_says_what_it_cost_and_who_gave_it(node: Node) -> None:
    body = json.dumps(chat()).encode()
    status, headers, answer = raw(
        node,
        f"POST {CHAT} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body,
    )
    assert status == 200
    assert headers["x-opengateway-credits"] == "0"
    assert headers["x-opengateway-route"] == "local"
    identity = headers["x-opengateway-request-id"]
    assert json.loads(answer)["id"] == "chatcmpl-" + identity.removeprefix("req-")


def test_request_ids_are_unique(node: Node) -> None:
    ids = [node.request("POST", CHAT, chat())[1]["id"] for _ in range(20)]
    assert len(set(ids)) == 20


def test_an_error_carries_the_request_id(node: Node) -> None:
    with Streamed(node, chat(model="nope")) as answer:
        assert answer.headers["x-opengateway-request-id"].startswith("req-")
        assert answer.headers["Content-Type"].startswith("application/json")


def test_legacy_completions_stream_too(node: Node) -> None:
    with Streamed(node, {"prompt": "hello", "max_tokens": 2}, path="/v1/completions") as answer:
        events = list(answer.events())
    assert events.pop() == "[DONE]"
    assert {event["object"] for event in events} == {"text_completion"}
    assert "".join(event["choices"][0]["text"] for event in events) == " word word"


def test_without_a_model_the_node_picks_one(node: Node) -> None:
    assert node.request("POST", CHAT, chat(model=""))[1]["model"] == "fake"
    assert node.request("POST", CHAT, chat(model=None))[1]["model"] == "fake"


def test_a_model_is_listed_and_shown_by_its_name(node: Node) -> None:
    [listed] = node.get("/v1/models")["data"]
    assert listed == node.get("/v1/models/fake")
    assert listed["object"] == "model"
    told = listed["opengateway"]
    assert {"seed", "tools", "chat"} <= set(told.pop("abilities"))
    assert told == {"nodes": 1, "local": True, "context": 8192}


def test_head_is_get_without_a_body(node: Node) -> None:
    for path in ("/healthz", "/v1/models"):
        request = f"HEAD {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode()
        status, headers, body = raw(node, request)
        assert (status, body) == (200, b"")
        assert int(headers["Content-Length"]) > 0


def test_metrics_are_prometheus_text(node: Node) -> None:
    node.request("POST", CHAT, chat())
    status, text = node.request("GET", "/metrics")
    assert status == 200
    sample = re.compile(r'^[a-zA-Z_:][\w:]*(\{([a-zA-Z_]\w*="[^"\\\n]*",?)*\})? -?[\d.e+-]+$')
    lines = text.splitlines()
    assert text.endswith("\n")
    assert not [line for line in lines if line and not line.startswith("#") and not sample.match(line)]
    counted = {line.rpartition(" ")[0]: float(line.rpartition(" ")[2]) for line in lines if line[:1] != "#"}
    assert counted['opengateway_requests_total{ring="local",outcome="ok"}'] > 0
    assert (
        sum(v for k, v in counted.items() if k.startswith("gen_ai_server_request_duration_seconds_count")) > 0
    )
    assert sum(v for k, v in counted.items() if k.startswith("gen_ai_client_token_usage_count")) > 0
    assert counted['opengateway_actor_up{actor="ledger"}'] == 1
    assert counted["process_resident_memory_bytes"] > 10e6


def test_garbage_on_the_port_harms_nobody(node: Node) -> None:
    for noise in (b"\x00" * 100, b"GET\r\n\r\n", b"\x16\x03\x01\x02\x00" + b"x" * 200, b"A" * 100_000):
        host, _, port = node.http.removeprefix("http://").partition(":")
        with socket.create_connection((host, int(port)), timeout=10) as connection:
            connection.sendall(noise)
    assert node.request("GET", "/healthz")[0] == 200


def test_a_peer_that_cannot_be_reached_is_named_once_and_with_what_to_do(node: Node) -> None:
    status, answer = node.request("POST", "/node/connect", {"target": "127.0.0.1:1"})
    assert status >= 400, answer
    [warned] = [one for one in node.get("/node/status")["warnings"] if "127.0.0.1:1" in one["text"]]
    assert warned["text"].count("127.0.0.1:1") == 1
    assert "check the address" in warned["hint"]


def test_the_answers_of_the_node_itself_have_their_promised_fields(node: Node) -> None:
    status = node.get("/node/status")
    assert {
        "node_id", "short", "name", "version", "pid", "uptime_s", "home", "region", "country", "network",
        "http", "wire", "reachability", "clusters", "models", "engine", "peers", "credit", "jobs", "warnings",
    } <= set(status)  # fmt: skip
    assert status["pid"] == node.pid
    assert {"name", "state", "detail", "slots", "busy"} <= set(status["engine"])
    assert {"running", "queued", "done", "failed"} <= set(status["jobs"])
    assert {"machine", "load", "speeds", "measured_s_ago"} <= set(node.get("/node/resources"))
    assert node.post("/node/gauge")["measured_s_ago"] < 5
    tiers = node.get("/node/eligible")["tiers"]
    assert len(tiers) == 10
    assert {"name", "eligible", "why", "needs", "ollama", "serving"} <= set(tiers[0])
    [local] = node.get("/node/models")["local"]
    assert {"name", "engine", "parameters", "quantisation", "context", "size", "demo"} <= set(local)
    rows = node.get("/node/actors")["actors"]
    assert {
        "name",
        "depth",
        "state",
        "life",
        "uptime_s",
        "handled",
        "mailbox",
        "peak",
        "lost",
        "doing",
        "error",
    } <= set(rows[0])
    assert "registry" in node.get("/node/actors/stack?name=registry")["stack"]
    assert node.request("GET", "/node/ledger/export")[1].startswith(b"OGWL\x01")


def test_an_engine_that_breaks_in_mid_stream_is_an_event_and_not_a_cut(tmp_path: Path) -> None:
    with ExitStack() as engine:
        settings = {"kind": "openai", "url": engine.enter_context(paced_engine())}
        with Node(tmp_path, "b", engine=settings) as made, Streamed(made, chat(max_tokens=1000)) as answer:
            events = answer.events()
            next(events)
            engine.close()
            last = list(events)[-1]
    assert error_of(last)["code"] == "answer_broken_off"
