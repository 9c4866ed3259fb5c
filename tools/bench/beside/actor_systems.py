"""Other actor systems of Python: bare pykka, thespian, xoscar; one message told, one asked. One JSON line.

Run with a Python that has pykka, thespian and xoscar. Each in the form nearest to ours, an actor with a
thread or a process of its own: pykka's ThreadingActor, thespian's multiprocQueueBase (simpleSystemBase runs
the actor inside the caller), xoscar's actor in a sub-pool.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import time
from collections.abc import Callable
from typing import Any

import pykka
import thespian.actors
import xoscar


class Bare(pykka.ThreadingActor):
    use_daemon_thread = True

    def on_receive(self, message: object) -> object:
        return message


class Thespian(thespian.actors.Actor):
    def receiveMessage(self, message: object, sender: Any) -> None:  # noqa: N802 - its name there
        if message == "ask":
            self.send(sender, message)


class Xoscar(xoscar.Actor):
    async def hear(self, message: object) -> object:
        return message


def us_each(run: Callable[[], object], messages: int) -> float:
    began = time.perf_counter()
    run()
    return (time.perf_counter() - began) / messages * 1e6


def pykka_figures(messages: int) -> dict[str, float]:
    actor = Bare.start()

    def tells() -> None:
        for _ in range(messages):
            actor.tell("tell")
        actor.ask("ask")

    def asks() -> None:
        for _ in range(messages // 10):
            actor.ask("ask")

    found = {"tell_us": us_each(tells, messages), "ask_us": us_each(asks, messages // 10)}
    actor.stop()
    return found


def thespian_figures(messages: int) -> dict[str, float]:
    system = thespian.actors.ActorSystem("multiprocQueueBase")
    try:
        actor = system.createActor(Thespian)

        def tells() -> None:
            for _ in range(messages):
                system.tell(actor, "tell")
            system.ask(actor, "ask", 60)

        def asks() -> None:
            for _ in range(messages // 10):
                system.ask(actor, "ask", 60)

        return {"tell_us": us_each(tells, messages), "ask_us": us_each(asks, messages // 10)}
    finally:
        system.shutdown()


async def xoscar_figures(messages: int) -> dict[str, float]:
    pool = await xoscar.create_actor_pool("127.0.0.1", n_process=1)
    async with pool:
        actor = await xoscar.create_actor(
            Xoscar, address=pool.sub_processes and next(iter(pool.sub_processes))
        )
        began = time.perf_counter()
        await asyncio.gather(*(actor.hear.tell("tell") for _ in range(messages)))
        await actor.hear("ask")
        tell = (time.perf_counter() - began) / messages * 1e6
        began = time.perf_counter()
        for _ in range(messages // 10):
            await actor.hear("ask")
        return {"tell_us": tell, "ask_us": (time.perf_counter() - began) / (messages // 10) * 1e6}


def main() -> None:
    asked = argparse.ArgumentParser()
    asked.add_argument("--messages", type=int, default=20_000)
    messages = asked.parse_args().messages
    figures = {"pykka": pykka_figures(messages), "thespian": thespian_figures(messages // 10)}
    figures["xoscar"] = asyncio.run(xoscar_figures(messages // 10))
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
