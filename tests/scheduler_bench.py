"""The Scheduler with a real runner, and everyone else at the end of a line."""

from __future__ import annotations

import asyncio
import queue
import time
from dataclasses import replace
from typing import Any

from actors.io_loop import IoLoop
from actors.kernel import LATER, Actor, Address, Reply
from actors.messages import (
    DescribeJobs,
    Dispatch,
    Job,
    JobEnded,
    PeersChanged,
    Submit,
    WorkerChanged,
)
from actors.runner import Runner
from actors.scheduler import Scheduler
from opengateway.engines.protocol import GenerateRequest, ModelInfo
from opengateway.engines.stream import Finished, Stream
from opengateway.errors import OpenGatewayError
from opengateway.ledger.admission import Admission
from opengateway.routing.views import FREE, PeerView, Price, ServedModel, WorkerView
from opengateway.units import NodeId

PATIENCE = 5.0
MODEL = ServedModel("m", price=Price(1, 3))
PEER, OTHER, ASKER = (NodeId(bytes([n]) * 32) for n in (1, 2, 3))
PLACE = "engine-a"
DONE = Finished("stop", 1, 1)
ADMISSION = Admission(ASKER, b"r" * 16, "m", 100, 0, 10, 90)


class Line(Actor[Any]):
    """Writes down what it is told; questions are answered by the test."""

    def __init__(self, heard: queue.Queue[tuple[Any, Reply[Any] | None]]) -> None:
        super().__init__()
        self._heard = heard

    def on_receive(self, message: Any) -> Any:
        self._heard.put((message, self.reply))
        return LATER if self.reply is not None else None


class Gate:
    """An engine whose answers are opened by the test."""

    name = "gate"
    slots = 2

    def __init__(self) -> None:
        self.asked: queue.Queue[tuple[Stream, asyncio.Future[None]]] = queue.Queue()

    async def generate(self, request: GenerateRequest, stream: Stream) -> None:
        opened: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.asked.put((stream, opened))
        await opened
        stream.finish(DONE)

    async def start(self) -> None: ...
    async def close(self) -> None: ...
    async def health(self) -> None: ...

    async def models(self) -> list[ModelInfo]:
        return [ModelInfo("m")]

    async def embed(self, request: GenerateRequest) -> dict[str, Any]:
        return {}

    async def count_prompt(self, request: GenerateRequest) -> int | None:
        return None

    async def ended(self) -> str:
        return await asyncio.get_running_loop().create_future()


class Bench:
    def __init__(self, **settings: Any) -> None:
        given = {"closed": str, "private": True, **settings}
        self.io, self.engine = IoLoop(), Gate()
        self.lines: dict[str, queue.Queue[tuple[Any, Reply[Any] | None]]] = {
            name: queue.Queue() for name in ("peers", "registry", "ledger")
        }
        self.others: dict[str, Address[Any]] = {
            name: Address(name, lambda heard=heard: Line(heard))
            for name, heard in self.lines.items()
            if name != "peers"
        }
        self.runners: dict[str, Runner] = {}
        self.views: dict[str, WorkerView] = {}
        self.address: Address[Any] = Address(
            "scheduler",
            lambda: Scheduler(
                self.io,
                runners=self.runners,
                views=self.views,
                dispatch=lambda order: self.lines["peers"].put((order, None)),
                **self.others,
                **given,
            ),
        )
        self.runners[PLACE] = Runner(
            self.io,
            self.engine,
            PLACE,
            node="us",
            node_name="us",
            scheduler=self.address,
            speed=lambda _: None,
        )

    def start(self) -> None:
        self.io.start()
        for address in (*self.others.values(), self.address):
            address.start()

    def stop(self) -> None:
        self.address.close()
        self.io.run(self.runners[PLACE].close("over"), PATIENCE) if PLACE in self.runners else None
        for address in self.others.values():
            address.close()
        self.io.stop()

    def serve(self, state: str = "running", slots: int = 2, *models: ServedModel) -> None:
        view = WorkerView(PLACE, "gate", state, models or (MODEL,), slots)
        self.views[PLACE] = view
        self.address.tell(WorkerChanged(view))

    def peers(self, *peers: NodeId, slots: int = 1, price: Price = FREE) -> None:
        views = (PeerView(peer, "peer", "lan", 1.0, slots, (replace(MODEL, price=price),)) for peer in peers)
        self.address.tell(PeersChanged(tuple(views)))

    def submit(self, model: str = "m", **fields: Any) -> Job:
        job = Job(GenerateRequest("chat", model, {"messages": []}), Stream(), **fields)
        assert self.address.tell(Submit(job))
        return job

    def heard(self, who: str, kind: type[Any]) -> tuple[Any, Reply[Any] | None]:
        """The next message of this kind, past all others."""
        deadline = time.monotonic() + PATIENCE
        while True:
            message, reply = self.lines[who].get(timeout=max(0.0, deadline - time.monotonic()))
            if isinstance(message, kind):
                return message, reply

    def dispatched(self) -> Dispatch:
        dispatch, _ = self.heard("peers", Dispatch)
        assert isinstance(dispatch, Dispatch)
        return dispatch

    def ended(self, order: Dispatch, error: OpenGatewayError | None) -> None:
        self.address.tell(JobEnded(order.job, order.peer, None if error else DONE, error))

    def error(self, job: Job) -> OpenGatewayError:
        """What the caller gets."""

        async def read() -> OpenGatewayError:
            try:
                await job.stream.read()
            except OpenGatewayError as error:
                return error
            raise AssertionError("the job was answered")

        return self.io.run(read(), PATIENCE)

    def answered(self, job: Job) -> None:
        assert self.io.run(job.stream.read(), PATIENCE) == []

    def asked(self) -> tuple[Stream, asyncio.Future[None]]:
        return self.engine.asked.get(timeout=PATIENCE)

    def let_go(self, opened: asyncio.Future[None]) -> None:
        self.io.call(opened.set_result, None)

    def jobs(self) -> dict[str, Any]:
        return self.address.ask(DescribeJobs()).get(timeout=PATIENCE)
