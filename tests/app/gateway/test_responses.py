"""POST /v1/responses: what it reads, and the events that it writes, by OpenAI's own types."""

from __future__ import annotations

import typing
from collections.abc import Iterator
from typing import Any

import openai
import orjson
import pytest
from harness import Node, private_network, until
from openai.types.responses import ResponseStreamEvent, response_create_params
from pydantic import TypeAdapter

from opengateway.app.gateway.chat_body import NO_ALIASES
from opengateway.app.gateway.responses_body import RESPONSES, read_response
from opengateway.app.gateway.responses_events import ResponseEvents
from opengateway.engines.stream import Chunk, Finished, Stream
from opengateway.errors import BadRequest, EngineFailed, Unsupported

ANY_EVENT: Any = TypeAdapter(ResponseStreamEvent)
FUNCTION = {"type": "function", "name": "f", "parameters": {"type": "object"}}


def read(**body: Any) -> Any:
    return read_response({"input": "x", **body}, NO_ALIASES)


def test_every_documented_field_is_in_the_table() -> None:
    documented = set(typing.get_type_hints(response_create_params.ResponseCreateParamsStreaming))
    assert set(RESPONSES) <= documented
    assert len(documented - set(RESPONSES)) <= 3, documented - set(RESPONSES)


def test_a_request_becomes_a_chat() -> None:
    chat = read(
        instructions="be brief",
        input=[
            {"role": "user", "content": [{"type": "input_text", "text": "a"}]},
            {"type": "reasoning", "id": "r", "summary": []},
            {"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}"},
            {"type": "function_call", "call_id": "d", "name": "f", "arguments": "{}"},
            {"type": "function_call_output", "call_id": "c", "output": "4"},
            {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "b"}]},
        ],
        max_output_tokens=9,
        tools=[FUNCTION],
        tool_choice={"type": "function", "name": "f"},
        text={"format": {"type": "json_schema", "name": "n", "schema": {"type": "object"}}},
    ).asked.request
    assert [message["role"] for message in chat.body["messages"]] == [
        "system", "user", "assistant", "tool", "assistant",
    ]  # fmt: skip
    assert [call["id"] for call in chat.body["messages"][2]["tool_calls"]] == ["c", "d"]
    assert chat.body["max_completion_tokens"] == 9
    assert chat.body["tools"] == [
        {"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}
    ]
    assert chat.body["tool_choice"] == "required"
    assert chat.body["response_format"]["json_schema"]["name"] == "n"
    assert {"tools", "tool_choice", "json_schema"} <= set(chat.needs)


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"input": ""}, "input"),
        ({"input": []}, "input"),
        ({"input": [7]}, "input[0]"),
        ({"input": [{"type": "item_reference", "id": "x"}]}, "input[0]"),
        ({"input": [{"role": "user", "content": [{"type": "input_file"}]}]}, "input[0]"),
        ({"input": [{"role": "user", "content": 7}]}, "input[0]"),
        ({"input": [{"role": "wizard", "content": "x"}]}, "messages[0]"),
        ({"previous_response_id": "x"}, "previous_response_id"),
        ({"conversation": "x"}, "conversation"),
        ({"store": True}, "store"),
        ({"background": True}, "background"),
        ({"truncation": "auto"}, "truncation"),
        ({"tools": [{"type": "web_search"}]}, "tools[0]"),
        ({"tools": [7]}, "tools[0]"),
        ({"tools": [FUNCTION], "tool_choice": {"type": "file_search"}}, "tool_choice"),
        ({"tools": [FUNCTION], "tool_choice": {"type": "function", "name": "g"}}, "tool_choice"),
        ({"text": {"verbosity": "low"}}, "text.verbosity"),
        ({"text": {"format": 7}}, "text.format"),
        ({"reasoning": {"summary": "auto"}}, "reasoning.summary"),
        ({"include": ["reasoning.encrypted_content"]}, "include"),
        ({"stream": True, "stream_options": {"include_obfuscation": True}}, "stream_options"),
        ({"temperature": 3}, "temperature"),
        ({"max_output_tokens": 0}, "max_output_tokens"),
        ({"temprature": 1}, "temprature"),
    ],
)
def test_what_cannot_be_honoured_is_refused_by_name(body: dict[str, Any], param: str) -> None:
    with pytest.raises(BadRequest) as caught:
        read(**body)
    assert caught.value.param == param


# -- the events -------------------------------------------------------------------------------


def events(raw: bytes) -> list[Any]:
    found = []
    for block in raw.decode().strip().split("\n\n"):
        name, data = block.split("\n")
        event = orjson.loads(data.removeprefix("data: "))
        assert name == f"event: {event['type']}"
        ANY_EVENT.validate_python(event)
        found.append(event)
    assert [event["sequence_number"] for event in found] == list(range(len(found)))
    return found


def ended(reason: str = "stop") -> Stream:
    stream: Any = Stream.__new__(Stream)
    stream.finished = Finished(reason, 3, 2)
    return stream  # type: ignore[no-any-return]


def written(chunks: list[Chunk], reason: str = "stop", **body: Any) -> list[Any]:
    writer = ResponseEvents("req-1", read(**body))
    raw = writer.begin("m") + b"".join(writer.pieces([chunk]) for chunk in chunks)
    return events(raw + writer.closing(ended(reason)))


def test_a_text_is_an_item_that_opens_grows_and_closes() -> None:
    found = written(["a", "b"])
    assert [event["type"].removeprefix("response.") for event in found] == [
        "created", "in_progress", "output_item.added", "content_part.added", "output_text.delta",
        "output_text.delta", "output_text.done", "content_part.done", "output_item.done", "completed",
    ]  # fmt: skip
    assert [event["delta"] for event in found if "delta" in event] == ["a", "b"]
    response = found[-1]["response"]
    assert response["output"][0]["content"][0]["text"] == "ab"
    assert (response["status"], response["usage"]["total_tokens"]) == ("completed", 5)


def test_thoughts_text_and_calls_are_items_of_their_own() -> None:
    def call(index: int, **more: Any) -> Chunk:
        return {"tool_calls": [{"index": index, **more}]}

    found = written(
        [
            {"reasoning_content": "hm"},
            "a",
            call(0, id="c", function={"name": "f", "arguments": '{"x"'}),
            call(0, function={"arguments": ":1}"}),
            call(1, id="d", function={"name": "g", "arguments": "{}"}),
        ]
    )
    output = found[-1]["response"]["output"]
    assert [item["type"] for item in output] == ["reasoning", "message", "function_call", "function_call"]
    assert output[0]["content"] == [{"type": "reasoning_text", "text": "hm"}]
    assert [(item["call_id"], item["arguments"]) for item in output[2:]] == [("c", '{"x":1}'), ("d", "{}")]
    added = [event["output_index"] for event in found if event["type"] == "response.output_item.added"]
    assert added == [0, 1, 2, 3]


def test_an_answer_that_was_cut_is_incomplete_and_one_that_broke_has_failed() -> None:
    last = written(["a"], "length")[-1]
    assert last["type"] == "response.incomplete"
    assert last["response"]["incomplete_details"] == {"reason": "max_output_tokens"}
    writer = ResponseEvents("req-1", read())
    found = events(writer.begin("m") + writer.pieces(["a"]) + writer.failed(EngineFailed("gone")))
    assert found[-1]["type"] == "response.failed"
    assert found[-1]["response"]["error"]["message"] == "gone"


def test_what_was_asked_for_is_said_again() -> None:
    body = {"metadata": {"a": "b"}, "instructions": "i", "temperature": 0.5, "max_output_tokens": 7}
    response = written([], **body)[-1]["response"]
    assert {name: response[name] for name in body} == body


HOSTILE: list[Chunk] = [{"tool_calls": 7}, {"tool_calls": [{"index": []}]}, {"logprobs": 7}, {"content": 7}]


@pytest.mark.parametrize(
    "chunk", [*HOSTILE, {"tool_calls": [{"function": 7}]}, {"logprobs": {"content": [7]}}]
)
def test_whatever_a_peer_calls_a_delta_is_written_down_or_left_out(chunk: Chunk) -> None:
    assert written(["a", chunk, "b"])


# -- with the package, through a peer ---------------------------------------------------------


@pytest.fixture(scope="module")
def asking(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    folder, network = tmp_path_factory.mktemp("responses"), private_network()
    with (
        Node(folder, "serves", network, engine={"kind": "pocket"}) as serves,
        Node(folder, "asks", network, wire={"bootstrap": [serves.endpoint]}) as asks,
    ):
        until(lambda: asks.get("/v1/models")["data"], "the model is offered")
        yield asks


@pytest.fixture
def client(asking: Node) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{asking.http}/v1", api_key="none", max_retries=0) as made:
        yield made


QUESTION: Any = {"model": "pocket", "input": "What is 2+2?", "temperature": 0}


def test_the_package_gets_a_response(client: openai.OpenAI) -> None:
    answer = client.responses.create(**QUESTION)
    assert (answer.output_text.strip(), answer.status) == ("4", "completed")
    assert answer.usage is not None
    assert answer.usage.output_tokens == 2


def test_the_package_streams_a_response(client: openai.OpenAI) -> None:
    with client.responses.stream(**QUESTION) as stream:
        kinds = [event.type for event in stream]
        final = stream.get_final_response()
    assert kinds[0] == "response.created"
    assert kinds[-1] == "response.completed"
    assert final.output_text.strip() == "4"


def test_the_package_calls_a_function_and_hears_the_answer(client: openai.OpenAI) -> None:
    city = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
    tool: Any = {"type": "function", "name": "get_weather", "description": "Get the weather for a city",
                 "parameters": city, "strict": True}  # fmt: skip
    asked: list[Any] = [{"role": "user", "content": "What is the weather in Paris?"}]
    answer = client.responses.create(
        model="pocket", input=asked, tools=[tool], temperature=0, max_output_tokens=90
    )
    [call] = [item for item in answer.output if item.type == "function_call"]
    asked += [call.model_dump(), {"type": "function_call_output", "call_id": call.call_id, "output": "sunny"}]
    again = client.responses.create(
        model="pocket", input=asked, tools=[tool], temperature=0, max_output_tokens=20
    )
    assert again.status in ("completed", "incomplete")


def test_the_package_hears_of_errors_and_of_what_is_not_stored(client: openai.OpenAI) -> None:
    with pytest.raises(openai.NotFoundError):
        client.responses.create(model="nope", input="x")
    with pytest.raises(openai.BadRequestError) as caught:
        client.responses.create(model="pocket", input="x", previous_response_id="resp_1")
    assert caught.value.param == "previous_response_id"
    with pytest.raises(openai.NotFoundError, match="not stored"):
        client.responses.retrieve("resp_1")
    with pytest.raises(Unsupported):
        read(store=True)
