"""The official OpenAI client, which does not know that it is not talking to OpenAI."""

from __future__ import annotations

from collections.abc import Iterator

import openai
import pytest
from pairs import Pair
from sse import QUESTION

MESSAGES = [{"role": "user", "content": QUESTION}]


@pytest.fixture(params=["asking", "serving"])
def client(request: pytest.FixtureRequest, pocket_pair: Pair) -> Iterator[openai.OpenAI]:
    node = getattr(pocket_pair, request.param)
    with openai.OpenAI(base_url=f"{node.http}/v1", api_key="none", max_retries=0, timeout=30) as made:
        yield made


def test_it_lists_the_models(client: openai.OpenAI) -> None:
    [model] = client.models.list().data
    assert model.id == "pocket"
    assert client.models.retrieve("pocket").id == "pocket"


def test_it_gets_an_answer(client: openai.OpenAI) -> None:
    answer = client.chat.completions.create(model="pocket", temperature=0, messages=MESSAGES)  # type: ignore[arg-type]
    assert answer.choices[0].message.content is not None
    assert answer.choices[0].message.content.strip() == "4"
    assert answer.choices[0].message.role == "assistant"
    assert answer.choices[0].finish_reason == "stop"
    assert answer.usage is not None
    assert answer.usage.completion_tokens > 0


def test_it_streams_an_answer(client: openai.OpenAI) -> None:
    chunks = list(
        client.chat.completions.create(
            model="pocket",
            messages=MESSAGES,  # type: ignore[arg-type]
            stream=True,
            stream_options={"include_usage": True},
        )
    )
    assert chunks[0].choices[0].delta.role == "assistant"
    assert "".join(c.choices[0].delta.content or "" for c in chunks if c.choices).strip() == "4"
    assert [c.choices[0].finish_reason for c in chunks if c.choices][-1] == "stop"
    assert chunks[-1].usage is not None
    assert chunks[-1].usage.total_tokens > 0


def test_it_streams_through_its_helper_for_whole_chats(client: openai.OpenAI) -> None:
    with client.chat.completions.stream(model="pocket", temperature=0, messages=MESSAGES) as stream:  # type: ignore[arg-type]
        final = stream.get_final_completion()
    assert final.choices[0].message.content is not None
    assert final.choices[0].message.content.strip() == "4"


def test_it_completes_a_text(client: openai.OpenAI) -> None:
    answer = client.completions.create(model="pocket", prompt="The sky", temperature=0, max_tokens=4)
    assert answer.choices[0].text
    streamed = client.completions.create(
        model="pocket", prompt="The sky", temperature=0, max_tokens=4, stream=True
    )
    assert "".join(c.choices[0].text for c in streamed if c.choices) == answer.choices[0].text


def test_an_unknown_model_is_not_found(client: openai.OpenAI) -> None:
    with pytest.raises(openai.NotFoundError) as caught:
        client.chat.completions.create(model="gpt-4o", messages=MESSAGES)  # type: ignore[arg-type]
    assert caught.value.code == "model_not_found"
    with pytest.raises(openai.NotFoundError):
        client.models.retrieve("gpt-4o")


def test_a_bad_request_is_a_bad_request(client: openai.OpenAI) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        client.chat.completions.create(model="pocket", messages=MESSAGES, temperature=7)  # type: ignore[arg-type]
    assert "temperature" in str(caught.value)
    with pytest.raises(openai.BadRequestError) as caught:
        client.chat.completions.create(model="pocket", messages=[])
    assert caught.value.code == "invalid_request"
    assert caught.value.type == "invalid_request_error"


def test_a_prompt_beyond_the_context_is_a_bad_request(client: openai.OpenAI) -> None:
    long = [{"role": "user", "content": "word " * 3000}]
    for stream in (False, True):
        with pytest.raises(openai.BadRequestError) as caught:
            client.chat.completions.create(model="pocket", messages=long, stream=stream)  # type: ignore[call-overload]
        assert caught.value.code == "context_length_exceeded"


def test_a_client_may_stop_in_mid_stream_and_ask_again(client: openai.OpenAI) -> None:
    for _ in range(8):  # more often than there are slots
        stream = client.chat.completions.create(model="pocket", temperature=0, messages=MESSAGES, stream=True)  # type: ignore[arg-type]
        next(iter(stream))
        stream.close()
    answer = client.chat.completions.create(model="pocket", temperature=0, messages=MESSAGES)  # type: ignore[arg-type]
    assert answer.choices[0].message.content
