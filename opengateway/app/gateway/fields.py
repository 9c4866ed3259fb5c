"""Every documented field of OpenAI's requests, and what becomes of it here: the one table.

The gateway reads requests by it (chat_body.py), /openapi.json is made of it (openapi.py), and so is the table
in docs/COMPATIBILITY.md. What is not in it is unknown, and refused by name: a field that is silently ignored
gives an answer to a question that was not asked.

Source: OpenAI's API reference, as the types of its Python package 3.57 have it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, Literal, TypeAlias

from opengateway.app.gateway import forms
from opengateway.app.gateway.forms import FLAG, Form, number, stops, text, whole, words
from opengateway.app.gateway.messages import MESSAGE_SCHEMA, RESPONSE_FORMAT, TOOL_CHOICE, TOOL_SCHEMA

Treatment: TypeAlias = Literal["engine", "node", "label", "default", "refused"]
"""engine: passed on; where the value needs an ability (engines/needs.py), only who has it is asked.
node: honoured by this node itself.
label: says something about the caller and nothing about the answer; it stays on this node.
default: only the values that say what happens anyway; others are refused by name.
refused: by name."""


@dataclass(frozen=True, slots=True)
class Field:
    name: str
    form: Form
    treatment: Treatment
    note: str = ""
    only: tuple[Any, ...] = ()
    """Of a `default` field: the values that may be given."""
    required: bool = False
    extension: bool = False
    """Not OpenAI's: what llama.cpp, vLLM and Ollama understand beyond it."""


class Table(dict[str, Field]):
    """The fields of one route, by their names."""

    def __init__(self, *fields: Field) -> None:
        super().__init__({field.name: field for field in fields})
        self.required = tuple(field for field in fields if field.required)


NAME_LIMIT: Final = 200
MOST_TOKENS: Final = (1 << 31) - 1
"""What engines count with: llama.cpp takes more for a negative number."""
SEEDS: Final = (-(1 << 63), (1 << 63) - 1)
MOST_CHOICES: Final = 128

_ANYWHERE: Final = (
    Field("model", text(NAME_LIMIT), "node", "a served model or an alias; none asks for this node's default"),
    Field("user", text(1024), "label"),
)
_SAMPLING: Final = (
    Field("temperature", number(0, 2), "engine"),
    Field("top_p", number(0, 1), "engine"),
    Field("frequency_penalty", number(-2, 2), "engine"),
    Field("presence_penalty", number(-2, 2), "engine"),
    Field("max_tokens", whole(1, MOST_TOKENS), "engine"),
    Field("stop", stops(4), "engine"),
    Field("seed", whole(*SEEDS), "engine"),
    Field("logit_bias", forms.biases(1024), "engine"),
    Field("n", whole(1, MOST_CHOICES), "node", "each choice is answered by whoever is free"),
    Field("stream", FLAG, "node"),
    Field("stream_options", forms.ANY_OBJECT, "node", "`include_usage`; `include_obfuscation` only false"),
    Field("top_k", whole(-1, 1 << 20), "engine", extension=True),
    Field("min_p", number(0, 1), "engine", extension=True),
    Field("typical_p", number(0, 1), "engine", extension=True),
    Field("repeat_penalty", number(0, 10), "engine", extension=True),
    Field("repetition_penalty", number(0, 10), "engine", extension=True),
)

CHAT: Final = Table(
    *_ANYWHERE,
    Field(
        "messages",
        forms.some(1, 10_000, MESSAGE_SCHEMA, "a list with at least one message"),
        "engine",
        "texts, images as `data:` URLs, tool calls and their answers; `developer` is read as `system`",
        required=True,
    ),
    *_SAMPLING,
    Field("max_completion_tokens", whole(1, MOST_TOKENS), "engine"),
    Field("tools", forms.some(0, 128, TOOL_SCHEMA, "a list of at most 128 tools"), "engine", "functions"),
    Field("tool_choice", TOOL_CHOICE, "engine", "naming tools leaves only those in `tools`"),
    Field("parallel_tool_calls", FLAG, "engine"),
    Field("response_format", RESPONSE_FORMAT, "engine"),
    Field("logprobs", FLAG, "engine"),
    Field("top_logprobs", whole(0, 20), "engine", "with `logprobs`"),
    Field("reasoning_effort", words("none", "minimal", "low", "medium", "high", "xhigh"), "engine"),
    Field("chat_template_kwargs", forms.ANY_OBJECT, "engine", extension=True),
    Field("safety_identifier", text(1024), "label"),
    Field("prompt_cache_key", text(1024), "label", "engines here keep prefixes by themselves"),
    Field("prompt_cache_retention", text(64), "default", "engines keep prefixes in memory", ("in_memory",)),
    Field("service_tier", text(64), "default", "there is one tier", ("auto", "default")),
    Field("store", FLAG, "default", "nothing is stored", (False,)),
    Field("metadata", forms.ANY_OBJECT, "default", "it would belong to a stored answer", ({},)),
    Field("modalities", forms.ANY_LIST, "default", "answers are text", (["text"],)),
    Field("verbosity", text(64), "default", "no engine can steer it", ("medium",)),
    Field("audio", forms.ANYTHING, "refused", "answers are text"),
    Field("prediction", forms.ANYTHING, "refused", "no engine takes one"),
    Field("web_search_options", forms.ANYTHING, "refused", "no engine searches the web"),
    Field("functions", forms.ANYTHING, "refused", "deprecated; use `tools`"),
    Field("function_call", forms.ANYTHING, "refused", "deprecated; use `tool_choice`"),
    Field("moderation", forms.ANYTHING, "refused", "nobody moderates"),
    Field("prompt_cache_options", forms.ANYTHING, "refused", "engines keep prefixes by themselves"),
)
COMPLETION: Final = Table(
    *_ANYWHERE,
    Field(
        "prompt",
        forms.texts(MOST_CHOICES, least=0),
        "engine",
        "a text or a list of texts; token numbers mean something else to every model",
        required=True,
    ),
    *_SAMPLING,
    Field("suffix", text(1 << 20), "engine"),
    Field("echo", FLAG, "node", "not with `logprobs`"),
    Field("logprobs", whole(0, 5), "engine"),
    Field("best_of", whole(1, 20), "default", "nobody compares answers", (1,)),
)
EMBEDDING: Final = Table(
    *_ANYWHERE,
    Field(
        "input",
        forms.texts(2048),
        "engine",
        "a text or a list of texts; token numbers mean something else to every model",
        required=True,
    ),
    Field("dimensions", whole(1, 1 << 16), "engine"),
    Field("encoding_format", words("float", "base64"), "engine"),
    Field("truncate", FLAG, "engine", "true cuts what is too long, as Ollama does", extension=True),
)
TABLES: Final[dict[str, Table]] = {"chat": CHAT, "completion": COMPLETION, "embedding": EMBEDDING}
