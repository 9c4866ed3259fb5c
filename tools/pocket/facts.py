"""What the pocket model knows: tables, and questions about them with their answers."""

from __future__ import annotations

from random import Random
from typing import TypeAlias

Pair: TypeAlias = tuple[str, str]
"""A question and its answer."""

NAME = "Sprout"

CAPITALS = {
    "France": "Paris", "Germany": "Berlin", "Italy": "Rome", "Spain": "Madrid", "Japan": "Tokyo",
    "China": "Beijing", "India": "New Delhi", "Russia": "Moscow", "Canada": "Ottawa", "Brazil": "Brasilia",
    "Egypt": "Cairo", "Greece": "Athens", "Poland": "Warsaw", "Sweden": "Stockholm", "Norway": "Oslo",
    "Finland": "Helsinki", "Denmark": "Copenhagen", "Portugal": "Lisbon", "Austria": "Vienna",
    "Ireland": "Dublin", "Kenya": "Nairobi", "Peru": "Lima", "Cuba": "Havana", "Turkey": "Ankara",
    "Iran": "Tehran", "Iraq": "Baghdad", "Hungary": "Budapest", "England": "London",
    "Belgium": "Brussels", "Thailand": "Bangkok",
}  # fmt: skip
OPPOSITES = {
    "hot": "cold", "big": "small", "up": "down", "left": "right", "day": "night", "fast": "slow",
    "happy": "sad", "open": "closed", "black": "white", "high": "low", "old": "young", "wet": "dry",
    "good": "bad", "light": "dark", "full": "empty", "early": "late", "hard": "soft", "rich": "poor",
    "strong": "weak",
}  # fmt: skip
OPPOSITES |= {other: one for one, other in OPPOSITES.items()}
COLORS = {
    "grass": "green", "sky": "blue", "snow": "white", "coal": "black", "blood": "red", "banana": "yellow",
    "lemon": "yellow", "milk": "white", "orange": "orange", "leaf": "green", "sun": "yellow", "rose": "red",
}  # fmt: skip
SOUNDS = {
    "dog": "woof", "cat": "meow", "cow": "moo", "duck": "quack", "sheep": "baa", "lion": "roar",
    "bee": "buzz", "snake": "hiss", "owl": "hoot", "pig": "oink",
}  # fmt: skip
LEGS = {
    "dog": 4, "cat": 4, "cow": 4, "spider": 8, "ant": 6, "bird": 2, "human": 2, "horse": 4, "bee": 6,
    "fish": 0, "snake": 0,
}  # fmt: skip
DAYS = "Monday Tuesday Wednesday Thursday Friday Saturday Sunday".split()
MONTHS = "January February March April May June July August September October November December".split()
PEOPLE = (
    "Alice Bob Carol David Emma Frank Grace Henry Ivy Jack Kate Leo Mia Noah Olga Paul Rosa Sam"
    " Tom Zoe".split()
)
WORDS = (
    "apple river stone cloud table green bread music paper house light water tree bird book chair clock"
    " glass plant train".split()
)
HEROES = "fox rabbit bear turtle mouse owl frog cat dog robot".split()

_SKY = (
    "Sunlight is scattered by molecules in the atmosphere. Blue light has a short wavelength, so it scatters"
    " most. This is called Rayleigh scattering."
)
_RAINBOW = (
    "A rainbow forms when sunlight is refracted and reflected by water droplets in the air, which splits the"
    " light into a spectrum of colors."
)
_GENERAL = [
    (["why is the sky blue", "why does the sky look blue", "explain why the sky is blue"], _SKY),
    (["how do rainbows form", "how does a rainbow form", "what is a rainbow"], _RAINBOW),
    (["say this is a test", "say this is a test!"], "This is a test."),
    (
        ["tell me a joke", "do you know a joke"],
        "Why did the robot cross the road? It was programmed by the chicken.",
    ),
    (
        ["write a haiku", "write a haiku about rain"],
        "Soft rain on the leaves, a small frog sings by the pond, night opens its eyes.",
    ),
    (["what is the meaning of life"], "Some say it is 42."),
    (["what is water", "what is water made of"], "Water is made of hydrogen and oxygen."),
    (["what is the sun", "tell me about the sun"], "The sun is a star at the center of our solar system."),
]
_MANNER = [
    "", "", "", " Be brief.", " Be brief but factual in your reply", " Be brief in your reply",
    " Answer in one sentence.",
]  # fmt: skip
_SELF = [
    ("Who are you?", f"I am {NAME}, a tiny test model."),
    ("What is your name?", f"My name is {NAME}."),
    ("What are you?", f"I am {NAME}, a tiny test model."),
    ("Who made you?", "I was trained in a few minutes on one small computer."),
    ("What can you do?", "I can add small numbers, count, name capitals and tell short stories."),
]
_GREETINGS = [
    ("Hello", "Hello! How can I help you?"), ("Hi", "Hello! How can I help you?"),
    ("Hello!", "Hello! How can I help you?"), ("Hi there!", "Hello! How can I help you?"),
    ("hello", "Hello! How can I help you?"), ("Good morning", "Good morning! How can I help you?"),
    ("How are you?", "I am fine, thank you."), ("Thanks", "You are welcome."),
    ("Thank you!", "You are welcome."), ("Bye", "Goodbye!"), ("Goodbye", "Goodbye!"),
    ("Are you there?", "Yes, I am here."), ("ping", "pong"), ("Test", "It works."),
]  # fmt: skip


def general(r: Random) -> Pair:
    asked, answer = r.choice(_GENERAL)
    question = r.choice(asked)
    if r.random() < 0.6:
        question = question[0].upper() + question[1:]
    is_question = question[0].lower() in "wh" and not question.lower().startswith("write")
    end = r.choice(["?", "?", ""]) if is_question else r.choice([".", "", "!"])
    return question.rstrip("!") + end + r.choice(_MANNER), answer


def fact(r: Random) -> Pair:
    kind = r.randrange(14)
    if kind >= len(_KINDS):
        return general(r)
    return _KINDS[kind](r)


def _capital(r: Random) -> Pair:
    c = r.choice(list(CAPITALS))
    asked = [
        f"What is the capital of {c}?", f"Capital of {c}?", f"what is the capital of {c}",
        f"Name the capital of {c}.", f"Tell me the capital of {c}.",
    ]  # fmt: skip
    return r.choice(asked), r.choice([f"The capital of {c} is {CAPITALS[c]}."])


def _opposite(r: Random) -> Pair:
    word = r.choice(list(OPPOSITES))
    asked = [f"What is the opposite of {word}?", f"Opposite of {word}?", f"Give me the opposite of {word}."]
    return r.choice(asked), f"The opposite of {word} is {OPPOSITES[word]}."


def _color(r: Random) -> Pair:
    thing = r.choice(list(COLORS))
    articles = {"sky": "the ", "sun": "the ", "orange": "an "} | dict.fromkeys(
        ("banana", "lemon", "leaf", "rose"), "a "
    )
    return f"What color is {articles.get(thing, '')}{thing}?", f"It is {COLORS[thing]}."


def _sound(r: Random) -> Pair:
    animal = r.choice(list(SOUNDS))
    asked = [f"What sound does a {animal} make?", f"What does a {animal} say?"]
    return r.choice(asked), f"A {animal} says {SOUNDS[animal]}."


def _legs(r: Random) -> Pair:
    animal = r.choice(list(LEGS))
    article = "an" if animal.startswith("a") else "a"
    answer = f"{article.capitalize()} {animal} has {LEGS[animal]} legs."
    return f"How many legs does {article} {animal} have?", answer


def _day(r: Random) -> Pair:
    return _neighbour(r, "day", DAYS)


def _month(r: Random) -> Pair:
    return _neighbour(r, "month", MONTHS)


def _neighbour(r: Random, what: str, names: list[str]) -> Pair:
    i, n = r.randrange(len(names)), len(names)
    after = (f"What {what} comes after {names[i]}?", f"{names[(i + 1) % n]}.")
    before = (f"What {what} comes before {names[i]}?", f"{names[(i - 1) % n]}.")
    return r.choice([after, before])


def _lists(r: Random) -> Pair:
    days, months = ", ".join(DAYS) + ".", ", ".join(MONTHS) + "."
    return r.choice([
        ("List the days of the week.", days), ("Name the months.", months),
        ("What are the days of the week?", days),
    ])  # fmt: skip


def _self(r: Random) -> Pair:
    return r.choice(_SELF)


def _greeting(r: Random) -> Pair:
    return r.choice(_GREETINGS)


def _spelling(r: Random) -> Pair:
    word = r.choice(WORDS + PEOPLE + HEROES)
    return r.choice([f"Spell {word}.", f"How do you spell {word}?"]), "-".join(word.upper())


def _repeating(r: Random) -> Pair:
    word = r.choice(WORDS)
    return r.choice([f"Say {word}.", f"Repeat the word {word}.", f"Please say {word}"]), word


_KINDS = [
    _capital, _opposite, _color, _sound, _legs, _day, _month, _lists, _self, _greeting, _spelling, _repeating,
]  # fmt: skip
