"""The one table of fields: complete by OpenAI's own types, true to its schemas, and what the docs show."""

from __future__ import annotations

import re
import typing
from pathlib import Path
from typing import Any

import orjson
import pytest
from openai.types import completion_create_params, embedding_create_params
from openai.types.chat import completion_create_params as chat_params

from opengateway.app.gateway.chat_body import Aliases, read_body
from opengateway.app.gateway.fields import TABLES, Field
from opengateway.engines.ollama_format import OPTIONS_KNOWN
from opengateway.engines.openai_format import FIELDS
from opengateway.engines.protocol import Kind
from opengateway.errors import BadRequest, Unsupported
from tools.compat.fields_table import ALL as ALL_TABLES
from tools.compat.fields_table import table

DOCUMENTED: dict[str, Any] = {
    "chat": chat_params.CompletionCreateParamsStreaming,
    "completion": completion_create_params.CompletionCreateParamsStreaming,
    "embedding": embedding_create_params.EmbeddingCreateParams,
}
GOOD: dict[str, dict[str, Any]] = {
    "chat": {"messages": [{"role": "user", "content": "x"}]},
    "completion": {"prompt": "x"},
    "embedding": {"input": "x"},
}
ALL = [(kind, field) for kind, fields in TABLES.items() for field in fields.values()]


def read(kind: Any, **more: Any) -> Any:
    return read_body(orjson.dumps(GOOD[kind] | more), kind)


@pytest.mark.parametrize("kind", sorted(TABLES))
def test_the_table_has_every_field_that_openai_documents_and_calls_all_others_extensions(kind: str) -> None:
    documented = set(typing.get_type_hints(DOCUMENTED[kind]))
    ours = {name for name, field in TABLES[kind].items() if not field.extension}
    assert ours - documented - {"seed"} == set()
    # The installed package may be newer than the table: what it adds is refused as unknown.
    assert len(documented - ours) <= 3, documented - ours


@pytest.mark.parametrize("kind", sorted(TABLES))
def test_what_the_table_passes_on_the_engines_are_sent(kind: str) -> None:
    passed = {field.name for field in TABLES[kind].values() if field.treatment == "engine"}
    assert (
        passed - {"truncate"} <= FIELDS[kind]
    )  # what is not cut is refused, as an OpenAI server does anyway


@pytest.mark.parametrize(("kind", "field"), [(k, f) for k, f in ALL if f.treatment in ("refused", "default")])
def test_what_cannot_be_honoured_is_refused_by_name_and_its_default_is_not(kind: Kind, field: Field) -> None:
    value: Any = {"x": 1} if field.form.fits({"x": 1}) else ["x"] if field.form.fits(["x"]) else "x"
    value = next((v for v in (value, True, 7) if field.form.fits(v) and v not in field.only), value)
    with pytest.raises(Unsupported) as caught:
        read(kind, **{field.name: value})
    assert caught.value.param == field.name
    assert f"`{field.name}`" in caught.value.message
    for fine in (*field.only, None):
        assert field.name not in read(kind, **{field.name: fine}).request.body


@pytest.mark.parametrize("kind", sorted(TABLES))
def test_labels_stay_on_this_node(kind: Kind) -> None:
    labels = {field.name: "somebody" for field in TABLES[kind].values() if field.treatment == "label"}
    assert labels
    assert read(kind, **labels).request.body == GOOD[kind]


@pytest.mark.parametrize("kind", sorted(TABLES))
@pytest.mark.parametrize("name", ["temprature", "grammar", "id_slot", "lora", "", "x" * 300])
def test_a_field_that_nobody_knows_is_refused_by_name(kind: Kind, name: str) -> None:
    with pytest.raises(BadRequest) as caught:
        read(kind, **{name: 1})
    assert caught.value.param == name[:60]


def test_a_typo_is_told_what_was_meant() -> None:
    with pytest.raises(BadRequest) as caught:
        read("chat", temprature=1)
    assert "temperature" in caught.value.hint


TOOLS = [{"type": "function", "function": {"name": name}} for name in ("f", "g")]


@pytest.mark.parametrize(
    ("choice", "mode", "left"),
    [
        ("auto", "auto", ["f", "g"]),
        ("required", "required", ["f", "g"]),
        ({"type": "function", "function": {"name": "g"}}, "required", ["g"]),
        (
            {"type": "allowed_tools", "allowed_tools": {"mode": "auto", "tools": [TOOLS[0]]}},
            "auto",
            ["f"],
        ),
    ],
)
def test_a_choice_that_names_tools_leaves_only_those(choice: Any, mode: str, left: list[str]) -> None:
    body = read("chat", tools=TOOLS, tool_choice=choice).request.body
    assert body["tool_choice"] == mode
    assert [tool["function"]["name"] for tool in body["tools"]] == left


@pytest.mark.parametrize(
    ("more", "param"),
    [
        ({"tool_choice": "required"}, "tool_choice"),
        ({"tools": TOOLS, "tool_choice": {"type": "function", "function": {"name": "h"}}}, "tool_choice"),
        ({"tools": TOOLS, "tool_choice": {"type": "function"}}, "tool_choice"),
        ({"tools": TOOLS, "tool_choice": {"type": "function", "function": {"name": ["f"]}}}, "tool_choice"),
        ({"tools": [{"type": "custom", "custom": {"name": "x"}}]}, "tools[0]"),
        ({"tools": [{"type": "function"}]}, "tools[0]"),
        ({"tools": [7]}, "tools[0]"),
        ({"top_logprobs": 2}, "top_logprobs"),
        ({"stream_options": {"include_usage": True}}, "stream_options"),
        ({"stream": True, "stream_options": {"include_obfuscation": True}}, "stream_options"),
        ({"stream": True, "stream_options": {"x": 1}}, "stream_options"),
        ({"response_format": {"type": "json_schema"}}, "response_format.json_schema.schema"),
        ({"response_format": {"type": "xml"}}, "response_format"),
        ({"messages": [{"role": "function", "name": "f", "content": "x"}]}, "messages[0]"),
        (
            {
                "messages": [
                    {"role": "user", "content": [{"type": "image_url", "image_url": {"url": "http://x"}}]}
                ]
            },
            "messages[0].content",
        ),
        ({"messages": [{"role": "assistant", "tool_calls": [{}]}]}, "messages[0].tool_calls"),
        ({"messages": [{"role": "assistant", "audio": {"id": "x"}}]}, "messages[0].audio"),
    ],
)
def test_what_is_wrong_inside_a_field_is_named_too(more: dict[str, Any], param: str) -> None:
    with pytest.raises(BadRequest) as caught:
        read("chat", **more)
    assert caught.value.param == param


def test_a_developers_message_is_a_systems_message_to_engines() -> None:
    body = read("chat", messages=[{"role": "developer", "content": "be brief"}]).request.body
    assert body["messages"] == [{"role": "system", "content": "be brief"}]


def test_a_null_in_a_message_is_the_same_as_leaving_it_out() -> None:
    """llama.cpp took `"tool_call_id": null` for a value, and failed with a 500: found by schemathesis."""
    nulls = {"name": None, "tool_call_id": None, "tool_calls": None}
    body = read("chat", messages=[{"role": "user", "content": "x", **nulls}]).request.body
    assert body["messages"] == [{"role": "user", "content": "x"}]
    said = {"role": "assistant", "content": None, "name": None}
    assert read("chat", messages=[said]).request.body["messages"] == [{"role": "assistant", "content": None}]
    with pytest.raises(BadRequest) as caught:
        read("chat", messages=[{"role": "user", "content": None}])
    assert caught.value.param == "messages[0].content"


def test_an_alias_means_its_model_however_it_is_written() -> None:
    aliases = Aliases.of(("gpt-4o-mini=pocket",))
    raw = orjson.dumps({**GOOD["chat"], "model": "GPT-4o-mini"})
    assert read_body(raw, "chat", aliases).request.model == "pocket"


def test_a_completion_that_is_to_echo_remembers_its_prompt() -> None:
    asked = read("completion", echo=True)
    assert (asked.echo, "echo" in asked.request.body) == (True, False)
    with pytest.raises(Unsupported):
        read("completion", echo=True, logprobs=1)


@pytest.mark.parametrize("kind", sorted(ALL_TABLES))
def test_the_documentation_shows_this_table(kind: str) -> None:
    page = (Path(__file__).parents[3] / "docs/COMPATIBILITY.md").read_text()
    assert table(kind) in page, "run: python tools/compat/fields_table.py --write"


def test_ollamas_adapter_knows_every_sampling_field_or_lacks_the_ability_for_it() -> None:
    passed = {f.name for f in TABLES["chat"].values() if f.treatment == "engine"}
    assert passed - OPTIONS_KNOWN == {
        "logit_bias",
        "tool_choice",
        "parallel_tool_calls",
        "chat_template_kwargs",
    }
    assert re.fullmatch(r"[a-z_ ]+", " ".join(passed))
