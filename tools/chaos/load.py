"""The users: each asks its node one prompt after the other, or at random times, and notes what it sees."""

from __future__ import annotations

import http.client
import json
import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any, Final

from tools.chaos.history import Asked, Whole
from tools.chaos.invariants import LIMIT_S
from tools.chaos.node import ChaosNode

PROMPTS: Final[tuple[dict[str, Any], ...]] = tuple(
    {"messages": [{"role": "user", "content": text}], "temperature": 0, **more}
    for text, more in (
        ("What is 2+2?", {}),
        ("Count to 20.", {}),
        ("Count from 5 to 25.", {}),
        ("Count to 20.", {"max_tokens": 24}),
        ("Name the months.", {}),
        ("Name the months.", {"stop": ["September"]}),
    )
)
"""The pocket model is sure of every token of these, so no rounding in llama.cpp's cache changes the text."""
THINKS_S: Final = 0.4
"""Between an answer and the next question of one user, on average."""
HANGS: Final = 3
"""Times the limit after which a silent answer is given up."""
DOWN_S: Final = 0.2
"""Before a user asks again whose node does not run."""


class Busy:
    """Who is answering just now, so that faults can strike in the middle of an answer."""

    def __init__(self) -> None:
        self._answering: Counter[str] = Counter()
        self._changed = threading.Condition()

    def begins(self, place: str) -> None:
        with self._changed:
            self._answering[place] += 1
            self._changed.notify_all()

    def ends(self, place: str) -> None:
        with self._changed:
            self._answering[place] -= 1

    def wait(self, place: str, limit_s: float) -> bool:
        """Until this node answers somebody who has read a part of it; False if that takes longer."""
        with self._changed:
            return self._changed.wait_for(lambda: self._answering[place] > 0, limit_s)


def ask(
    node: ChaosNode, prompt: int, now: Callable[[], float], patience_s: float, busy: Busy | None = None
) -> Asked:
    """Call it inside the node's place. Never raises."""
    asked = Asked(node.name, prompt, now())
    try:
        _ask(node, asked, now, patience_s, busy or Busy())
    except ConnectionRefusedError as error:
        asked.ending, asked.said = "down", str(error)
    except TimeoutError as error:
        asked.ending, asked.said = "hung", f"silent for {patience_s:.0f} s: {error}"
    except (OSError, http.client.HTTPException) as error:
        asked.ending, asked.said = "cut", f"{type(error).__name__}: {error}"
    except Exception as error:
        asked.ending, asked.said = "unclear", f"{type(error).__name__}: {error}"
    asked.ended_s = now()
    return asked


def _ask(node: ChaosNode, asked: Asked, now: Callable[[], float], patience_s: float, busy: Busy) -> None:
    if not node.info:
        raise ConnectionRefusedError("it was never started")
    host, _, port = node.http.removeprefix("http://").partition(":")
    connection = http.client.HTTPConnection(host, int(port), timeout=patience_s)
    try:
        body = PROMPTS[asked.prompt] | {"stream": True, "stream_options": {"include_usage": True}}
        headers = {"Content-Type": "application/json", "x-opengateway-stats": "1"}
        connection.request("POST", "/v1/chat/completions", json.dumps(body), headers)
        answer = connection.getresponse()
        asked.status = answer.status
        if answer.status != http.HTTPStatus.OK:
            _read_error(asked, json.loads(answer.read())["error"])
            return
        place = answer.headers["x-opengateway-node"] or ""
        busy.begins(place)
        try:
            read_stream(asked, (line.decode() for line in answer), now)
        finally:
            busy.ends(place)
    finally:
        connection.close()


def read_stream(asked: Asked, lines: Iterator[str], now: Callable[[], float]) -> None:
    """To the end of the connection: what comes after the end of the answer is a second one."""
    endings = 0
    for line in lines:
        if not (event := line.strip()) or event.startswith(":"):
            continue
        data = event.removeprefix("data: ")
        if endings:
            asked.ending, asked.said = "unclear", f"after the end: {data[:200]}"
            return
        if data == "[DONE]":
            endings += 1
            continue
        found = json.loads(data)
        if "error" in found:
            _read_error(asked, found["error"])
            continue
        for choice in found["choices"]:
            if asked.ending == "error":
                asked.ending, asked.said = "unclear", f"text after an error: {data[:200]}"
                return
            piece = choice["delta"].get("content") or ""
            asked.first_s = asked.first_s or (now() - asked.sent_s if piece else 0.0)
            asked.text += piece
            asked.finish = choice["finish_reason"] or asked.finish
        if usage := found.get("usage"):
            asked.tokens = (usage["prompt_tokens"], usage["completion_tokens"])
        if stats := found.get("opengateway"):
            asked.places = tuple(place["node"] for place in stats["places"])
    if asked.ending == "error":
        return
    if endings and asked.finish:
        asked.ending = "answer"
    else:
        asked.said = asked.said or "the stream ended without its end"


def _read_error(asked: Asked, error: dict[str, Any]) -> None:
    asked.ending, asked.code, asked.said = "error", str(error["code"] or ""), str(error["message"])


def wholes(node: ChaosNode, now: Callable[[], float]) -> list[Whole]:
    """What every prompt is answered while all is well. Raises `RuntimeError` if one is not."""
    found = []
    for prompt in range(len(PROMPTS)):
        asked = node.inside(lambda p=prompt: ask(node, p, now, LIMIT_S * HANGS))  # type: ignore[misc]
        if asked.ending != "answer":
            raise RuntimeError(f"{node.name} does not answer while all is well: {asked}")
        found.append(Whole(asked.text, asked.finish, asked.tokens))
    return found


class Load:
    """Users of several nodes, each on a thread of its own, until `stop`."""

    def __init__(self, seed: int, now: Callable[[], float]) -> None:
        self.asked: list[Asked] = []
        self.busy = Busy()
        self._seed, self._now = seed, now
        self._over = threading.Event()
        self._threads: list[threading.Thread] = []

    def user(self, node: ChaosNode, *, waits: bool = True) -> None:
        """One who waits for each answer (closed loop), or asks at random times whatever comes (open)."""
        number = len(self._threads)
        chance = random.Random(f"{self._seed}/{number}")
        live = self._closed if waits else self._open
        thread = threading.Thread(
            target=live, args=(node, chance), name=f"user {number} of {node.name}", daemon=True
        )
        self._threads.append(thread)
        thread.start()

    def stop(self) -> None:
        """Returns when all that was asked has ended."""
        self._over.set()
        for thread in self._threads:
            thread.join()

    def _closed(self, node: ChaosNode, chance: random.Random) -> None:
        node.spot.enter()
        while not self._over.wait(chance.expovariate(1 / THINKS_S)):
            self._one(node, chance.randrange(len(PROMPTS)))

    def _open(self, node: ChaosNode, chance: random.Random) -> None:
        asking: list[threading.Thread] = []
        while not self._over.wait(chance.expovariate(1 / THINKS_S)):
            asking = [one for one in asking if one.is_alive()]
            prompt = chance.randrange(len(PROMPTS))
            thread = threading.Thread(target=self._visit, args=(node, prompt), name=f"guest of {node.name}")
            asking.append(thread)
            thread.start()
        for thread in asking:
            thread.join()

    def _visit(self, node: ChaosNode, prompt: int) -> None:
        node.spot.enter()
        self._one(node, prompt)

    def _one(self, node: ChaosNode, prompt: int) -> None:
        asked = ask(node, prompt, self._now, LIMIT_S * HANGS, self.busy)
        self.asked.append(asked)
        if asked.ending == "down":
            time.sleep(DOWN_S)
