"""What a field's value must look like: one JSON schema, and the check and the words that follow from it.

Only the few shapes that OpenAI's fields have. The check is a plain closure, since it runs for every field of
every request; the schema is what /openapi.json shows, so the two cannot drift apart unseen
(tests/app/gateway/test_fields.py holds them together).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Form:
    wants: str
    """In words, after "must be"."""
    schema: Json
    fits: Callable[[Any], bool]


def number(low: float, high: float) -> Form:
    def fits(value: Any) -> bool:
        return type(value) in (int, float) and low <= value <= high

    return Form(f"a number from {low} to {high}", {"type": "number", "minimum": low, "maximum": high}, fits)


def whole(low: int, high: int) -> Form:
    def fits(value: Any) -> bool:
        return type(value) is int and low <= value <= high

    words = f"a whole number from {low} to {high}" if high < 1 << 31 else f"a whole number of at least {low}"
    if low < 0 and high >= 1 << 31:
        words = "a whole number"
    return Form(words, {"type": "integer", "minimum": low, "maximum": high}, fits)


def text(most: int, *, least: int = 0) -> Form:
    def fits(value: Any) -> bool:
        return isinstance(value, str) and least <= len(value) <= most

    schema: Json = {"type": "string", "maxLength": most} | ({"minLength": least} if least else {})
    return Form(f"a text of at most {most} characters", schema, fits)


def words(*known: str) -> Form:
    def fits(value: Any) -> bool:
        return isinstance(value, str) and value in known

    return Form(" or ".join(f'"{word}"' for word in known), {"enum": list(known)}, fits)


def stops(most: int) -> Form:
    def fits(value: Any) -> bool:
        many = value if isinstance(value, list) else [value]
        return len(many) <= most and all(isinstance(one, str) and one for one in many)

    # An empty one would stop before the first token.
    one: Json = {"type": "string", "minLength": 1}
    schema = {"anyOf": [one, {"type": "array", "items": one, "maxItems": most}]}
    return Form(f"a text or a list of up to {most} texts, none of them empty", schema, fits)


def texts(most: int, *, least: int = 1) -> Form:
    """A text of at least so many characters, or a list of such."""

    def fits(value: Any) -> bool:
        many = value if isinstance(value, list) else [value]
        return 0 < len(many) <= most and all(isinstance(one, str) and len(one) >= least for one in many)

    one: Json = {"type": "string"} | ({"minLength": least} if least else {})
    schema = {"anyOf": [one, {"type": "array", "items": one, "minItems": 1, "maxItems": most}]}
    return Form("a text or a list of texts", schema, fits)


def pairs(most: int, *, longest: int) -> Form:
    """An object of texts."""

    def fits(value: Any) -> bool:
        if not isinstance(value, dict) or len(value) > most:
            return False
        return all(isinstance(one, str) and len(one) <= longest for one in value.values())

    inner: Json = {"type": "string", "maxLength": longest}
    schema: Json = {"type": "object", "additionalProperties": inner, "maxProperties": most}
    return Form(f"an object of at most {most} texts", schema, fits)


def biases(most: int) -> Form:
    def fits(value: Any) -> bool:
        if not isinstance(value, dict) or len(value) > most:
            return False
        good = all(type(one) in (int, float) and -100 <= one <= 100 for one in value.values())
        return good and all(key.isascii() and key.isdigit() for key in value)

    inner = {"type": "number", "minimum": -100, "maximum": 100}
    schema: Json = {"type": "object", "maxProperties": most, "additionalProperties": False}
    schema["patternProperties"] = {"^[0-9]+$": inner}
    return Form(f"an object of at most {most} token ids with numbers from -100 to 100", schema, fits)


FLAG = Form("true or false", {"type": "boolean"}, lambda value: isinstance(value, bool))
ANY_OBJECT = Form("an object", {"type": "object"}, lambda value: isinstance(value, dict))
ANY_LIST = Form("a list", {"type": "array"}, lambda value: isinstance(value, list))
ANYTHING = Form("anything", {}, lambda _: True)


def some(least: int, most: int, schema: Json, what: str) -> Form:
    """A list whose items are looked at elsewhere (messages.py), which names the one that is wrong."""

    def fits(value: Any) -> bool:
        return isinstance(value, list) and least <= len(value) <= most

    whole_schema: Json = {"type": "array", "items": schema, "minItems": least, "maxItems": most}
    return Form(what, whole_schema, fits)


def either(first: Form, second: Form) -> Form:
    def fits(value: Any) -> bool:
        return first.fits(value) or second.fits(value)

    return Form(f"{first.wants}, or {second.wants}", {"anyOf": [first.schema, second.schema]}, fits)
