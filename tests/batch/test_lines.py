"""What a batch file asks for, and every mistake in it before anything is asked."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest

from opengateway.batch.lines import LINE_LIMIT, ROUTES, BatchInvalid, read_body, read_lines


def row(custom_id: Any = "a", url: str = ROUTES[0], **more: Any) -> dict[str, Any]:
    return {"custom_id": custom_id, "method": "POST", "url": url, "body": {"messages": []}, **more}


def read(*rows: Any, **how: Any) -> Any:
    text = "\n".join(one if isinstance(one, str) else json.dumps(one) for one in rows)
    return read_lines(io.BytesIO(text.encode()), **how)


def test_every_route_is_read_and_empty_lines_are_left_out() -> None:
    lines = read(row("a"), "", row("b", ROUTES[1]), "  ", row("c", ROUTES[2]), "")
    assert [(line.number, line.custom_id, line.url) for line in lines] == [
        (1, "a", ROUTES[0]),
        (3, "b", ROUTES[1]),
        (5, "c", ROUTES[2]),
    ]


def test_a_body_is_read_where_its_line_lies_with_another_model_if_wanted(tmp_path: Path) -> None:
    path = tmp_path / "in.jsonl"
    rows = [row("ä", body={"model": "x", "n": 1}), row("b", body={"model": "y"})]
    path.write_text("\n\n".join(json.dumps(one, ensure_ascii=False) for one in rows))
    with path.open("rb") as file:
        first, second = read_lines(file)
        assert read_body(file.fileno(), second) == {"model": "y"}
        assert read_body(file.fileno(), first, "z") == {"model": "z", "n": 1}


def test_a_file_that_changes_meanwhile_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "in.jsonl"
    path.write_text(json.dumps(row("a")))
    with path.open("r+b") as file:
        [line] = read_lines(file)
        path.write_text(json.dumps(row("b")))
        with pytest.raises(BatchInvalid, match="changed"):
            read_body(file.fileno(), line)


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("{", "not JSON"),
        ("[]", "not a JSON object"),
        (row(custom_id=""), "custom_id"),
        (row(custom_id=7), "custom_id"),
        (row(url="/v1/models"), "url"),
        (row(method="GET"), "method"),
        (row(body=[]), "body"),
        (row(body={"stream": True}), "stream"),
    ],
)
def test_a_line_that_cannot_be_asked_is_named(line: Any, why: str) -> None:
    with pytest.raises(BatchInvalid, match=why) as caught:
        read(row("fine"), line)
    assert "line 2" in caught.value.message
    assert caught.value.mistakes[0][0] == 2


def test_all_mistakes_are_counted_and_the_first_ten_named() -> None:
    with pytest.raises(BatchInvalid, match="30 lines") as caught:
        read(*["{"] * 30)
    assert len(caught.value.mistakes) == 10
    assert "and 20 more" in caught.value.message


def test_a_custom_id_that_is_there_twice_names_both_lines() -> None:
    with pytest.raises(BatchInvalid, match="line 2: custom_id 'a' is that of line 1"):
        read(row("a"), row("a"))


def test_a_batch_for_one_route_takes_no_other() -> None:
    with pytest.raises(BatchInvalid, match="embeddings"):
        read(row("a"), url="/v1/embeddings")


def test_too_many_requests_an_endless_line_and_nothing_at_all_are_refused() -> None:
    with pytest.raises(BatchInvalid, match="more than 2"):
        read(row("a"), row("b"), row("c"), most=2)
    with pytest.raises(BatchInvalid, match="MiB"):
        read("x" * (LINE_LIMIT + 1))
    with pytest.raises(BatchInvalid, match="no requests"):
        read("", "")
