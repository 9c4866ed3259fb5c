"""Our requests at peers, against peers that cheat: nothing here but an Asker and what it was sent."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st

from opengateway.engines.asking import GRANT_AT, Asker
from opengateway.engines.protocol import GenerateRequest
from opengateway.engines.refusal import sign_refusal
from opengateway.engines.stream import Chunk, Finished, Route, Stream, Waits
from opengateway.engines.ticket import TEMPLATE_TOKENS, Ticket
from opengateway.errors import (
    AllBusy,
    BadRequest,
    Cancelled,
    EngineFailed,
    OpenGatewayError,
    RequestError,
    WorkerLost,
)
from opengateway.identity import Identity, network_id
from opengateway.units import NodeId
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
PEER, STRANGER = Identity.generate(), Identity.generate()
REQUEST = GenerateRequest("chat", "m", {"messages": [{"role": "user", "content": "hello"}]})
ROUTE = Route("abc", "peer", "lan", "m")


class Caller:
    """An Asker, what it sent, and how its tickets ended."""

    def __init__(self) -> None:
        self.sent: list[Message] = []
        self.full = False
        self.hung_up: list[str] = []
        self.ended: list[Ticket] = []
        self.asker = Asker(NET, self._send, self._hang_up)

    def _send(self, peer: NodeId, message: Message) -> bool:
        assert peer == PEER.node_id
        self.sent.append(message)
        return not self.full

    def _hang_up(self, peer: NodeId, reason: str) -> None:
        """As the wire does it: the peer is down before this returns."""
        self.hung_up.append(reason)
        self.asker.lost(peer, reason)

    def ask(self, request: GenerateRequest = REQUEST) -> Stream:
        stream = Stream()
        self.asker.ask(
            PEER.node_id,
            request,
            stream,
            ROUTE,
            deadline_ms=1000,
            opening=b"opening",
            salt=b"salt",
            ended=self.ended.append,
        )
        return stream

    def hear(self, *messages: Message) -> None:
        for message in messages:
            self.asker.heard(PEER.node_id, message)

    def error(self) -> OpenGatewayError:
        [ticket] = self.ended
        assert ticket.error is not None
        assert self.asker.in_flight() == 0
        return ticket.error


def end(number: int = 1, prompt: int = 3, completion: int = 2) -> Ended:
    return Ended(number, "stop", prompt, completion, 1000, 2000)


def read(stream: Stream) -> list[Chunk]:
    return asyncio.run(asyncio.wait_for(stream.read(), 5))


def flipped(data: bytes) -> bytes:
    return data[:-1] + bytes([data[-1] ^ 1])


@pytest.fixture
def caller() -> Iterator[Caller]:
    yield Caller()


def test_an_answer_arrives_whole_with_route_digest_and_what_is_owed(caller: Caller) -> None:
    stream = caller.ask()
    [ask] = caller.sent
    assert isinstance(ask, Ask)
    assert (ask.model, ask.opening, ask.streaming) == ("m", b"opening", True)
    caller.hear(
        Accepted(1, 0, 0, "llama_server", 0),
        Chunks(1, 0, ["a", b'{"x":1}']),
        Chunks(1, 2, ["b"]),
        end(1, 7, 3),
    )
    [ticket] = caller.ended
    assert ticket.finished == Finished("stop", 7, 3, 0.001, 0.002)
    assert ticket.owed_tokens() == (7, 3)
    assert ticket.digest() == sha256(b"salt" + b'a{"x":1}b').digest()
    assert stream.route == Route("abc", "peer", "lan", "m", "llama_server")
    assert read(stream) == ["a", {"x": 1}, "b"]
    assert caller.asker.in_flight() == 0


@pytest.mark.parametrize(
    "items",
    [
        [Chunks(1, 1, ["a"])],
        [Chunks(1, 0, ["a"]), Chunks(1, 0, ["a"])],
        [Chunks(1, 0, ["a"]), Chunks(1, 2, ["c"])],
        [Chunks(1, 0, ["a"] * (STREAM_WINDOW + 1))],
        [Chunks(1, 0, ["a"] * STREAM_WINDOW), Chunks(1, STREAM_WINDOW, ["b"])],
        [Chunks(1, 0, [b"not JSON"])],
        [Chunks(1, 0, [b"[1]"])],
        [Grant(1, 5)],
    ],
    ids=["gap first", "repeat", "gap", "window at once", "window", "no JSON", "no object", "not an answer"],
)
def test_a_peer_that_breaks_the_protocol_is_hung_up_on(caller: Caller, items: list[Message]) -> None:
    caller.ask()
    caller.hear(*items)
    [reason] = caller.hung_up
    assert reason.startswith("protocol error")
    assert caller.asker.counters["protocol_errors"] == 1
    assert isinstance(caller.error(), WorkerLost)


def test_chunks_after_the_end_are_late_and_owe_nothing(caller: Caller) -> None:
    stream = caller.ask()
    caller.hear(Chunks(1, 0, ["a"]), end(), Chunks(1, 1, ["more"]), end(), Failed(1, "x", "", "", -1))
    assert len(caller.ended) == 1
    assert not caller.hung_up
    assert read(stream) == ["a"]


def test_messages_about_streams_that_were_never_opened_change_nothing(caller: Caller) -> None:
    refusal = sign_refusal(PEER, NET, STRANGER.node_id, 9, AllBusy(), now_ms=1)
    caller.hear(Accepted(9, 0, 0, "x", 0), Chunks(9, 0, ["a"]), end(9), Refused(9, refusal))
    assert not caller.ended
    assert not caller.hung_up


def test_another_peer_cannot_answer_in_its_place(caller: Caller) -> None:
    stream = caller.ask()
    caller.asker.heard(STRANGER.node_id, Chunks(1, 0, ["forged"]))
    caller.asker.heard(STRANGER.node_id, end())
    assert not caller.ended
    caller.hear(Chunks(1, 0, ["a"]), end())
    assert read(stream) == ["a"]


@given(st.lists(st.text(max_size=5), max_size=20), st.integers(0, 2**40), st.integers(0, 2**40))
def test_nobody_is_owed_for_more_tokens_than_bytes_travelled(
    texts: list[str], prompt: int, completion: int
) -> None:
    caller = Caller()
    caller.ask()
    [ask] = caller.sent
    assert isinstance(ask, Ask)
    caller.hear(Chunks(1, 0, list(texts)), end(1, prompt, completion))
    owed_prompt, owed_completion = caller.ended[0].owed_tokens()
    assert owed_prompt <= min(prompt, len(ask.body) + TEMPLATE_TOKENS)
    assert owed_completion <= min(completion, sum(len(text.encode()) for text in texts) + 16)


def test_empty_chunks_of_a_broken_answer_are_worth_nothing(caller: Caller) -> None:
    caller.ask()
    caller.hear(Chunks(1, 0, [""] * 200), Failed(1, "engine_failed", "it broke", "", -1))
    _, completion = caller.ended[0].owed_tokens()
    assert completion == 0


def test_a_broken_answer_is_owed_for_what_came(caller: Caller) -> None:
    caller.ask()
    caller.hear(Chunks(1, 0, ["aa", "bb"]), Failed(1, "engine_failed", "it broke", "", -1))
    prompt, completion = caller.ended[0].owed_tokens()
    assert prompt > 0
    assert completion == 2


def test_nothing_is_owed_where_nothing_came(caller: Caller) -> None:
    caller.ask()
    caller.asker.lost(PEER.node_id, "gone")
    assert caller.ended[0].owed_tokens() == (0, 0)


def test_a_signed_refusal_is_believed(caller: Caller) -> None:
    stream = caller.ask()
    busy = AllBusy("no slot", hint="later", retry_after=2.5)
    caller.hear(Refused(1, sign_refusal(PEER, NET, STRANGER.node_id, 1, busy, now_ms=1)))
    error = caller.error()
    assert isinstance(error, AllBusy)
    assert (error.message, error.hint, error.retry_after) == ("no slot", "later", 2.5)
    assert not stream.done


@pytest.mark.parametrize(
    "forge",
    [
        lambda: sign_refusal(STRANGER, NET, PEER.node_id, 1, AllBusy("forged"), now_ms=1),
        lambda: sign_refusal(PEER, NET, STRANGER.node_id, 2, AllBusy("forged"), now_ms=1),
        lambda: sign_refusal(PEER, network_id("other", ""), PEER.node_id, 1, AllBusy("forged"), now_ms=1),
        lambda: flipped(sign_refusal(PEER, NET, STRANGER.node_id, 1, AllBusy("forged"), now_ms=1)),
        lambda: b"",
        lambda: b"\xff" * 100,
    ],
    ids=["stranger", "other stream", "other network", "broken", "empty", "noise"],
)
def test_a_forged_refusal_has_no_say_in_what_the_user_reads(
    caller: Caller, forge: Callable[[], bytes]
) -> None:
    caller.ask()
    caller.hear(Refused(1, forge()))
    error = caller.error()
    assert type(error) is RequestError
    assert "no valid signature" in error.message


def test_a_failure_in_mid_answer_keeps_what_came_before(caller: Caller) -> None:
    stream = caller.ask()
    caller.hear(Chunks(1, 0, ["a"]), Failed(1, "engine_failed", "it broke", "try again", 1500))
    error = caller.error()
    assert isinstance(error, EngineFailed)
    assert (error.hint, error.retry_after) == ("try again", 1.5)
    assert read(stream) == ["a"]


def test_a_code_that_we_do_not_know_is_an_error_all_the_same(caller: Caller) -> None:
    caller.ask()
    caller.hear(Failed(1, "from_the_future", "something new", "", -1))
    assert caller.error().message == "something new"


def test_a_lost_peer_fails_all_its_answers_and_no_others(caller: Caller) -> None:
    caller.ask()
    caller.ask()
    caller.asker.lost(STRANGER.node_id, "gone")
    assert not caller.ended
    caller.asker.lost(PEER.node_id, "silent")
    assert [ticket.number for ticket in caller.ended] == [1, 2]
    assert all(isinstance(ticket.error, WorkerLost) for ticket in caller.ended)


def test_a_caller_that_leaves_is_told_to_the_peer_once(caller: Caller) -> None:
    stream = caller.ask()
    caller.hear(Chunks(1, 0, ["a"]))
    stream.cancel()
    stream.cancel()
    assert [m for m in caller.sent if isinstance(m, Cancel)] == [Cancel(1)]
    assert isinstance(caller.error(), Cancelled)
    caller.hear(Chunks(1, 1, ["b"]), end())
    assert len(caller.ended) == 1


def test_a_caller_that_left_before_is_not_asked_for(caller: Caller) -> None:
    stream = Stream()
    stream.cancel()
    caller.asker.ask(
        PEER.node_id, REQUEST, stream, ROUTE, deadline_ms=1, opening=b"", salt=b"", ended=caller.ended.append
    )
    assert not caller.sent
    assert isinstance(caller.error(), Cancelled)


def test_a_connection_that_is_full_is_busy_and_may_be_tried_again(caller: Caller) -> None:
    caller.full = True
    stream = caller.ask()
    error = caller.error()
    assert isinstance(error, AllBusy)
    assert error.retry_after is not None
    assert not stream.done


def test_reading_grants_what_was_read_in_quarters_of_the_window(caller: Caller) -> None:
    stream = caller.ask()
    caller.hear(Chunks(1, 0, ["a"] * (GRANT_AT - 1)))
    read(stream)
    assert not [m for m in caller.sent if isinstance(m, Grant)]
    caller.hear(Chunks(1, GRANT_AT - 1, ["a"] * 2))
    read(stream)
    assert [m for m in caller.sent if isinstance(m, Grant)] == [Grant(1, GRANT_AT + 1)]
    caller.hear(Chunks(1, GRANT_AT + 1, ["a"] * STREAM_WINDOW))
    assert not caller.hung_up


def test_a_caller_that_never_reads_bounds_what_a_peer_may_send(caller: Caller) -> None:
    caller.ask()
    caller.hear(Chunks(1, 0, ["a"] * STREAM_WINDOW))
    assert not caller.hung_up
    caller.hear(Chunks(1, STREAM_WINDOW, ["a"]))
    assert caller.hung_up


def test_a_request_that_fits_no_frame_is_refused_at_once(caller: Caller) -> None:
    caller.ask(GenerateRequest("chat", "m", {"messages": [{"role": "user", "content": "x" * (1 << 20)}]}))
    assert not caller.sent
    error = caller.error()
    assert isinstance(error, BadRequest)
    assert "1024 kB" in error.message


def test_where_a_request_stands_at_the_peer_is_shown_until_it_begins(caller: Caller) -> None:
    stream = caller.ask()
    said: list[Waits | None] = []
    stream.on_waits = said.append
    caller.hear(Queued(1, 2, 8_000), Queued(1, 1, 0), Queued(1, 0, 0), Queued(7, 1, 1))
    assert said == [Waits(2, 8.0), Waits(1, None), None]
    caller.hear(Accepted(1, 0, 0, "x", 0), Chunks(1, 0, ["a"]), end())
    assert read(stream) == ["a"]
    assert not caller.hung_up


@pytest.mark.parametrize(
    "items",
    [[Queued(1, 1, 1000)] * 100, [Chunks(1, 0, ["a"]), Queued(1, 1, 1000)]],
    ids=["a flood", "after the answer has begun"],
)
def test_a_peer_that_says_nonsense_about_its_queue_is_hung_up_on(
    caller: Caller, items: list[Message]
) -> None:
    caller.ask()
    caller.hear(*items)
    [reason] = caller.hung_up
    assert "stands" in reason
