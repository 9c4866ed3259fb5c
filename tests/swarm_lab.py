"""Many whole nodes in one process: the real Ledger, Scheduler, Switchboard and wire of each, on the in-memory
internet, with an engine that writes at once. No sockets, no HTTP, no child processes.

    with swarm(folder) as here:
        ann, bob = here.member("ann"), here.member("bob")
        here.join()
        assert ann.ask(bob, 40).finished.completion_tokens == 40

One I/O thread carries all of them, and time passes on the internet as fast as it does outside.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

from actors.io_loop import IoLoop
from actors.kernel import Actor, Address, Backoff
from actors.ledger import Ledger
from actors.lines import Lines
from actors.messages import (
    DescribeBalance,
    Export,
    Job,
    KeepStamp,
    LedgerMessage,
    PeerDown,
    PeersChanged,
    PeerUp,
    RecordSeen,
    RegistryMessage,
    SchedulerMessage,
    Submit,
    TellPeers,
    Tick,
)
from actors.reach import Where
from actors.runner import Runner
from actors.scheduler import Scheduler
from actors.switchboard import Switchboard
from opengateway.discovery.record import ModelOffer, NodeRecord, offer_of, open_record, sign_record
from opengateway.engines.protocol import GenerateRequest, ModelInfo
from opengateway.engines.stream import Finished, Stream
from opengateway.engines.tab import MARK, named
from opengateway.errors import LedgerReadOnly, OpenGatewayError
from opengateway.identity import Identity, network_id
from opengateway.ledger.book import Book
from opengateway.ledger.entry import EntryInvalid, Signed, read_form
from opengateway.routing.views import PeerView, Price, ServedModel, WorkerView
from opengateway.transport.memory import Internet
from opengateway.units import NodeId
from opengateway.wire.hub import Wire
from opengateway.wire.messages import Ask, Earned, Message, Settle

NET = network_id("swarm")
PATIENCE_S = 20.0
SEEN_EVERY_S = 0.05
DIAL_AGAIN_S = 1.0
RINGS = "world"
"""Nobody is on anybody's link: all are strangers to each other until credit covers them."""

T = TypeVar("T")


class Writer:
    """An engine that writes as many tokens as it is asked for, at once."""

    name = "writer"
    slots = 64

    async def start(self) -> None: ...

    async def close(self) -> None: ...

    async def models(self) -> list[ModelInfo]:
        return []

    async def generate(self, request: GenerateRequest, stream: Stream) -> None:
        tokens = int(request.body["max_tokens"])
        for at in range(0, tokens, 16):
            await stream.room()
            stream.put(["x"] * min(16, tokens - at))
        stream.finish(Finished("stop", 1, tokens))

    async def embed(self, request: GenerateRequest) -> dict[str, Any]:
        raise NotImplementedError

    async def count_prompt(self, request: GenerateRequest) -> int | None:
        return None

    async def health(self) -> None: ...


class Acquaintances(Actor[RegistryMessage]):
    """A Registry that knows whoever has a session, and dials again whom it lost."""

    def __init__(self, member: Member) -> None:
        super().__init__()
        self._member = member

    def on_receive(self, message: RegistryMessage) -> Any:
        member = self._member
        match message:
            case PeerUp(peer=peer, record=record) | RecordSeen(peer=peer, record=record):
                member.records[peer] = open_record(record, NET, now_ms=member.now_ms())
                self._tell()
            case PeerDown(peer, _):
                member.records.pop(peer, None)
                self._tell()
                member.swarm.io.loop.call_soon_threadsafe(member.redial, peer)
            case TellPeers():
                self._tell()

    def _tell(self) -> None:
        views = tuple(_view(record) for record in self._member.records.values())
        self._member.scheduler.tell(PeersChanged(views))


def _view(record: NodeRecord) -> PeerView:
    models = tuple(
        ServedModel(offer.name, 8192, 1000, price=Price(offer.price_prompt, offer.price_completion))
        for offer in record.models
    )
    return PeerView(record.node_id, record.name, RINGS, 1.0, record.slots, models, record.offer)


class Asked:
    """One of our requests, and what came of it."""

    def __init__(self, job: Job, by: str) -> None:
        self.job = job
        self.by = by
        self.tokens = 0
        self.error: OpenGatewayError | None = None
        self.over = False

    @property
    def finished(self) -> Finished:
        assert self.job.stream.finished is not None, self.error
        return self.job.stream.finished


class Member:
    def __init__(
        self,
        swarm: Swarm,
        name: str,
        price: int,
        settles: bool,
        engine: Writer | None = None,
        friends: frozenset[NodeId] = frozenset(),
        model: str = "",
    ) -> None:
        self.swarm = swarm
        self.name = name
        self.price = Price(0, price)
        self.engine, self.friends, self.model = engine or Writer(), friends, model or name
        self.settles = settles
        """False: it signs vouchers, or nothing would come, and never a SETTLE."""
        self.identity = Identity(random.Random(name).randbytes(32))
        self.id = self.identity.node_id
        self.address = f"20.0.{len(swarm.members) // 250}.{len(swarm.members) % 250 + 1}"
        self.folder = swarm.folder / name
        self.records: dict[NodeId, NodeRecord] = {}
        self.shown: list[tuple[NodeId, Signed]] = []
        """Every entry that peers have shown to this node."""
        self.running = False
        self._asking: list[Asked] = []

    # -- put together as app/node.py does it -------------------------------------------------------

    def start(self) -> None:
        io = self.swarm.io
        self.runners: dict[str, Runner] = {}
        quick = Backoff(first=0.01)
        self.ledger: Address[LedgerMessage] = Address(
            "ledger",
            lambda: Ledger(
                self.folder / "ledger.db",
                self.identity,
                NET,
                now_ms=self.now_ms,
                convicted=self._convicted,
                offers=lambda: (offer_of(self.signed),),
                check_s=0.5,
            ),
            backoff=quick,
            mailbox=8192,
        )
        self.registry: Address[RegistryMessage] = Address(
            "registry", lambda: Acquaintances(self), backoff=quick
        )
        self.scheduler: Address[SchedulerMessage] = Address("scheduler", self._scheduler, backoff=quick)
        self.lines = Lines(io, self.ledger, self.scheduler)
        model = ServedModel(self.model, 8192, 1000, price=self.price)
        self.views = {"writer": WorkerView("writer", "writer", "running", (model,), self.engine.slots)}
        self.runners["writer"] = Runner(
            io,
            self.engine,
            "writer",
            node=self.name,
            node_name=self.name,
            scheduler=self.scheduler,
            speed=lambda _: None,
        )
        self._sign()
        self.switchboard = Switchboard(
            io,
            self.identity,
            NET,
            registry=self.registry,
            scheduler=self.scheduler,
            ledger=self.ledger,
            now_ms=self.now_ms,
            sweep_to=lambda: None,
            given_up={},
            where=Where(lambda: 4001, relays=False, maps=False),
            tabs=self.lines.tabs,
        )
        self.carrier = self.swarm.internet.carrier(self.address)
        self.wire = Wire(
            self.identity,
            NET,
            "",
            record=lambda: self.signed,
            handler=Overheard(self),
            carrier=self.carrier,
            clock=self.swarm.internet.clock,
        )
        self.switchboard.wire = self.switchboard.reach.wire = self.wire
        self.switchboard.own_record = lambda: self.signed
        self.switchboard.stamp = lambda: self.lines.stamping.stamp
        if not self.settles:
            settle = self.switchboard.paying._settlements._act
            # What brought nothing is released, or it would be held against it; what came is not paid.
            self.switchboard.paying._settlements._act = lambda ended: settle(
                tuple(one for one in ended if not one[1].completion_tokens)
            )
        for address in (self.ledger, self.registry, self.scheduler):
            address.start()
        with contextlib.suppress(LedgerReadOnly):  # an old copy is, until it is completed
            self.lines.stamping.stamp = self.ledger.ask(KeepStamp(bytes(8))).get(timeout=PATIENCE_S)
        io.run(self._listen(), PATIENCE_S)
        self.running = True

    async def _listen(self) -> None:
        await self.wire.start("*", 4001)
        self.lines.switchboard = self.switchboard

    def _scheduler(self) -> Scheduler:
        return Scheduler(
            self.swarm.io,
            runners=self.runners,
            dispatch=self.lines.dispatch,
            cover=self.lines.cover,
            registry=self.registry,
            ledger=self.ledger,
            views=self.views,
            tabs=self.lines.tabs,
            closed=str,
            friends=self.friends,
            private=False,
        )

    def _sign(self) -> None:
        now = self.now_ms()
        offer = ModelOffer(self.model, "", 1000, "", 8192, 0, 0, *self.price, demo=False, abilities=("chat",))
        record = NodeRecord(
            self.id, self.name, "0", "eu-central-1", "DE", (), (), (), (offer,), self.engine.slots, "ready",
            now, now + 3_600_000,
        )  # fmt: skip
        self.signed = sign_record(self.identity, NET, record, now_ms=now)

    def _convicted(self, proof: bytes) -> None:
        self.lines.flood(proof)

    def now_ms(self) -> int:
        return self.swarm.internet.clock.wall_ms()

    def stop(self) -> None:
        """Everything that was answered for is on the disk."""
        self.running = False
        self.swarm.io.run(self._leave(), PATIENCE_S)
        for asked in self._asking:  # its users are gone with it
            asked.over = True
        for address in (self.scheduler, self.registry, self.ledger):
            address.close()
        self.records.clear()
        self.swarm.until(
            lambda: not any(self.id in one.records for one in self.swarm.members if one.running),
            f"everybody has noticed that {self.name} left",
        )

    async def _leave(self) -> None:
        self.lines.switchboard = None
        self.switchboard.close()
        peers = [session.peer for session in self.wire.sessions()]
        self.carrier.crash()
        for peer in peers:  # as SwarmPeer does: who waits for an answer would wait for ever
            self.switchboard.peer_down(peer, "this node's connections were closed")

    def crash(self) -> None:
        """The Ledger falls over in the middle of a message: what was not committed is gone. The supervisor
        starts it again."""
        actor = self.ledger.actor
        assert isinstance(actor, Ledger)
        actor._do = _fall_over  # type: ignore[method-assign]
        self.ledger.tell(Tick())  # if nothing else comes
        self.ledger.wait(PATIENCE_S)
        self.ledger.start()

    # -- what it does ------------------------------------------------------------------------------

    def dial(self, other: Member) -> None:
        self.wire.dial(f"tcp://{other.address}:4001", other.id)

    def redial(self, peer: NodeId) -> None:
        """On the loop, a moment later; the one with the smaller key does."""
        other = next((one for one in self.swarm.members if one.id == peer), None)
        if other is not None and self.id < peer:
            self.swarm.io.loop.call_later(0.1, self._dial_again, other)

    def _dial_again(self, other: Member) -> None:
        if self.running and other.running and other.id not in self.records:
            self.dial(other)
            self.swarm.io.loop.call_later(0.5, self._dial_again, other)

    def peers(self) -> set[NodeId]:
        return set(self.records)

    def begin(self, worker: Member, tokens: int) -> Asked:
        """A prompt of our own user's for what only that node serves."""
        request = GenerateRequest(
            "chat", worker.model, {"messages": [{"role": "user", "content": "go"}], "max_tokens": tokens}
        )
        asked = Asked(Job(request, Stream(), deadline=time.monotonic() + 15.0), self.name)
        self.swarm.io.spawn(self._read(asked))
        self.scheduler.tell(Submit(asked.job))
        self._asking = [one for one in self._asking if not one.over] + [asked]
        return asked

    async def _read(self, asked: Asked) -> None:
        try:
            while chunks := await asked.job.stream.read():
                asked.tokens += len(chunks)
        except OpenGatewayError as error:
            asked.error = error
        finally:
            asked.over = True

    def ask(self, worker: Member, tokens: int) -> Asked:
        asked = self.begin(worker, tokens)
        self.swarm.until(lambda: asked.over, f"{self.name} has its answer from {worker.name}")
        return asked

    @property
    def book(self) -> Book:
        """To look at while nothing moves."""
        actor = self.ledger.actor
        assert isinstance(actor, Ledger)
        return actor.book

    def balance(self) -> dict[str, Any]:
        return self.ledger.ask(DescribeBalance()).get(timeout=PATIENCE_S)

    def export(self) -> bytes:
        return self.ledger.ask(Export()).get(timeout=PATIENCE_S)


def _fall_over(_: Any) -> Any:
    raise RuntimeError("fell over, as the test wanted")


class Overheard:
    """The Switchboard, with a note of every entry that it is shown."""

    def __init__(self, member: Member) -> None:
        self._member = member
        self._switchboard = member.switchboard
        self.peer_up, self.peer_down = self._switchboard.peer_up, self._switchboard.peer_down
        self.dial_failed = self._switchboard.dial_failed

    def message(self, peer: NodeId, message: Message) -> None:
        entry = b""
        match message:
            case Ask(opening=opening):
                entry = b"" if named(opening) else opening.removeprefix(MARK)
            case Settle(entry=entry) | Earned(entry=entry):
                pass
        if entry:
            with contextlib.suppress(EntryInvalid):
                self._member.shown.append((peer, read_form(entry, NET)))
        self._switchboard.message(peer, message)


class Doubling(Internet):
    """An internet where frames may also come twice."""

    doubled = 0.0

    def carry(self, end: Any, frame: bytes) -> None:
        super().carry(end, frame)
        if self.chance.random() < self.doubled:
            super().carry(end, frame)


class Swarm:
    def __init__(self, folder: Path, seed: int) -> None:
        self.folder = folder
        self.internet = Doubling(seed)
        self.io = IoLoop()
        self.members: list[Member] = []

    def member(self, name: str, *, price: int = 1000, settles: bool = True, **more: Any) -> Member:
        """`price`: ucr per completion token; prompts cost nothing. `more`: its engine, its friends, and the
        model that it serves, which is its own name else."""
        made = Member(self, name, price, settles, **more)
        self.members.append(made)
        made.start()
        return made

    def join(self, *members: Member) -> None:
        """Everybody has a session with everybody (of these)."""
        chosen = members or tuple(self.members)
        tried = [0.0]

        def met() -> bool:
            strange = [
                (one, other)
                for at, one in enumerate(chosen)
                for other in chosen[at + 1 :]
                if other.id not in one.records or one.id not in other.records
            ]
            if strange and time.monotonic() - tried[0] > DIAL_AGAIN_S:
                tried[0] = time.monotonic()
                for one, other in strange:
                    self.io.call(one.dial, other)
            return not strange

        self.until(met, "all have met")

    def cut(self) -> None:
        """Every connection ends, and comes back."""
        self.io.run(self._cut(), PATIENCE_S)

    async def _cut(self) -> None:
        for member in self.members:
            for end in list(member.carrier.ends):
                member.carrier.hung_up(end)  # both ends hear of it

    def until(self, holds: Callable[[], T], what: str, patience_s: float = PATIENCE_S) -> T:
        deadline = time.monotonic() + patience_s
        while not (value := holds()):
            if time.monotonic() > deadline:
                raise AssertionError(f"waited {patience_s:.0f} s in vain until {what}")
            time.sleep(0.01)
        return value

    async def pump(self) -> None:
        loop, looked = asyncio.get_running_loop(), 0.0
        last = loop.time()
        while True:
            await asyncio.sleep(0.002)
            now = loop.time()
            self.internet.run(now - last)
            last = now
            if now - looked > SEEN_EVERY_S:
                looked = now
                for member in self.members:
                    if member.running:
                        member.switchboard.testimony.tick()


@contextlib.contextmanager
def swarm(folder: Path, seed: int = 1) -> Iterator[Swarm]:
    """Everything has ended afterwards, also after a failure."""
    made = Swarm(folder, seed)
    made.io.start()
    made.io.spawn(made.pump())
    try:
        yield made
    finally:
        for member in made.members:
            if member.running:
                with contextlib.suppress(Exception):
                    member.stop()
        made.io.stop()
