"""Conversations with tool calls, and the chat template that turns messages into the same text.

The call is written as `<tool_call>` around a JSON object, which llama.cpp and Ollama both recognise.
"""

from __future__ import annotations

import json
from random import Random
from typing import Any, TypeAlias

from tools.pocket.facts import CAPITALS, PEOPLE, WORDS, fact

Message: TypeAlias = tuple[str, str]
"""Role and text."""

TOOLS = {
    "get_weather": ("Get the weather for a city", "city", [
        "What is the weather in {}?", "How is the weather in {}?", "Weather in {}?",
        "Tell me the weather in {}."]),
    "get_time": ("Get the time in a city", "city", [
        "What time is it in {}?", "Tell me the time in {}.", "What is the time in {}?"]),
    "find_user": ("Find a user by name", "name", [
        "Find the user {}.", "Look up the user {}.", "Find user {}"]),
    "open_page": ("Open a page by word", "word", [
        "Open the page {}.", "Please open {}.", "Open {}"]),
}  # fmt: skip
_RESULTS = [
    "sunny", "rain", "snow", "cloudy", "12:00", "noon", "ok", "found", "not found", "21 degrees",
]  # fmt: skip


def tool_conversation(r: Random) -> list[Message]:
    offered = r.sample(list(TOOLS), r.choice((1, 1, 1, 2)))
    descriptions = "".join(json.dumps(tool(name)) + "\n" for name in offered)
    said = r.choice(["", "", "You are a helpful assistant."])
    system = (said + "\n" if said else "") + "Tools:\n" + descriptions
    messages: list[Message] = [("system", system)]
    if r.random() < 0.15:
        question, answer = fact(r)
        return [*messages, ("user", question), ("assistant", answer)]
    name = r.choice(offered)
    _, argument, asked = TOOLS[name]
    values = {"city": list(CAPITALS.values()), "name": PEOPLE, "word": WORDS}[argument]
    value = r.choice(values)
    messages += [
        ("user", r.choice(asked).format(value)),
        ("assistant", call_text(name, {argument: value})),
    ]
    if r.random() < 0.5:
        result = r.choice(_RESULTS)
        messages += [
            ("user", f"<tool_response>\n{result}\n</tool_response>"),
            ("assistant", f"The result is: {result}"),
        ]
    return messages


def tool(name: str) -> dict[str, Any]:
    """A tool as OpenAI's requests describe it."""
    description, argument, _ = TOOLS[name]
    parameters = {"type": "object", "properties": {argument: {"type": "string"}}, "required": [argument]}
    return {
        "type": "function",
        "function": {"name": name, "description": description, "parameters": parameters},
    }


def call_text(name: str, arguments: dict[str, str]) -> str:
    return "<tool_call>\n" + json.dumps({"name": name, "arguments": arguments}) + "\n</tool_call>"


CHAT_TEMPLATE = (
    "{%- set ns = namespace(sys='') -%}"
    "{%- if messages and messages[0]['role'] == 'system' -%}"
    "{%- set ns.sys = messages[0]['content'] -%}{%- endif -%}"
    "{%- if tools -%}{{- '<|im_start|>system\n' + ((ns.sys + '\n') if ns.sys else '') + 'Tools:\n' -}}"
    "{%- for tool in tools -%}{{- (tool | tojson) + '\n' -}}{%- endfor -%}{{- '<|im_end|>\n' -}}"
    "{%- elif ns.sys -%}{{- '<|im_start|>system\n' + ns.sys + '<|im_end|>\n' -}}{%- endif -%}"
    "{%- for message in messages -%}{%- if message['role'] == 'system' -%}"
    "{%- elif message['role'] == 'tool' -%}"
    "{{- '<|im_start|>user\n<tool_response>\n' + message['content'] + '\n</tool_response><|im_end|>\n' -}}"
    "{%- else -%}{{- '<|im_start|>' + message['role'] + '\n' -}}"
    "{%- if message['content'] -%}{{- message['content'] -}}{%- endif -%}"
    "{%- if message['tool_calls'] -%}{%- for tc in message['tool_calls'] -%}"
    "{%- set f = tc['function'] if tc['function'] else tc -%}"
    "{{- '<tool_call>\n{\"name\": \"' + f['name'] + '\", \"arguments\": '"
    " + (f['arguments'] if f['arguments'] is string else f['arguments'] | tojson) + '}\n</tool_call>' -}}"
    "{%- endfor -%}{%- endif -%}{{- '<|im_end|>\n' -}}{%- endif -%}{%- endfor -%}"
    "{%- if add_generation_prompt -%}{{- '<|im_start|>assistant\n' -}}{%- endif -%}"
)
"""Exactly what `Tokenizer.conversation` trains on, for llama.cpp's and Ollama's Jinja."""
