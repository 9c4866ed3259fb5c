"""What picky clients try: odd fields, odd texts, odd HTTP. Through a node that asks another."""

from __future__ import annotations

import gzip
import http.client
import json
import re
import runpy
import socket
import subprocess
import sys
import zlib
from collections.abc import Iterator, Mapping
from io import BufferedReader
from pathlib import Path
from typing import Any

import pytest
from harness import Node
from pairs import Pair, joined
from sse import Streamed, chat

CHAT = "/v1/chat/completions"
COUNT = "Count to 20."
"""Answered with "1, 2, 3, ..."."""
ENGINE = Path(__file__).with_name("dribbling_engine.py")
TOOL = {"type": "function", "function": {"name": "add", "parameters": {"type": "object"}}}


@pytest.fixture(scope="module")
def pocket(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    with joined(tmp_path_factory.mktemp("edges"), kind="pocket") as pair:
        yield pair


@pytest.fixture(scope="module")
def odd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    """Its engine writes three bytes at a time."""
    process = subprocess.Popen([sys.executable, str(ENGINE)], stdout=subprocess.PIPE)
    assert process.stdout is not None
    try:
        url = process.stdout.readline().decode().strip()
        with joined(tmp_path_factory.mktemp("odd"), kind="openai", url=url) as pair:
            yield pair
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def texts(events: list[Any]) -> dict[int, str]:
    """Of each choice."""
    found: dict[int, str] = {}
    for event in events:
        for choice in event["choices"] if event != "[DONE]" else ():
            found[choice["index"]] = found.get(choice["index"], "") + (choice["delta"].get("content") or "")
    return found


# -- fields -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("param", "more"),
    [
        ("n", {"n": 10**9}),
        ("n", {"n": 129}),
        ("n", {"n": 0}),
        ("messages", {"messages": []}),
        ("messages", {"messages": None}),
        ("max_tokens", {"max_tokens": 10**18}),
        ("max_tokens", {"max_tokens": 0}),
        ("max_tokens", {"max_tokens": 3, "max_completion_tokens": 4}),
        ("stop", {"stop": ""}),
        ("stop", {"stop": ["a", ""]}),
        ("stop", {"stop": ["a"] * 5}),
        ("tool_choice", {"tool_choice": "required"}),
        ("tool_choice", {"tools": [TOOL], "tool_choice": {"type": "function", "function": {"name": "x"}}}),
        ("top_logprobs", {"top_logprobs": 2}),
        ("stream_options", {"stream_options": {"include_usage": True}}),
        ("reasoning_effort", {"reasoning_effort": "low"}),
    ],
)
def test_what_makes_no_sense_is_refused_by_its_name(pocket: Pair, param: str, more: dict[str, Any]) -> None:
    status, answer = pocket.asking.request("POST", CHAT, chat() | more)
    assert (status, answer["error"]["param"]) == (400, param), answer


def test_what_this_engine_cannot_is_refused_by_name(pocket: Pair) -> None:
    status, answer = pocket.asking.request("POST", "/v1/completions", {"prompt": "a", "suffix": "b"})
    assert (status, answer["error"]["param"]) == (400, "suffix")


@pytest.mark.parametrize(
    "more", [{"max_completion_tokens": 1}, {"max_tokens": 1, "max_completion_tokens": 1}]
)
def test_the_newer_name_of_the_limit_holds(pocket: Pair, more: dict[str, int]) -> None:
    answer = pocket.asking.request("POST", CHAT, chat(COUNT) | more)[1]
    assert answer["usage"]["completion_tokens"] == 1
    assert answer["choices"][0]["finish_reason"] == "length"


@pytest.mark.parametrize("content", ["", [], [{"type": "text", "text": ""}]])
def test_an_empty_message_is_answered(pocket: Pair, content: Any) -> None:
    status, answer = pocket.asking.request("POST", CHAT, {"messages": [{"role": "user", "content": content}]})
    assert status == 200, answer


@pytest.mark.parametrize("stop", ["7", ", 7", ["nine", ", 7, 8"]])
@pytest.mark.parametrize("streamed", [False, True])
def test_a_stop_holds_across_the_borders_of_tokens(pocket: Pair, stop: Any, *, streamed: bool) -> None:
    asked = chat(COUNT, stop=stop, max_tokens=60)
    if streamed:
        with Streamed(pocket.asking, asked) as answer:
            text = answer.text()
    else:
        text = pocket.asking.request("POST", CHAT, asked)[1]["choices"][0]["message"]["content"]
    assert text.rstrip(", ") == "1, 2, 3, 4, 5, 6"
    assert "7" not in text


def test_a_schema_is_kept_to_in_a_stream_too(pocket: Pair) -> None:
    schema = {
        "type": "object",
        "properties": {"a": {"type": "integer"}},
        "required": ["a"],
        "additionalProperties": False,
    }
    wanted = {"type": "json_schema", "json_schema": {"name": "x", "schema": schema, "strict": True}}
    with Streamed(pocket.asking, chat(response_format=wanted, max_tokens=60)) as answer:
        assert set(json.loads(answer.text())) == {"a"}


def test_several_choices_stream_with_their_logprobs_and_one_usage(pocket: Pair) -> None:
    asked = chat(n=2, logprobs=True, top_logprobs=1, stream_options={"include_usage": True}, max_tokens=4)
    with Streamed(pocket.asking, asked) as answer:
        events = list(answer.events())
    assert texts(events) == {0: "4", 1: "4"}
    assert events[-1] == "[DONE]"
    assert [bool(event.get("usage")) for event in events[:-1]] == [False] * (len(events) - 2) + [True]
    assert events[-2]["usage"]["completion_tokens"] == 4
    tokens = [
        token["token"]
        for event in events[:-1]
        for choice in event["choices"]
        for token in (choice.get("logprobs") or {}).get("content") or ()
    ]
    assert [token.strip() for token in tokens if token.strip()] == ["4", "4"]


# -- texts ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("which", ["asking", "serving"])
def test_letters_that_arrive_in_pieces_are_whole_at_the_end(odd: Pair, which: str) -> None:
    node: Node = getattr(odd, which)
    text = runpy.run_path(str(ENGINE))["TEXT"]
    assert node.request("POST", CHAT, chat())[1]["choices"][0]["message"]["content"] == text
    with Streamed(node, chat(n=2, stream_options={"include_usage": True})) as answer:
        events = list(answer.events())
    assert texts(events) == {0: text, 1: text}
    assert events[-2]["usage"]["completion_tokens"] == 2 * len(text)


# -- HTTP -------------------------------------------------------------------------------------------


BODY = json.dumps(chat(max_tokens=3)).encode()


def raw(node: Node, *requests: bytes) -> list[tuple[int, Mapping[str, str], bytes]]:
    """The answers to requests that are all sent at once over one connection."""
    host, _, port = node.http.removeprefix("http://").partition(":")
    found = []
    with socket.create_connection((host, int(port)), timeout=20) as connection:
        connection.sendall(b"".join(requests))
        with connection.makefile("rb") as reader:
            for request in requests:
                answer = http.client.HTTPResponse(
                    _Shared(reader),  # type: ignore[arg-type]
                    method=request.partition(b" ")[0].decode(errors="replace"),
                )
                answer.begin()
                found.append((answer.status, dict(answer.headers), answer.read()))
    return found


class _Shared:
    """A connection's reader, which stays open and keeps what it has read ahead when one answer is read."""

    def __init__(self, reader: BufferedReader) -> None:
        self._reader = reader

    def makefile(self, _mode: str) -> _Shared:
        return self

    def __getattr__(self, name: str) -> Any:
        return getattr(self._reader, name)

    def close(self) -> None:
        """Another answer may come."""


def post(body: bytes, *headers: str, sized: bool = True) -> bytes:
    head = [f"POST {CHAT} HTTP/1.1", "Host: 127.0.0.1", *headers]
    head += [f"Content-Length: {len(body)}"] if sized else []
    return "\r\n".join([*head, "", ""]).encode() + body


def said(answer: tuple[int, Mapping[str, str], bytes]) -> str:
    status, _, body = answer
    assert status == 200, body
    return str(json.loads(body)["choices"][0]["message"]["content"])


@pytest.mark.parametrize(("encoding", "pack"), [("gzip", gzip.compress), ("deflate", zlib.compress)])
def test_a_compressed_body_is_taken(pocket: Pair, encoding: str, pack: Any) -> None:
    [answer] = raw(pocket.asking, post(pack(BODY), f"Content-Encoding: {encoding}"))
    assert said(answer) == "4"


def test_a_body_that_is_not_compressed_as_it_says_is_a_bad_request(pocket: Pair) -> None:
    [(status, _, body)] = raw(pocket.asking, post(BODY, "Content-Encoding: gzip"))
    assert status == 400
    assert "cannot be read" in json.loads(body)["error"]["message"]
    assert "Traceback" not in pocket.asking.log_tail()


def test_a_small_body_that_unpacks_to_a_huge_one_is_refused_by_its_size(pocket: Pair) -> None:
    bomb = gzip.compress(b'{"messages":[{"role":"user","content":"' + b"a" * (40 << 20) + b'"}]}')
    assert len(bomb) < 1 << 20
    [(status, _, body)] = raw(pocket.asking, post(bomb, "Content-Encoding: gzip"))
    assert status == 413
    assert "16 MiB" in json.loads(body)["error"]["message"]


def test_a_client_that_waits_for_the_word_to_continue_gets_it(pocket: Pair) -> None:
    host, _, port = pocket.asking.http.removeprefix("http://").partition(":")
    with socket.create_connection((host, int(port)), timeout=20) as connection:
        whole = post(BODY, "Expect: 100-continue")
        connection.sendall(whole[: -len(BODY)])
        assert connection.recv(100).startswith(b"HTTP/1.1 100 ")
        connection.sendall(BODY)
        answer = http.client.HTTPResponse(connection)
        answer.begin()
        assert said((answer.status, dict(answer.headers), answer.read())) == "4"


def test_a_body_in_chunks_is_taken_and_a_broken_one_refused(pocket: Pair) -> None:
    pieces = b"".join(
        b"%x\r\n%s\r\n" % (len(BODY[i : i + 7]), BODY[i : i + 7]) for i in range(0, len(BODY), 7)
    )
    head = post(b"", "Transfer-Encoding: chunked", sized=False)
    [answer] = raw(pocket.asking, head + pieces + b"0\r\n\r\n")
    assert said(answer) == "4"
    [(status, _, _)] = raw(pocket.asking, head + b"zz\r\n")
    assert status == 400
    [(status, _, _)] = raw(pocket.asking, post(BODY, "Transfer-Encoding: chunked"))  # both lengths: smuggling
    assert status == 400


def test_requests_that_come_at_once_are_answered_in_their_order(pocket: Pair) -> None:
    get = b"GET /v1/models HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
    first, second, third = raw(pocket.asking, post(BODY), get, post(BODY))
    assert (said(first), said(third)) == ("4", "4")
    assert json.loads(second[2])["object"] == "list"


def test_an_old_client_gets_a_stream_that_ends_with_the_connection(pocket: Pair) -> None:
    asked = post(json.dumps(chat(stream=True)).encode()).replace(b"HTTP/1.1", b"HTTP/1.0")
    [(status, headers, body)] = raw(pocket.asking, asked)
    assert status == 200
    assert "Transfer-Encoding" not in headers
    assert body.endswith(b"data: [DONE]\n\n")


@pytest.mark.parametrize(
    ("method", "path", "status", "allow"),
    [
        ("HEAD", "/v1/models", 200, None),
        ("HEAD", "/v1/chat/completions", 405, "POST"),
        ("OPTIONS", "/v1/chat/completions", 405, "POST"),
        ("PUT", "/v1/files", 405, "GET, HEAD, POST"),
        ("HEAD", "/nothing", 404, None),
    ],
)
def test_another_method_is_told_which_are_there(
    pocket: Pair, method: str, path: str, status: int, allow: str | None
) -> None:
    [(got, headers, body)] = raw(
        pocket.asking, f"{method} {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode()
    )
    assert (got, headers.get("Allow")) == (status, allow)
    if method != "HEAD":
        assert f"{path} wants" in json.loads(body)["error"]["hint"]


@pytest.mark.parametrize(
    ("request_", "status", "said_"),
    [
        (post(BODY, "Transfer-Encoding: chunked"), 400, "Transfer-Encoding"),
        (post(b"", "Transfer-Encoding: chunked", sized=False) + b"zz\r\n", 400, "chunk"),
        (post(BODY, "Content-Encoding: br"), 415, "gzip or deflate"),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"x" * 99, 400, "http.certificate"),
        (b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nX: " + b"y" * 20_000 + b"\r\n\r\n", 400, "8190"),
    ],
    ids=["two lengths", "no chunk", "brotli", "TLS", "long header"],
)
def test_what_is_no_request_is_answered_in_the_shape_of_all_errors_and_not_logged(
    pocket: Pair, request_: bytes, status: int, said_: str
) -> None:
    def counted() -> int:
        found = re.search(
            r'turned_away_total\{reason="malformed"\} (\d+)', pocket.asking.request("GET", "/metrics")[1]
        )
        return int(found[1]) if found else 0

    before = counted()
    [(got, _, body)] = raw(pocket.asking, request_)
    assert got == status
    error = json.loads(body)["error"]
    assert said_ in error["message"]
    assert error["type"] in ("invalid_request_error", "opengateway_error")
    assert counted() == before + 1
    assert "Traceback" not in pocket.asking.log_tail()


@pytest.mark.parametrize("body", [b"\xef\xbb\xbf" + BODY, BODY.decode().encode("utf-16"), b'{"n":NaN}'])
def test_what_is_nearly_json_is_said_to_be_none(pocket: Pair, body: bytes) -> None:
    [(status, _, answer)] = raw(pocket.asking, post(body))
    assert status == 400
    assert "not JSON" in json.loads(answer)["error"]["message"]
