"""What /openapi.json promises is taken, what it does not promise is refused, and nothing breaks the node.

A short form of `tools/compat/schemathesis.sh`: requests made from the document's own schemas.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from harness import Node
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from pairs import paced_engine

from opengateway.app import node as node_module
from opengateway.app.gateway.chat_body import check_fields
from opengateway.app.gateway.fields import TABLES
from opengateway.app.gateway.openapi import document, request_schema
from opengateway.app.gateway.responses_body import RESPONSES
from opengateway.config import Config
from opengateway.home import Home

ALL_TABLES = {**TABLES, "response": RESPONSES}
QUICK = settings(
    max_examples=25, phases=[Phase.generate], suppress_health_check=list(HealthCheck), derandomize=True
)
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63)
    | st.floats(allow_nan=False)
    | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner, max_size=3),
    max_leaves=6,
)


def values(schema: Any) -> st.SearchStrategy[Any]:
    """What a schema of ours allows."""
    if "const" in schema:
        return st.just(schema["const"])
    if "enum" in schema:
        return st.sampled_from(schema["enum"])
    if "anyOf" in schema:
        return st.one_of(*map(values, schema["anyOf"]))
    kinds = schema.get("type", [])
    return st.one_of(*(_of(kind, schema) for kind in ([kinds] if isinstance(kinds, str) else kinds)))


def _of(kind: str, schema: Any) -> st.SearchStrategy[Any]:
    match kind:
        case "null":
            return st.none()
        case "boolean":
            return st.booleans()
        case "integer":
            low, high = schema.get("minimum", 0), schema.get("maximum", 9)
            return st.integers(low, min(high, 9) if low >= 0 else high)
        case "number":
            return st.floats(schema["minimum"], schema["maximum"])
        case "string":
            most = min(12, schema.get("maxLength", 12))
            alphabet = st.characters(codec="utf-8")
            return st.text(alphabet, min_size=schema.get("minLength", 0), max_size=most)
        case "array":
            least = schema.get("minItems", 0)
            return st.lists(
                values(schema.get("items", {"type": "object"})), min_size=least, max_size=least + 2
            )
    required, properties = schema.get("required", []), schema.get("properties", {})
    optional = {name: values(inner) for name, inner in properties.items() if name not in required}
    return st.fixed_dictionaries({name: values(properties[name]) for name in required}, optional=optional)


@pytest.mark.parametrize("kind", sorted(ALL_TABLES))
def test_every_field_takes_what_its_schema_allows(kind: str) -> None:
    table = ALL_TABLES[kind]
    schema = request_schema(table)
    needed = {name: schema["properties"][name] for name in schema["required"]}

    @settings(max_examples=60, derandomize=True)
    @given(st.data())
    def check(data: st.DataObject) -> None:
        name = data.draw(st.sampled_from(sorted(schema["properties"])))
        body = {key: data.draw(values(inner)) for key, inner in needed.items()}
        body[name] = data.draw(values(schema["properties"][name]))
        assert name in check_fields(body, table)

    check()


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    folder = tmp_path_factory.mktemp("openapi")
    with (
        paced_engine(0.0) as url,
        Node(folder, "a", engine={"kind": "openai", "url": url, "slots": 4}) as made,
    ):
        yield made


Operation = tuple[str, str]
"""A method and a path."""
OPERATIONS = {
    (method.upper(), path): described
    for path, operations in document()["paths"].items()
    for method, described in operations.items()
}
BODIES = {
    asked: described["requestBody"]["content"]["application/json"]["schema"]
    for asked, described in OPERATIONS.items()
    if "application/json" in described.get("requestBody", {}).get("content", {})
}
"""Those that take JSON."""
OURS = ("/node/", "/dashboard/")
"""Of this node's own command line and page."""


def test_every_public_route_is_in_the_document_and_every_route_of_the_document_is_there(
    tmp_path: Path,
) -> None:
    home = Home(tmp_path / "home")
    home.prepare()
    assembled = node_module.Node(home, Config())
    assembled.io.start()
    try:
        routed = web.Application().add_routes(assembled.http.routes())
    finally:
        assembled.io.stop()
    found = {
        (route.method, route.resource.canonical)
        for route in routed
        if route.resource is not None and route.method != "HEAD"  # it goes with every GET
    }
    public = {one for one in found if one[1] != "/" and not one[1].startswith(OURS)}
    assert len(found) > len(public) > 30
    assert public == set(OPERATIONS)


def test_the_document_is_served_as_it_is_made(node: Node) -> None:
    assert node.get("/openapi.json") == json.loads(json.dumps(document()))


@pytest.mark.parametrize("asked", sorted(OPERATIONS), ids=" ".join)
def test_whatever_it_names_answers_as_it_says_and_never_as_an_unknown_route(
    node: Node, asked: Operation
) -> None:
    method, path = asked
    status, answer = node.request(method, path.replace("{", "").replace("}", ""))
    assert status in (200, 400, 404), answer
    if status == 200:
        assert "200" in OPERATIONS[asked]["responses"]
        schema = (
            OPERATIONS[asked]["responses"]["200"]["content"].get("application/json", {}).get("schema", {})
        )
        assert set(schema.get("required", [])) <= set(answer)
    else:
        assert "Not Found" not in str(answer["error"])


@pytest.mark.parametrize("asked", sorted(BODIES), ids=" ".join)
def test_no_request_that_the_document_allows_breaks_the_node(node: Node, asked: Operation) -> None:
    method, path = asked
    allowed = values(BODIES[asked])
    said = OPERATIONS[asked]["responses"]
    answer_schema = said["200"]["content"]["application/json"]["schema"] if "200" in said else {}

    @QUICK
    @given(allowed, st.booleans())
    def check(body: dict[str, Any], named: bool) -> None:
        body = {**body, "model": "fake"} if named else body
        if "max_tokens" in body or "n" in body:
            body |= {"max_tokens": 2}
        status, answer = node.request(method, path, body)
        assert status < 500, (body, answer)
        if status == 200 and isinstance(answer, dict):
            assert set(answer_schema.get("required", [])) <= set(answer), (body, answer)
        elif status != 200:
            error = answer["error"]
            assert error if path.startswith("/api/") else error["message"], body

    check()


@pytest.mark.parametrize("asked", sorted(BODIES), ids=" ".join)
def test_no_other_request_breaks_it_either(node: Node, asked: Operation) -> None:
    method, path = asked
    names = st.sampled_from(sorted(BODIES[asked]["properties"])) | st.text(max_size=9)

    @QUICK
    @given(st.dictionaries(names, JSON, max_size=4) | JSON)
    def check(body: Any) -> None:
        status, answer = node.request(method, path, body)
        assert status < 500, (body, answer)

    check()
