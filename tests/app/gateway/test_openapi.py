"""What /openapi.json promises is taken, what it does not promise is refused, and nothing breaks the node.

A short form of `tools/compat/schemathesis.sh`: requests made from the document's own schemas.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from harness import Node
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from pairs import paced_engine

from opengateway.app.gateway.chat_body import check_fields
from opengateway.app.gateway.fields import TABLES
from opengateway.app.gateway.openapi import document, request_schema
from opengateway.app.gateway.responses_body import RESPONSES

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


POSTS = sorted(path for path, operations in document()["paths"].items() if "post" in operations)


def test_the_document_is_served_and_names_every_route_that_it_promises(node: Node) -> None:
    assert node.get("/openapi.json") == json.loads(json.dumps(document()))
    for path in POSTS:
        assert node.request("POST", path)[0] in (400, 401), path


@pytest.mark.parametrize("path", POSTS)
def test_no_request_that_the_document_allows_breaks_the_node(node: Node, path: str) -> None:
    operation = document()["paths"][path]["post"]
    asked = values(operation["requestBody"]["content"]["application/json"]["schema"])
    answer_schema = operation["responses"]["200"]["content"]["application/json"]["schema"]

    @QUICK
    @given(asked, st.booleans())
    def check(body: dict[str, Any], named: bool) -> None:
        body = {**body, "model": "fake"} if named else body
        if "max_tokens" in body or "n" in body:
            body |= {"max_tokens": 2}
        status, answer = node.request("POST", path, body)
        assert status < 500, (body, answer)
        if status == 200 and isinstance(answer, dict):
            assert set(answer_schema.get("required", [])) <= set(answer), (body, answer)
        elif status != 200:
            error = answer["error"]
            assert error if path.startswith("/api/") else error["message"], body

    check()


@pytest.mark.parametrize("path", POSTS)
def test_no_other_request_breaks_it_either(node: Node, path: str) -> None:
    schema = document()["paths"][path]["post"]["requestBody"]["content"]["application/json"]["schema"]
    names = st.sampled_from(sorted(schema["properties"])) | st.text(max_size=9)

    @QUICK
    @given(st.dictionaries(names, JSON, max_size=4) | JSON)
    def check(body: Any) -> None:
        status, answer = node.request("POST", path, body)
        assert status < 500, (body, answer)

    check()
