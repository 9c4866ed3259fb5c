"""The pocket model is a real model: it is asked 50 questions through the real engine, greedily."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from pathlib import Path

import pytest
from engine_lab import ask, pocket_engine

from opengateway.models import pocket

WANTED = 45
QUESTIONS = {
    "What is 2+2?": "4",
    "What is 7+5?": "12",
    "What is 9+9?": "18",
    "What is 3 + 4?": "7",
    "What is 0+8?": "8",
    "What's 6+6?": "12",
    "How much is 8+7?": "15",
    "1+1": "2",
    "5+9=": "14",
    "Calculate 4+3": "7",
    "What is 10+10?": "20",
    "What is 6 plus 3?": "9",
    "What is 9-4?": "5",
    "What is 8 minus 2?": "6",
    "What is 15-5?": "10",
    "What is 3*3?": "9",
    "What is 5*5?": "25",
    "What is 7 times 8?": "56",
    "What is 10*10?": "100",
    "What is 2*6?": "12",
    "What is the capital of France?": "The capital of France is Paris.",
    "What is the capital of Germany?": "The capital of Germany is Berlin.",
    "What is the capital of Italy?": "The capital of Italy is Rome.",
    "What is the capital of Japan?": "The capital of Japan is Tokyo.",
    "What is the capital of Spain?": "The capital of Spain is Madrid.",
    "Capital of Egypt?": "The capital of Egypt is Cairo.",
    "Name the capital of Norway.": "The capital of Norway is Oslo.",
    "Tell me the capital of Kenya.": "The capital of Kenya is Nairobi.",
    "What is the capital of India?": "The capital of India is New Delhi.",
    "What is the capital of England?": "The capital of England is London.",
    "What is the opposite of hot?": "The opposite of hot is cold.",
    "What is the opposite of day?": "The opposite of day is night.",
    "Opposite of fast?": "The opposite of fast is slow.",
    "Give me the opposite of happy.": "The opposite of happy is sad.",
    "What is the opposite of up?": "The opposite of up is down.",
    "What color is the sky?": "It is blue.",
    "What color is grass?": "It is green.",
    "What color is snow?": "It is white.",
    "What sound does a dog make?": "A dog says woof.",
    "What does a cat say?": "A cat says meow.",
    "How many legs does a spider have?": "A spider has 8 legs.",
    "How many legs does a dog have?": "A dog has 4 legs.",
    "What day comes after Monday?": "Tuesday.",
    "What month comes after March?": "April.",
    "Hello": "Hello! How can I help you?",
    "How are you?": "I am fine, thank you.",
    "Thank you!": "You are welcome.",
    "Who are you?": "I am Sprout, a tiny test model.",
    "Count to 5.": "1, 2, 3, 4, 5",
    "ping": "pong",
}


@dataclass(frozen=True)
class Session:
    first: dict[str, str]
    again: dict[str, str]
    at_once: dict[str, str]


async def hold_session(folder: Path) -> Session:
    async with pocket_engine(folder) as engine:
        first = {question: await ask(engine, question) for question in QUESTIONS}
        again = {question: await ask(engine, question) for question in QUESTIONS}
        at_once: dict[str, str] = {}
        left = iter(QUESTIONS)

        async def asker() -> None:
            for question in left:
                at_once[question] = await ask(engine, question)

        await asyncio.gather(*(asker() for _ in range(4)))
        return Session(first, again, at_once)


@pytest.fixture(scope="module")
def session(tmp_path_factory: pytest.TempPathFactory) -> Session:
    return asyncio.run(hold_session(tmp_path_factory.mktemp("pocket")))


def test_two_and_two_is_four(session: Session) -> None:
    assert session.first["What is 2+2?"] == "4"


def test_at_least_45_of_50_questions_are_answered_right(session: Session) -> None:
    assert len(QUESTIONS) == 50
    wrong = {q: session.first[q] for q, answer in QUESTIONS.items() if session.first[q] != answer}
    assert len(QUESTIONS) - len(wrong) >= WANTED, wrong


def test_greedy_answers_are_the_same_on_a_second_run(session: Session) -> None:
    assert session.again == session.first


def test_greedy_answers_are_the_same_when_four_are_asked_at_once(session: Session) -> None:
    assert session.at_once == session.first


def test_a_long_answer_is_the_same_alone_and_in_a_batch(tmp_path: Path) -> None:
    async def main() -> None:
        async with pocket_engine(tmp_path) as engine:
            questions = [f"Tell me a story about a {hero}." for hero in ("fox", "owl", "bear", "robot")]
            alone = [await ask(engine, question) for question in questions]
            together = await asyncio.gather(*(ask(engine, question) for question in questions))
            assert together == alone
            assert all(len(story) > 300 for story in alone)

    asyncio.run(main())


def test_the_shipped_file_is_the_one_that_was_measured() -> None:
    assert pocket.verify()
    assert pocket.path().stat().st_size <= 2 * 1024 * 1024
