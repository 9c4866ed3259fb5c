"""/v1/files and /v1/batches of a real node, as the `openai` package uses them; killed and started again."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import openai
import pytest
from harness import Node, private_network, until
from pairs import Pair

CHAT = "/v1/chat/completions"


@contextlib.contextmanager
def client(node: Node) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{node.http}/v1", api_key="none", max_retries=0, timeout=30) as api:
        yield api


@pytest.fixture
def api(paced_pair: Pair) -> Iterator[openai.OpenAI]:
    with client(paced_pair.asking) as made:
        yield made


def source(count: int, tokens: int = 2, url: str = CHAT) -> bytes:
    body = {"messages": [{"role": "user", "content": "hello"}], "max_tokens": tokens}
    rows = ({"custom_id": f"r{n}", "method": "POST", "url": url, "body": body} for n in range(count))
    return "".join(json.dumps(row) + "\n" for row in rows).encode()


def over(openai_client: openai.OpenAI, batch_id: str) -> Any:
    def look() -> Any:
        batch = openai_client.batches.retrieve(batch_id)
        return batch if batch.status in ("completed", "failed", "cancelled", "expired") else None

    return until(look, "the batch is over")


def answers(openai_client: openai.OpenAI, file_id: str | None) -> dict[str, Any]:
    assert file_id is not None
    lines = openai_client.files.content(file_id).text.splitlines()
    rows = [json.loads(line) for line in lines]
    assert len({row["custom_id"] for row in rows}) == len(rows)
    return {row["custom_id"]: row for row in rows}


def test_a_batch_goes_in_as_a_file_and_comes_out_as_two(api: openai.OpenAI) -> None:
    wrong = {"custom_id": "no", "method": "POST", "url": CHAT, "body": {"messages": []}}
    given = api.files.create(file=("in.jsonl", source(10) + json.dumps(wrong).encode()), purpose="batch")
    assert (given.filename, given.purpose, given.status) == ("in.jsonl", "batch", "processed")
    assert api.files.content(given.id).content.startswith(b'{"custom_id": "r0"')
    batch = api.batches.create(
        input_file_id=given.id, endpoint=CHAT, completion_window="24h", metadata={"for": "a test"}
    )
    assert batch.status in ("validating", "in_progress")
    batch = over(api, batch.id)
    assert (batch.status, batch.metadata) == ("completed", {"for": "a test"})
    assert batch.request_counts.model_dump() == {"total": 11, "completed": 10, "failed": 1}
    assert batch.completed_at >= batch.in_progress_at >= batch.created_at
    fine, failed = answers(api, batch.output_file_id), answers(api, batch.error_file_id)
    assert set(fine) == {f"r{n}" for n in range(10)}
    assert fine["r0"]["response"]["body"]["choices"][0]["message"]["content"]
    assert set(failed) == {"no"}
    assert failed["no"]["response"]["status_code"] == 400
    assert batch.id in [one.id for one in api.batches.list(limit=100)]
    assert given.id in [one.id for one in api.files.list()]
    assert api.files.delete(given.id).deleted
    with pytest.raises(openai.NotFoundError):
        api.files.retrieve(given.id)


def test_mistakes_in_the_file_fail_the_batch_and_name_the_lines(api: openai.OpenAI) -> None:
    given = api.files.create(file=("in.jsonl", source(1) + b"nonsense\n"), purpose="batch")
    batch = over(api, api.batches.create(input_file_id=given.id, endpoint=CHAT, completion_window="24h").id)
    assert batch.status == "failed"
    assert [(error.line, "JSON" in error.message) for error in batch.errors.data] == [(2, True)]
    other = api.batches.create(input_file_id=given.id, endpoint="/v1/embeddings", completion_window="24h")
    assert over(api, other.id).status == "failed"


def test_a_batch_that_is_cancelled_keeps_what_it_has(api: openai.OpenAI, paced_pair: Pair) -> None:
    given = api.files.create(file=("in.jsonl", source(500)), purpose="batch")
    batch = api.batches.create(input_file_id=given.id, endpoint=CHAT, completion_window="24h")
    until(lambda: api.batches.retrieve(batch.id).request_counts.completed >= 2, "two are answered")
    assert api.batches.cancel(batch.id).status == "cancelling"
    ended = over(api, batch.id)
    assert ended.status == "cancelled"
    assert 2 <= len(answers(api, ended.output_file_id)) < 500
    until(lambda: not paced_pair.serving.get("/node/status")["engine"]["busy"], "the slots are free")


def test_a_node_that_is_killed_goes_on_with_its_batch(tmp_path: Path) -> None:
    network = private_network()
    with Node(tmp_path, "home", network, engine={"kind": "pocket"}) as node, client(node) as api:
        given = api.files.create(file=("in.jsonl", source(150, tokens=20)), purpose="batch")
        batch = api.batches.create(input_file_id=given.id, endpoint=CHAT, completion_window="24h")
        until(lambda: api.batches.retrieve(batch.id).request_counts.completed >= 3, "three are answered")
        os.kill(node.pid, signal.SIGKILL)
        work = next((node.home / "batches").glob("*.work.jsonl"))
        assert 3 <= work.read_bytes().count(b"\n") < 150
    with Node(tmp_path, "home", network, engine={"kind": "pocket"}) as node, client(node) as api:
        ended = over(api, batch.id)
        assert ended.status == "completed"
        assert set(answers(api, ended.output_file_id)) == {f"r{n}" for n in range(150)}


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("endpoint", "/v1/nonsense"),
        ("completion_window", "1h"),
        ("input_file_id", "file-none"),
        ("color", "red"),
    ],
)
def test_what_a_batch_cannot_be_is_refused_by_name(paced_pair: Pair, field: str, value: str) -> None:
    asked = {"endpoint": CHAT, "completion_window": "24h", "input_file_id": "file-none", field: value}
    status, answer = paced_pair.asking.request("POST", "/v1/batches", asked)
    assert status == 400
    assert (value if field == "input_file_id" else field) in answer["error"]["message"]


def form(*fields: tuple[str, str]) -> tuple[bytes, dict[str, str]]:
    """As a browser sends it, in this order."""
    made = ""
    for name, value in fields:
        more = '; filename="in.jsonl"' if name == "file" else ""
        made += f'--b\r\nContent-Disposition: form-data; name="{name}"{more}\r\n\r\n{value}\r\n'
    return (made + "--b--\r\n").encode(), {"Content-Type": "multipart/form-data; boundary=b"}


def upload(node: Node, *fields: tuple[str, str]) -> tuple[int, dict[str, Any]]:
    host, _, port = node.http.removeprefix("http://").partition(":")
    connection = http.client.HTTPConnection(host, int(port), timeout=30)
    with contextlib.closing(connection):
        connection.request("POST", "/v1/files", *form(*fields))
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read())


FILE, PURPOSE = ("file", source(1).decode()), ("purpose", "batch")


def test_a_form_may_say_what_a_file_is_for_after_it(paced_pair: Pair) -> None:
    status, kept = upload(paced_pair.asking, FILE, PURPOSE)
    assert (status, kept["filename"], kept["purpose"]) == (200, "in.jsonl", "batch")


@pytest.mark.parametrize(
    ("param", "fields"),
    [
        ("purpose", [FILE]),
        ("file", [PURPOSE]),
        ("purpose", [FILE, ("purpose", "fine-tune")]),
        ("purpose", [PURPOSE, PURPOSE, FILE]),
        ("file", [PURPOSE, FILE, FILE]),
        ("color", [PURPOSE, FILE, ("color", "red")]),
        ("expires_after", [PURPOSE, FILE, ("expires_after[anchor]", "created_at")]),
    ],
)
def test_a_form_that_cannot_be_honoured_is_refused_by_name_and_leaves_nothing(
    paced_pair: Pair, param: str, fields: list[tuple[str, str]]
) -> None:
    folder = paced_pair.asking.home / "batches" / "files"
    before = sorted(folder.glob("*"))
    status, answer = upload(paced_pair.asking, *fields)
    assert (status, answer["error"]["param"]) == (400, param)
    assert sorted(folder.glob("*")) == before


def test_files_are_listed_in_pages_in_the_order_that_is_asked_for(
    api: openai.OpenAI, paced_pair: Pair
) -> None:
    for _ in range(3):
        upload(paced_pair.asking, PURPOSE, FILE)
    newest = [one.id for one in api.files.list()]
    assert len(newest) >= 3
    assert [one.id for one in api.files.list(limit=2)] == newest  # page after page
    assert [one.id for one in api.files.list(order="asc")] == newest[::-1]
    assert api.files.list(limit=2).has_more is True
    assert api.files.list(after=newest[-2]).data[0].id == newest[-1]
    for query in ("limit=0", "limit=x", "limit=10001", "order=up"):
        status, answer = paced_pair.asking.request("GET", f"/v1/files?{query}")
        assert (status, answer["error"]["param"]) == (400, query.partition("=")[0])


@pytest.mark.parametrize(
    "name", ["../config.json", "file-../../config", "file-", "file-" + "a" * 100, "batch_x"]
)
def test_no_name_leads_out_of_the_folder(paced_pair: Pair, name: str) -> None:
    for method, path in (("GET", "/v1/files/{}"), ("DELETE", "/v1/files/{}"), ("GET", "/v1/batches/{}")):
        status, _ = paced_pair.asking.request(method, path.format(name.replace("/", "%2F")))
        assert status == 404


def test_who_leaves_in_the_middle_of_a_file_leaves_nothing(paced_pair: Pair) -> None:
    import socket

    host, _, port = paced_pair.asking.http.removeprefix("http://").partition(":")
    files = paced_pair.asking.home / "batches" / "files"
    before = sorted(files.iterdir()) if files.exists() else []
    head = (
        f"POST /v1/files HTTP/1.1\r\nHost: {host}\r\nContent-Type: multipart/form-data; boundary=b\r\n"
        "Content-Length: 1000000\r\n\r\n"
        '--b\r\nContent-Disposition: form-data; name="purpose"\r\n\r\nbatch\r\n'
        '--b\r\nContent-Disposition: form-data; name="file"; filename="x"\r\n\r\nhalf a file'
    )
    with socket.create_connection((host, int(port))) as connection:
        connection.sendall(head.encode() + b"x" * 400_000)
        until(lambda: files.exists() and len(list(files.iterdir())) > len(before), "it is being written")
    until(lambda: sorted(files.iterdir()) == before, "nothing is left of it")
