"""Bootstrap documents: what is believed, and what is refused with its reason in one sentence."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import cbor2
import pytest
from hypothesis import given
from hypothesis import strategies as st
from nacl.signing import VerifyKey

from opengateway.discovery.bootstrap import (
    DOCUMENT_LIMIT,
    LIFE_LIMIT_MS,
    Bootstrap,
    BootstrapRefused,
    Entry,
    check,
    read,
    sign,
    write,
)
from opengateway.discovery.bootstrap_source import BootstrapSource
from opengateway.discovery.record import SKEW_MS
from opengateway.identity import Identity, network_id
from opengateway.units import NodeId

NET = network_id("test")
NOW = 1_780_000_000_000
ANNA, BERT, EVA = (Identity(bytes([n]) * 32) for n in (1, 2, 3))
BOTH = (ANNA.node_id, BERT.node_id)
PLAIN = Bootstrap(
    NET,
    NOW - 5_000,
    NOW + 3_600_000,
    (Entry(EVA.node_id, ("tcp://8.8.4.4:11436", "tcp://[2606:4700::1]:11436")),),
    ("8.8.4.4:11437", "dht.example.org:6881"),
)
SIGNED = sign(sign(PLAIN, ANNA), BERT)


def refused(document: Bootstrap, publishers: tuple[NodeId, ...] = BOTH, needed: int = 2, **more: int) -> str:
    with pytest.raises(BootstrapRefused) as caught:
        check(document, NET, publishers, needed, now_ms=more.pop("now_ms", NOW), **more)
    sentence = caught.value.message
    assert sentence.startswith("the bootstrap document is refused: ")
    assert "\n" not in sentence
    return caught.value.reason


def test_a_document_signed_by_enough_publishers_is_believed_as_it_was_written() -> None:
    found = read(write(SIGNED))
    assert found == SIGNED
    check(found, NET, BOTH, 2, now_ms=NOW)
    check(sign(PLAIN, BERT), NET, BOTH, 1, now_ms=NOW)


@pytest.mark.parametrize(
    ("document", "reason"),
    [
        (PLAIN, "unsigned"),
        (sign(PLAIN, ANNA), "short_of_signatures"),
        (sign(PLAIN, EVA), "unknown_publisher"),
        (sign(sign(PLAIN, ANNA), EVA), "short_of_signatures"),
        (replace(SIGNED, signatures=(SIGNED.signatures[0],) * 2), "duplicate_signature"),
        (replace(SIGNED, dht=("6.6.6.6:1",)), "altered"),
        (replace(SIGNED, nodes=(Entry(EVA.node_id, ("tcp://6.6.6.6:1",)),)), "altered"),
        (replace(SIGNED, nodes=(*PLAIN.nodes, *PLAIN.nodes)), "altered"),
        (replace(SIGNED, expires_ms=NOW + 7_200_000), "altered"),
        (replace(SIGNED, made_ms=NOW - 6_000), "altered"),
        (replace(SIGNED, net=network_id("other")), "other_network"),
        (sign(sign(replace(PLAIN, expires_ms=NOW), ANNA), BERT), "expired"),
        (
            sign(sign(replace(PLAIN, made_ms=NOW + SKEW_MS + 1, expires_ms=NOW + 2 * SKEW_MS), ANNA), BERT),
            "from_the_future",
        ),
        (sign(sign(replace(PLAIN, expires_ms=NOW + LIFE_LIMIT_MS), ANNA), BERT), "lives_too_long"),
    ],
)
def test_anything_less_is_refused(document: Bootstrap, reason: str) -> None:
    assert refused(document) == reason


def test_an_older_document_than_the_one_that_is_known_is_a_replay() -> None:
    assert refused(SIGNED, newest_ms=NOW) == "older"
    check(SIGNED, NET, BOTH, 2, now_ms=NOW, newest_ms=SIGNED.made_ms)


def test_without_publishers_nothing_is_believed() -> None:
    assert refused(SIGNED, publishers=()) == "no_publishers"


def test_a_publisher_who_is_not_known_here_yet_does_no_harm() -> None:
    check(sign(SIGNED, EVA), NET, BOTH, 2, now_ms=NOW)


def test_signing_again_replaces_the_signature() -> None:
    assert sign(SIGNED, ANNA).signatures == (SIGNED.signatures[1], SIGNED.signatures[0])


def changed(**changes: Any) -> bytes:
    return json.dumps({**json.loads(write(SIGNED)), **changes}).encode()


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"null",
        b"[]",
        b"\xff\xfe",
        b"[" * 100_000,
        b" " * (DOCUMENT_LIMIT + 1),
        b'{"format": "opengateway-bootstrap-1", "format": "opengateway-bootstrap-1"}',
        changed(format="opengateway-bootstrap-2"),
        changed(comment="not signed"),
        changed(network="00"),
        changed(network=7),
        changed(made="yesterday"),
        changed(expires=1_780_000_000_000),
        changed(expires="1969-12-31T23:59:59Z"),
        changed(nodes={}),
        changed(nodes=[{"id": "x", "endpoints": []}]),
        changed(nodes=[{"id": "a" * 52, "endpoints": ["tcp://example.org:1"]}]),
        changed(nodes=[{"id": "a" * 52, "endpoints": ["tcp://8.8.4.4:1"] * 5}]),
        changed(nodes=[{"id": "a" * 52, "endpoints": []}] * 65),
        changed(dht=["nowhere"]),
        changed(dht=["two words:1"]),
        changed(dht=["1.2.3.4:1"] * 65),
        changed(signatures=[{"publisher": "a" * 52, "signature": "!!!"}]),
        changed(signatures=[{"publisher": "a" * 52, "signature": "AAAA"}]),
    ],
)
def test_what_is_no_document_is_refused(data: bytes) -> None:
    with pytest.raises(BootstrapRefused):
        read(data)


@given(st.binary(max_size=300) | st.text(max_size=100).map(str.encode))
def test_arbitrary_bytes_are_refused_and_never_anything_else(data: bytes) -> None:
    with pytest.raises(BootstrapRefused):
        read(data)


@given(st.data())
def test_no_byte_of_a_document_can_be_changed_in_meaning(draw: st.DataObject) -> None:
    data = bytearray(write(SIGNED))
    at = draw.draw(st.integers(0, len(data) - 1))
    data[at] = draw.draw(st.integers(32, 126))
    try:
        found = read(bytes(data))
        check(found, NET, BOTH, 2, now_ms=NOW)
    except BootstrapRefused:
        return
    assert found.statement() == SIGNED.statement()


def test_another_implementation_agrees_on_what_is_signed() -> None:
    nodes = [[entry.node_id, list(entry.endpoints)] for entry in SIGNED.nodes]
    body = cbor2.dumps([1, NET, SIGNED.made_ms, SIGNED.expires_ms, nodes, list(SIGNED.dht)])
    import hashlib

    for publisher, signature in SIGNED.signatures:
        statement = b"OGW1 bootstrap\n" + hashlib.sha256(body).digest()
        VerifyKey(publisher).verify(statement, signature)


# -- where it comes from ---------------------------------------------------------------------------


@pytest.fixture
def source(tmp_path: Path) -> Callable[..., BootstrapSource]:
    def make(location: Path | str = tmp_path / "list.json", **changes: Any) -> BootstrapSource:
        settings: dict[str, Any] = {
            "net": NET,
            "publishers": BOTH,
            "needed": 2,
            "kept": tmp_path / "home" / "bootstrap.json",
            "now_ms": lambda: NOW,
        }
        return BootstrapSource(str(location), **(settings | changes))

    (tmp_path / "home").mkdir()
    (tmp_path / "list.json").write_bytes(write(SIGNED))
    return make


def test_a_document_is_read_from_a_file_and_kept(source: Callable[..., BootstrapSource]) -> None:
    first = source()
    assert asyncio.run(first.fetch()) == SIGNED
    assert first.problem == ""
    assert source("/nowhere").load() == SIGNED


def test_a_source_that_is_gone_or_turns_bad_costs_nothing(
    source: Callable[..., BootstrapSource], tmp_path: Path
) -> None:
    node = source()
    asyncio.run(node.fetch())
    for bad in (b"", write(PLAIN), write(replace(SIGNED, dht=("6.6.6.6:1",)))):
        (tmp_path / "list.json").write_bytes(bad)
        assert asyncio.run(node.fetch()) == SIGNED
        assert "refused" in node.problem
    (tmp_path / "list.json").unlink()
    assert asyncio.run(node.fetch()) == SIGNED
    assert "no such file" in node.problem
    assert source().load() == SIGNED


def test_a_newer_document_replaces_and_an_older_does_not(
    source: Callable[..., BootstrapSource], tmp_path: Path
) -> None:
    node = source()
    asyncio.run(node.fetch())
    newer = sign(sign(replace(PLAIN, made_ms=NOW - 1_000, dht=()), ANNA), BERT)
    (tmp_path / "list.json").write_bytes(write(newer))
    assert asyncio.run(node.fetch()) == newer
    (tmp_path / "list.json").write_bytes(write(SIGNED))
    assert asyncio.run(node.fetch()) == newer
    assert "newer one" in node.problem
    again = source()
    assert again.load() == newer, "nor after a restart"
    assert asyncio.run(again.fetch()) == newer


def test_a_kept_document_ends_when_it_expires_and_when_its_publishers_do(
    source: Callable[..., BootstrapSource],
) -> None:
    asyncio.run(source().fetch())
    assert source(now_ms=lambda: SIGNED.expires_ms).load() is None
    assert source(publishers=(EVA.node_id,)).load() is None
    clock = [NOW]
    node = source(now_ms=lambda: clock[0])
    assert node.load() == SIGNED
    clock[0] = SIGNED.expires_ms
    assert node.current() is None


@pytest.fixture
def web(tmp_path: Path) -> Any:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            status, body = self.server.answer  # type: ignore[attr-defined]
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *args: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_document_is_fetched_over_http_bounded(source: Callable[..., BootstrapSource], web: Any) -> None:
    node = source(f"http://127.0.0.1:{web.server_address[1]}/list.json")
    web.answer = 404, b"not here"
    assert asyncio.run(node.fetch()) is None
    assert "http status 404" in node.problem
    web.answer = 200, b" " * (DOCUMENT_LIMIT * 4)
    assert asyncio.run(node.fetch()) is None
    assert "more than" in node.problem
    web.answer = 200, write(SIGNED)
    assert asyncio.run(node.fetch()) == SIGNED
    assert node.problem == ""
