"""The shipped GGUF is what the recipe says: its vocabulary and template follow from the tool's seed."""

from __future__ import annotations

import struct
from itertools import chain
from random import Random

from opengateway.models import pocket
from tools.pocket.corpus import conversation
from tools.pocket.tokenizer import Tokenizer
from tools.pocket.tool_calls import CHAT_TEMPLATE
from tools.pocket_model import vocabulary

SHIPPED_SEED = 1


def stored(text: str) -> bytes:
    """A text as GGUF holds it."""
    raw = text.encode()
    return struct.pack("<Q", len(raw)) + raw


def test_the_recipes_seed_gives_the_shipped_vocabulary_and_template() -> None:
    shipped = pocket.path().read_bytes()
    tokens = vocabulary(Random(SHIPPED_SEED)).tokens
    assert len(tokens) == 756
    assert b"".join(map(stored, tokens)) in shipped
    assert stored(CHAT_TEMPLATE) in shipped
    assert pocket.SHA256 in pocket.path().with_name("RECIPE.md").read_text()


def test_texts_survive_encoding_whatever_is_in_them() -> None:
    tokenizer = Tokenizer(["he", "▁h", "l", "o", "▁"])
    for text in ("hello hello", "Grüße 你好 👋\n\n  two spaces", ""):
        assert tokenizer.decode(tokenizer.encode(text)) == text


def test_the_same_seed_gives_the_same_conversations() -> None:
    one, two = ([conversation(r) for _ in range(200)] for r in (Random(7), Random(7)))
    assert one == two
    roles = {role for role, _ in chain.from_iterable(one)}
    assert roles == {"system", "user", "assistant"}
