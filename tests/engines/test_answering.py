"""Peers' requests at this node: an Answerer with peers that cheat, and with an Asker that does not."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from opengateway.engines.answering import BROKEN_OFF, MOST_ETA_MS, Answerer
from opengateway.engines.asking import Asker
from opengateway.engines.incoming import FRAME_CHARS, Incoming
from opengateway.engines.protocol import GenerateRequest
from opengateway.engines.refusal import open_refusal, sign_refusal
from opengateway.engines.stream import Chunk, Finished, Route, Stream, Waits
from opengateway.engines.ticket import Ticket
from opengateway.errors import AllBusy, BadRequest, Cancelled, EngineFailed, UnknownModel, WorkerLost
from opengateway.identity import Identity, network_id
from opengateway.units import NodeId
from opengateway.wire.limits import FRAME_LIMIT, STREAMS_PER_PEER
from opengateway.wire.messages import (
    STREAM_WINDOW,
    Accepted,
    Ask,
    Cancel,
    Chunks,
    Ended,
    Failed,
    Grant,
    Message,
    Refused,
)
from opengateway.wire.waiting_messages import Queued

NET = network_id("test", "")
US, PEER = Identity.generate(), Identity.generate()
BODY = b'{"messages":[{"role":"user","content":"hello"}]}'
DONE = Finished("stop", 3, 2, 0.5, 1.5)
HERE = Route("us", "us", "local", "m", "pocket")
PATIENCE = 5.0


class Server:
    """An Answerer, what it sent, and what it was asked."""

    def __init__(self, deliver: Callable[[Message], object] = lambda _: None) -> None:
        self.sent: list[Message] = []
        self.congested = False
        self.hung_up: list[str] = []
        self.asked: list[Incoming] = []
        self.delivered: list[Finished] = []
        self.broken_off: list[Finished | None] = []
        self._deliver = deliver
        self._tasks: set[asyncio.Task[None]] = set()
        self.answerer = Answerer(
            send=self._send,
            hang_up=self._hang_up,
            spawn=self._spawn,
            asked=self.asked.append,
            delivered=self._delivered,
            refusal=lambda peer, stream, error: sign_refusal(US, NET, peer, stream, error, now_ms=1),
        )

    def _send(self, peer: NodeId, message: Message) -> bool:
        if self.congested:
            return False
        self.sent.append(message)
        self._deliver(message)
        return True

    def _delivered(self, incoming: Incoming, finished: Finished | None) -> None:
        if finished is not None and finished.reason != BROKEN_OFF:
            self.delivered.append(finished)
        else:
            self.broken_off.append(finished)

    def _hang_up(self, peer: NodeId, reason: str) -> None:
        self.hung_up.append(reason)
        self.answerer.lost(peer)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def hear(self, *messages: Ask | Cancel | Grant) -> None:
        for message in messages:
            self.answerer.heard(PEER.node_id, message)

    async def settled(self) -> None:
        """Until nobody has anything to do but wait."""
        for _ in range(20):
            await asyncio.sleep(0)

    async def idle(self) -> None:
        """Until every pump has ended."""
        async with asyncio.timeout(PATIENCE):
            await asyncio.gather(*self._tasks)

    def chunks(self) -> list[str | bytes]:
        return [item for m in self.sent if isinstance(m, Chunks) for item in m.items]


def ask(number: int = 1, body: bytes = BODY, kind: str = "chat") -> Ask:
    return Ask(number, kind, "m", body, True, 1000, b"")


def run(work: Coroutine[Any, Any, None]) -> None:
    asyncio.run(asyncio.wait_for(work, PATIENCE * 2))


def test_an_answer_is_accepted_sent_counted_and_ended() -> None:
    async def main() -> None:
        server = Server()
        server.hear(ask())
        [incoming] = server.asked
        assert incoming.request == GenerateRequest(
            "chat", "m", {"messages": [{"role": "user", "content": "hello"}]}
        )
        incoming.stream.opened(HERE)
        incoming.stream.put(["a", {"tool_calls": []}])
        await server.settled()
        incoming.stream.put(["b"])
        incoming.stream.finish(DONE)
        await server.idle()
        assert server.sent == [
            Accepted(1, 0, 0, "pocket", 0),
            Chunks(1, 0, ["a", b'{"tool_calls":[]}']),
            Chunks(1, 2, ["b"]),
            Ended(1, "stop", 3, 2, 500_000, 1_500_000),
        ]
        assert server.delivered == [DONE]
        assert server.answerer.in_flight() == 0

    run(main())


def test_a_refusal_is_signed_and_says_why() -> None:
    async def main() -> None:
        server = Server()
        server.hear(ask(7))
        server.asked[0].stream.fail(UnknownModel("no such model", hint="try m"))
        await server.idle()
        [refused] = server.sent
        assert isinstance(refused, Refused)
        error = open_refusal(refused.refusal, NET, US.node_id, 7)
        assert isinstance(error, UnknownModel)
        assert error.hint == "try m"
        assert server.answerer.counters == {"served": 0, "refused": 1, "failed": 0, "not_vouched": 0}

    run(main())


@pytest.mark.parametrize(
    "bad",
    [ask(body=b"not JSON"), ask(body=b"[]"), ask(body=b""), ask(body=b"\xff\xfe"), ask(kind="divination")],
    ids=["no JSON", "no object", "empty", "no text", "unknown kind"],
)
def test_a_request_that_cannot_be_read_is_refused_before_anybody_works(bad: Ask) -> None:
    async def main() -> None:
        server = Server()
        server.hear(bad)
        [refused] = server.sent
        assert isinstance(refused, Refused)
        assert isinstance(open_refusal(refused.refusal, NET, US.node_id, 1), BadRequest)
        assert not server.asked

    run(main())


def test_a_stream_number_used_twice_is_the_end_of_the_session() -> None:
    async def main() -> None:
        server = Server()
        server.hear(ask(), ask())
        assert server.hung_up == ["protocol error: a stream number was used twice"]
        assert isinstance(server.asked[0].stream.error, Cancelled)
        await server.idle()
        assert server.answerer.in_flight() == 0

    run(main())


def test_a_number_may_be_used_again_once_its_stream_has_ended() -> None:
    async def main() -> None:
        server = Server()
        for _ in range(2):
            server.hear(ask())
            server.asked[-1].stream.fail(EngineFailed())
            await server.idle()
        assert not server.hung_up

    run(main())


def test_one_peer_cannot_open_more_streams_than_allowed() -> None:
    async def main() -> None:
        server = Server()
        server.hear(*(ask(n) for n in range(STREAMS_PER_PEER + 5)))
        assert len(server.asked) == server.answerer.in_flight() == STREAMS_PER_PEER
        refused = [m for m in server.sent if isinstance(m, Refused)]
        assert len(refused) == 5
        assert isinstance(open_refusal(refused[0].refusal, NET, US.node_id, refused[0].stream), AllBusy)
        server.answerer.lost(PEER.node_id)
        await server.idle()

    run(main())


def test_a_peer_that_does_not_grant_gets_one_window_and_holds_the_engine_up() -> None:
    async def main() -> None:
        server = Server()
        server.hear(ask())
        stream = server.asked[0].stream
        stream.opened(HERE)
        put = 0
        while stream.put(["x"] * 50) or put < STREAM_WINDOW:
            put += 50
            await server.settled()
            assert put < 4 * STREAM_WINDOW, "the engine is never told to wait"
        assert len(server.chunks()) == STREAM_WINDOW
        held = asyncio.create_task(stream.room())
        await server.settled()
        assert not held.done()
        server.hear(Grant(1, 100))
        await held
        assert len(server.chunks()) == STREAM_WINDOW + 100
        server.hear(Cancel(1))
        await server.idle()

    run(main())


def test_a_flood_of_grants_opens_no_more_than_one_window() -> None:
    async def main() -> None:
        server = Server()
        server.hear(ask(), *(Grant(1, 2**31) for _ in range(1000)), Grant(99, 5))
        stream = server.asked[0].stream
        stream.opened(HERE)
        stream.put(["x"] * (3 * STREAM_WINDOW))
        await server.settled()
        assert len(server.chunks()) == STREAM_WINDOW
        server.hear(Cancel(1))
        await server.idle()

    run(main())


@pytest.mark.parametrize("when", ["waiting", "opened", "answering", "out of window"])
def test_a_cancel_frees_the_slot_and_nothing_more_is_sent(when: str) -> None:
    async def main() -> None:
        server, told = Server(), list[str]()
        server.hear(ask())
        stream = server.asked[0].stream
        stream.on_cancel = lambda: told.append("cancelled")
        if when != "waiting":
            stream.opened(HERE)
        if when in ("answering", "out of window"):
            stream.put(["x"] * (1 if when == "answering" else STREAM_WINDOW + 1))
        await server.settled()
        before = len(server.sent)
        server.hear(Cancel(1), Cancel(1))
        await server.idle()
        assert told == ["cancelled"]
        assert len(server.sent) == before
        assert server.answerer.in_flight() == 0
        assert not server.delivered

    run(main())


def test_a_lost_peer_frees_every_slot_it_held() -> None:
    async def main() -> None:
        server = Server()
        server.hear(ask(1), ask(2))
        server.answerer.lost(PEER.node_id)
        await server.idle()
        assert [type(i.stream.error) for i in server.asked] == [Cancelled, Cancelled]
        assert not server.sent
        assert server.answerer.in_flight() == 0

    run(main())


def test_what_a_restarted_peer_asks_is_not_ended_with_its_former_life() -> None:
    async def main() -> None:
        server = Server()
        server.hear(ask(1))
        server.answerer.lost(PEER.node_id)
        server.hear(ask(1))
        await server.settled()
        assert server.answerer.in_flight() == 1
        server.asked[1].stream.opened(HERE)
        server.asked[1].stream.finish(DONE)
        await server.idle()
        assert [type(m) for m in server.sent] == [Accepted, Ended]

    run(main())


def test_an_engine_that_breaks_in_mid_answer_is_told_after_what_came() -> None:
    async def main() -> None:
        server = Server()
        server.hear(ask())
        stream = server.asked[0].stream
        stream.opened(HERE)
        stream.put(["a"])
        stream.fail(EngineFailed("it broke", retry_after=2.0))
        await server.idle()
        assert server.sent[-1] == Failed(1, "engine_failed", "it broke", "", 2000)
        assert server.chunks() == ["a"]
        assert server.answerer.counters["failed"] == 1

    run(main())


def test_an_answer_without_a_single_chunk_is_an_answer() -> None:
    async def main() -> None:
        server = Server()
        server.hear(ask())
        stream = server.asked[0].stream
        stream.opened(HERE)
        stream.finish(DONE)
        await server.idle()
        assert [type(m) for m in server.sent] == [Accepted, Ended]

    run(main())


def test_large_chunks_travel_in_frames_that_fit() -> None:
    async def main() -> None:
        server = Server()
        server.hear(ask())
        stream = server.asked[0].stream
        stream.opened(HERE)
        texts: list[Chunk] = ["x" * (FRAME_CHARS // 3) for _ in range(10)]
        stream.put(texts)
        stream.finish(DONE)
        await server.idle()
        frames = [m for m in server.sent if isinstance(m, Chunks)]
        assert all(sum(map(len, m.items)) <= FRAME_CHARS for m in frames)
        assert server.chunks() == texts

    run(main())


def test_one_chunk_larger_than_a_frame_is_cut_or_refused_but_never_sent_whole() -> None:
    """A non-streamed answer is one chunk: 100k tokens of text are half a megabyte."""

    async def main() -> None:
        server = Server()
        server.hear(ask())
        stream = server.asked[0].stream
        stream.opened(HERE)
        text = "ä" * (8 * FRAME_CHARS)
        stream.put([text])
        stream.finish(DONE)
        await server.idle()
        assert "".join(c for c in server.chunks() if isinstance(c, str)) == text
        assert all(sum(map(len, m.items)) <= FRAME_CHARS for m in server.sent if isinstance(m, Chunks))

    run(main())


def test_a_full_connection_is_tried_again_until_it_has_room() -> None:
    async def main() -> None:
        server = Server()
        server.hear(ask())
        stream = server.asked[0].stream
        server.congested = True
        stream.opened(HERE)
        stream.put(["a"])
        stream.finish(DONE)
        await server.settled()
        assert not server.sent
        server.congested = False
        await server.idle()
        assert [type(m) for m in server.sent] == [Accepted, Chunks, Ended]

    run(main())


def test_a_delta_too_large_for_a_frame_is_an_error_and_not_a_silence() -> None:
    async def main() -> None:
        server = Server()
        server.hear(ask(kind="embedding"))
        stream = server.asked[0].stream
        stream.opened(HERE)
        stream.put([{"data": "x" * FRAME_LIMIT}])
        stream.finish(DONE)
        await server.idle()
        failed = server.sent[-1]
        assert isinstance(failed, Failed)
        assert "too large" in failed.message
        assert not server.delivered

    run(main())


def test_a_connection_that_stays_full_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("opengateway.engines.answering.CONGESTION_LIMIT", 0.05)

    async def main() -> None:
        server = Server()
        server.hear(ask())
        server.congested = True
        server.asked[0].stream.opened(HERE)
        server.asked[0].stream.put(["a"])
        await server.idle()
        assert server.hung_up
        assert server.answerer.in_flight() == 0

    run(main())


# -- with an Asker --------------------------------------------------------------------------


class Pair:
    """An Asker and an Answerer, each hearing what the other sends."""

    def __init__(self) -> None:
        self.ended: list[Ticket] = []
        self.server = Server(lambda message: self.asker.heard(US.node_id, message))
        self.asker = Asker(NET, self._to_server, self._hang_up)

    def _to_server(self, _: NodeId, message: Message) -> bool:
        assert isinstance(message, (Ask, Cancel, Grant))
        self.server.hear(message)
        return True

    def _hang_up(self, peer: NodeId, reason: str) -> None:
        self.asker.lost(peer, reason)
        self.server.answerer.lost(PEER.node_id)

    def ask(self) -> Stream:
        stream = Stream()
        request = GenerateRequest("chat", "m", {"messages": []})
        self.asker.ask(
            US.node_id,
            request,
            stream,
            Route("us", "us", "lan", "m"),
            deadline_ms=1000,
            opening=b"",
            salt=b"s",
            ended=self._ended,
        )
        return stream

    def _ended(self, ticket: Ticket) -> None:
        self.ended.append(ticket)
        if ticket.finished is not None:
            ticket.stream.finish(ticket.finished)
        elif ticket.error is not None:
            ticket.stream.fail(ticket.error)


def test_an_answer_of_many_windows_arrives_in_order_however_it_is_read() -> None:
    async def main() -> None:
        pair = Pair()
        stream = pair.ask()
        produced = pair.server.asked[0].stream
        texts = [f"{n} " for n in range(STREAM_WINDOW * 6)]

        async def produce() -> None:
            produced.opened(HERE)
            for start in range(0, len(texts), 7):
                if not produced.put(texts[start : start + 7]):
                    await produced.room()
            produced.finish(DONE)

        producing = asyncio.create_task(produce())
        got: list[Chunk] = []
        while more := await stream.read():
            got += more
            await asyncio.sleep(0)
        await producing
        assert got == texts
        assert stream.finished == DONE
        assert not pair.server.hung_up
        await pair.server.idle()

    run(main())


def test_many_answers_at_once_do_not_mix() -> None:
    async def main() -> None:
        pair = Pair()
        streams = [pair.ask() for _ in range(20)]
        for number, incoming in enumerate(pair.server.asked):
            incoming.stream.opened(HERE)
            incoming.stream.put([f"{number}-{part}" for part in range(30)])
            incoming.stream.finish(DONE)
        for number, stream in enumerate(streams):
            assert await stream.read() == [f"{number}-{part}" for part in range(30)]
        await pair.server.idle()
        assert pair.asker.in_flight() == pair.server.answerer.in_flight() == 0

    run(main())


def test_a_cancel_travels_from_reader_to_engine() -> None:
    async def main() -> None:
        pair, told = Pair(), list[str]()
        stream = pair.ask()
        produced = pair.server.asked[0].stream
        produced.on_cancel = lambda: told.append("cancelled")
        produced.opened(HERE)
        produced.put(["a"])
        assert await stream.read() == ["a"]
        stream.cancel()
        assert told == ["cancelled"]
        await pair.server.idle()
        assert isinstance(pair.ended[0].error, Cancelled)

    run(main())


def test_a_lost_session_ends_both_halves() -> None:
    async def main() -> None:
        pair = Pair()
        stream = pair.ask()
        pair.server.asked[0].stream.opened(HERE)
        pair.asker.lost(US.node_id, "cut")
        pair.server.answerer.lost(PEER.node_id)
        with pytest.raises(WorkerLost):
            await stream.read()
        await pair.server.idle()
        assert pair.server.answerer.in_flight() == 0

    run(main())


def test_a_peer_whose_request_waits_is_told_where_it_stands() -> None:
    async def main() -> None:
        server = Server()
        server.hear(ask())
        [incoming] = server.asked
        incoming.stream.queued(Waits(2, 8.0))
        incoming.stream.queued(Waits(1))
        incoming.stream.queued(Waits(1, 1e9))
        incoming.stream.queued(None)
        assert server.sent == [
            Queued(1, 2, 8_000),
            Queued(1, 1, 0),
            Queued(1, 1, MOST_ETA_MS),
            Queued(1, 0, 0),
        ]
        incoming.stream.opened(HERE)
        incoming.stream.finish(DONE)
        incoming.stream.queued(Waits(1))
        await server.idle()
        assert not any(isinstance(message, Queued) for message in server.sent[4:])

    run(main())
