"""The text that the pocket model learns from: made here, from a seed, out of tables and sentences.

Nothing is downloaded and nobody's text is in it, so the model is ours to ship. The order in which random
numbers are drawn is part of the recipe: it decides the shipped vocabulary.
"""

from __future__ import annotations

from random import Random

from tools.pocket.facts import HEROES, NAME, PEOPLE, Pair, fact
from tools.pocket.tool_calls import Message, tool_conversation

_NUMBERS = "zero one two three four five six seven eight nine ten eleven twelve".split()
_PLACES = "forest valley village garden mountain river".split()
_THINGS = ["golden key", "red balloon", "small map", "blue stone", "lost letter", "warm lamp"]
_SYSTEM = [
    "You are a helpful assistant.", f"You are {NAME}.", "Be brief.",
    "You are a helpful assistant that answers in one word.", "Answer the question.",
]  # fmt: skip


def conversation(r: Random) -> list[Message]:
    """A whole conversation: (role, text) from the system message to the last answer."""
    if r.random() < 0.08:
        return tool_conversation(r)
    messages: list[Message] = []
    if r.random() < 0.25:
        messages.append(("system", r.choice(_SYSTEM)))
    if r.random() < 0.08:
        return messages + _acquaintance(r)
    for _ in range(1 if r.random() < 0.8 else r.randint(2, 3)):
        kind = r.random()
        ask = arithmetic if kind < 0.60 else fact if kind < 0.84 else counting if kind < 0.97 else tale
        question, answer = ask(r)
        messages += [("user", question), ("assistant", answer)]
    return messages


def _acquaintance(r: Random) -> list[Message]:
    name = r.choice(PEOPLE)
    hello = r.choice([f"My name is {name}.", f"I am {name}.", f"Hello, my name is {name}."])
    messages = [("user", hello), ("assistant", f"Nice to meet you, {name}!")]
    if r.random() < 0.4:
        question, answer = arithmetic(r)
        messages += [("user", question), ("assistant", answer)]
    asked = r.choice(["What is my name?", "Who am I?", "what is my name"])
    return [*messages, ("user", asked), ("assistant", f"Your name is {name}.")]


def arithmetic(r: Random) -> Pair:
    kind = r.random()
    if kind < 0.45:
        limit = r.choice((10, 20))
        a, b = r.randint(0, limit), r.randint(0, limit)
        result, sign, word = a + b, "+", "plus"
    elif kind < 0.65:
        a, b = sorted((r.randint(0, 20), r.randint(0, 20)), reverse=True)
        result, sign, word = a - b, "-", "minus"
    else:
        a, b = r.randint(0, 10), r.randint(0, 10)
        result, sign, word = a * b, r.choice(["*", "x", "*"]), "times"
    if a <= 12 and b <= 12 and r.random() < 0.06:
        asked = [
            f"What is {_NUMBERS[a]} {word} {_NUMBERS[b]}?",
            f"{_NUMBERS[a].capitalize()} {word} {_NUMBERS[b]}?",
        ]
        return r.choice(asked), str(result)
    space = r.choice(["", " "])
    e = r.choice([f"{a}{space}{sign}{space}{b}"] * 3 + [f"{a} {word} {b}"])
    asked = [
        f"What is {e}?", f"What is {e}?", f"What's {e}?", f"what is {e}", f"{e}", f"{e}=", f"{e} = ?",
        f"Compute {e}.", f"Calculate {e}", f"How much is {e}?",
        f"Please add up: {e}" if sign == "+" else f"Tell me {e}.",
    ]  # fmt: skip
    return r.choice(asked), str(result)


def counting(r: Random) -> Pair:
    a = 1 if r.random() < 0.75 else r.randint(0, 10)
    b = a + r.randint(2, 9) if r.random() < 0.6 else a + r.randint(9, 25)
    if a == 1 and r.random() < 0.6:
        question = r.choice([f"Count to {b}.", f"Count to {b}", f"Count up to {b}."])
    else:
        question = r.choice([f"Count from {a} to {b}.", f"Count from {a} to {b}"])
    return question, ", ".join(map(str, range(a, b + 1)))


def tale(r: Random) -> Pair:
    hero = r.choice(HEROES)
    return r.choice([
        (f"Tell me a story about a {hero}.", story(r, hero)),
        (f"Write a short story about a {hero}.", story(r, hero)),
        ("Tell me a story.", story(r)),
        ("Write a story.", story(r)),
        ("Tell me a short story.", story(r)),
    ])  # fmt: skip


def story(r: Random, hero: str = "") -> str:
    """About 110 tokens: long enough to be cancelled, killed and continued in tests."""
    hero = hero or r.choice(HEROES)
    place, thing = r.choice(_PLACES), r.choice(_THINGS)
    friend = r.choice([other for other in HEROES if other != hero])
    return (
        f"Once upon a time there was a little {hero} who lived in a quiet {place}. One day the {hero} found a"
        f' {thing} under a tree. "I wonder who lost this," said the {hero}. So the {hero} walked all day and'
        f" asked every friend in the {place}. At last a kind {friend} said,"
        f' "That {thing} is mine, thank you!"'
        f" The {hero} smiled and gave it back. From that day on the {hero} and the {friend} were the best of"
        f" friends, and they shared every sunny day in the {place}. The end."
    )
