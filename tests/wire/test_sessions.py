from __future__ import annotations

import asyncio

import pytest
from wire_lab import Host, joined, two_hosts

from opengateway.identity import Identity, network_id
from opengateway.transport.memory import Internet
from opengateway.wire.limits import MESSAGES_PER_FRAME, Limits
from opengateway.wire.messages import Bye, Cancel, Chunks, Grant


def test_two_nodes_connect_in_one_round_trip_and_hear_each_others_record() -> None:
    internet, a, b = two_hosts()
    a.wire.dial(b.endpoint, b.id)
    internet.run(0.003)  # 1 ms per way: HELLO, WELCOME, first sealed
    assert a.heard.events == [("up", b.id, b"record of " + b.id, b.endpoint, True)]
    assert b.heard.events == [("up", a.id, b"record of " + a.id, None, False)]


def test_messages_arrive_in_order_both_ways() -> None:
    internet, a, b = joined()
    sent = [Chunks(1, n, [f"word {n} "]) for n in range(500)]
    for chunk in sent:
        assert a.wire.send(b.id, chunk)
        assert b.wire.send(a.id, Grant(1, 1))
    internet.run(1)
    assert b.heard.messages == sent
    assert a.heard.messages == [Grant(1, 1)] * 500


def test_the_round_trip_is_measured_over_the_data_path() -> None:
    internet = Internet()
    internet.default.delay_s = 0.02
    _, a, b = two_hosts(internet)
    a.wire.dial(b.endpoint)
    internet.run(10)
    for host in (a, b):
        [session] = host.wire.sessions()
        assert session.rtt_ms == pytest.approx(40, abs=1)


def test_dialling_twice_is_dialling_once() -> None:
    internet, a, b = two_hosts()
    a.wire.dial(b.endpoint)
    a.wire.dial(b.endpoint)
    internet.run(1)
    a.wire.dial(b.endpoint)
    a.wire.dial("tcp://10.9.9.9:1", b.id)
    internet.run(1)
    assert a.wire.counters["dials"] == 1
    assert a.heard.kinds == ["up"]


def test_an_address_that_nobody_has_fails_with_a_sentence() -> None:
    internet, a, _ = two_hosts()
    a.wire.dial("tcp://10.0.0.77:4001")
    internet.run(1)
    assert a.heard.kinds == ["failed"]
    assert "nothing listens there" in a.heard.last_words


def test_an_endpoint_that_is_none_fails_with_an_example() -> None:
    _, a, _ = two_hosts()
    a.wire.dial("10.0.0.2")
    assert "tcp://192.168.1.5:4001" in a.heard.last_words


def test_a_black_hole_fails_after_the_dial_limit() -> None:
    internet, a, b = two_hosts()
    internet.part(a.address, b.address)
    a.wire.dial(b.endpoint)
    internet.run(4.9)
    assert a.heard.kinds == []
    internet.run(0.4)
    assert "nobody answered within 5 s" in a.heard.last_words
    a.wire.dial(b.endpoint)
    assert a.wire.counters["dials"] == 2


def test_a_killed_peer_is_noticed_at_once_where_the_system_says_so() -> None:
    internet, a, b = joined()
    b.carrier.crash()
    internet.run(0.1)
    assert a.heard.kinds == ["up", "down"]
    assert not a.wire.send(b.id, Cancel(1))


def test_a_peer_whose_cable_is_pulled_is_down_within_seven_seconds() -> None:
    internet, a, b = joined()
    internet.run(3)
    internet.part(a.address, b.address)
    internet.run(7)
    for host in (a, b):
        assert host.heard.kinds == ["up", "down"]
        assert host.heard.last_words == "silent for 6 s"
        assert host.wire.sessions() == []


def test_a_connection_dead_in_one_direction_is_down_at_both_ends() -> None:
    internet, a, b = joined()
    internet.path(b.address, a.address).dead = True
    internet.run(7)
    assert a.heard.last_words == "silent for 6 s"
    assert b.heard.last_words == "it said goodbye: silent for 6 s"


def test_an_idle_session_stays_up() -> None:
    internet, a, b = joined()
    internet.run(3600)
    assert a.heard.kinds == b.heard.kinds == ["up"]


def test_an_idle_session_costs_two_frames_in_two_seconds() -> None:
    internet, a, b = joined()
    internet.run(20)
    before = internet.frames
    internet.run(100)
    assert internet.frames - before <= 100 + 2 * 10 + 2
    for host in (a, b):
        [session] = host.wire.sessions()
        assert internet.now - session.last_heard < 2.5


def test_who_was_dialled_asks_by_itself_when_it_hears_nothing() -> None:
    internet, a, b = joined()  # a has dialled
    internet.run(12)
    a.carrier.receiver = Silent()  # as if it hung: it answers nothing, and says nothing of its own
    before = b.wire.counters["frames_out"]
    internet.run(3.5)
    assert b.wire.counters["frames_out"] - before >= 1
    assert b.heard.kinds == ["up"]
    internet.run(3.5)
    assert b.heard.last_words == "silent for 6 s"


class Silent:
    """A node that reads what comes, and does nothing."""

    def __getattr__(self, name: str) -> object:
        return lambda *_: None


def test_a_node_that_was_itself_suspended_does_not_blame_its_peers() -> None:
    internet, a, b = joined()
    internet.run(1)
    internet.now += 60  # nobody ran
    internet.run(5)
    assert a.heard.kinds == b.heard.kinds == ["up"]
    assert a.wire.counters["own_stalls"] == 1


def test_closing_says_goodbye_to_everybody() -> None:
    internet, a, b = joined()
    asyncio.run(a.wire.close("updating"))
    internet.run(0.1)
    assert b.heard.last_words == "it said goodbye: updating"
    assert a.heard.kinds == ["up"]


def test_hanging_up_takes_one_peer_down_at_both_ends() -> None:
    internet, a, b = joined()
    c = Host(internet, "10.0.0.3")
    c.wire.dial(a.endpoint)
    internet.run(0.1)
    a.wire.hang_up(b.id, "not wanted")
    internet.run(0.1)
    assert ("down", b.id, "not wanted") in a.heard.events
    assert b.heard.last_words == "it said goodbye: not wanted"
    assert a.wire.send(c.id, Cancel(1))
    a.wire.dial(b.endpoint)
    internet.run(0.1)
    assert b.heard.kinds == ["up", "down", "up"]


def test_a_quick_restart_is_down_then_up_and_leaves_no_ghost() -> None:
    internet, a, b = two_hosts()
    b.wire.dial(a.endpoint)
    internet.run(0.1)
    internet.path(b.address, a.address).dead = True  # a does not even see the connection close
    b.carrier.crash()
    internet.run(0.1)
    internet.path(b.address, a.address).dead = False
    reborn = Host(internet, b.address, identity=b.identity)
    reborn.wire.dial(a.endpoint)
    internet.run(0.1)
    assert a.heard.kinds == ["up", "down", "up"]
    assert a.heard.events[1][2] == "it has restarted"
    assert len(a.wire.sessions()) == 1
    assert a.wire.send(b.id, Cancel(3))
    internet.run(10)
    assert reborn.heard.messages == [Cancel(3)]
    assert a.heard.kinds == ["up", "down", "up"]


@pytest.mark.parametrize("delay_ms", [0, 1, 2, 3, 5])
def test_two_that_dial_each_other_settle_on_one_connection_without_a_moment_of_down(delay_ms: int) -> None:
    internet, a, b = two_hosts(Internet(seed=delay_ms))
    a.wire.dial(b.endpoint)
    internet.run(delay_ms / 1000)
    b.wire.dial(a.endpoint)
    internet.run(3)
    for host in (a, b):
        assert host.heard.kinds == ["up"]
        assert len(host.wire.sessions()) == 1
        assert host.counted().keys() <= {"unexpected_frame"}
    assert a.wire.sessions()[0].dialled != b.wire.sessions()[0].dialled


@pytest.mark.parametrize("seed", range(8))
def test_no_message_is_lost_doubled_or_overtaken_while_two_connections_settle(seed: int) -> None:
    internet = Internet(seed)
    internet.default.delay_s = 0.005
    _, a, b = two_hosts(internet)
    for source, target in ((a, b), (b, a)):
        internet.path(source.address, target.address).jitter_s = 0.02
    a.wire.dial(b.endpoint)
    internet.run(0.2)
    b.wire._sessions.connected = lambda *_: False  # type: ignore[method-assign] # it has not noticed yet
    sent = {a.id: 0, b.id: 0}
    for step in range(200):
        if step == 20:
            b.wire.dial(a.endpoint)
        for source, target in ((a, b), (b, a)):
            assert source.wire.send(target.id, Chunks(1, sent[source.id], ["x"]))
            sent[source.id] += 1
        internet.run(0.001)
    internet.run(1)
    assert [m.first for m in b.heard.messages] == list(range(200))  # type: ignore[union-attr]
    assert [m.first for m in a.heard.messages] == list(range(200))  # type: ignore[union-attr]
    assert len(a.wire.sessions()) == len(b.wire.sessions()) == 1
    assert a.heard.kinds == b.heard.kinds == ["up"]


def test_a_lossy_shuffling_path_never_delivers_a_frame_twice_or_late() -> None:
    internet, a, b = joined()
    path = internet.path(a.address, b.address)
    path.reorder, path.jitter_s, path.drop = True, 0.05, 0.1
    for n in range(10):
        a.wire.send(b.id, Chunks(1, n, ["x"]))
        internet.run(0.0)  # each in a frame of its own
    internet.run(0.5)
    got = [m.first for m in b.heard.messages]  # type: ignore[union-attr]
    assert got == sorted(set(got))
    assert b.counted()["replayed_frame"] > 0


def test_a_peer_that_never_reads_costs_a_bounded_amount_and_others_go_on() -> None:
    internet, a, b = joined(limits=Limits(queued_bytes=100_000))
    c = Host(internet, "10.0.0.3")
    c.wire.dial(a.endpoint)
    internet.run(0.1)
    internet.path(a.address, b.address).dead = True  # b reads nothing from here on
    sent = 0
    while a.wire.send(b.id, Chunks(1, sent, ["x" * 1000])):
        sent += 1
    assert 90 <= sent <= 110
    assert a.wire.counters["not_sent_queue_full"] == 1
    assert a.wire.send(c.id, Cancel(1))
    internet.run(0.1)
    assert c.heard.messages == [Cancel(1)]


def test_what_has_been_read_makes_room_again() -> None:
    internet, a, b = joined(limits=Limits(queued_bytes=1 << 20))
    for n in range(10_000):  # 10 MB through a window of 1 MiB, within less than one ping interval
        while not a.wire.send(b.id, Chunks(1, n, ["x" * 1000])):
            internet.run(0.001)
    internet.run(1)
    assert len(b.heard.messages) == 10_000


def test_a_busy_carrier_is_said_and_counted_and_loses_nothing_that_was_accepted() -> None:
    internet, a, b = joined()
    a.carrier.full = True
    assert a.wire.send(b.id, Cancel(1))
    internet.run(0.01)
    assert not a.wire.send(b.id, Cancel(2))
    assert a.wire.counters["not_sent_busy"] == 1
    a.carrier.full = False
    internet.run(0.3)
    assert b.heard.messages == [Cancel(1)]


def test_what_is_said_within_one_turn_travels_in_one_frame_and_in_order() -> None:
    internet, a, b = joined()
    before = a.wire.counters["frames_out"]
    said = [Chunks(1, 0, ["x"]), Cancel(1), Chunks(2, 0, ["y", b"{}"]), Grant(7, 64)]
    for message in said:
        assert a.wire.send(b.id, message)
    internet.run(0.01)
    assert b.heard.messages == said
    assert a.wire.counters["frames_out"] == before + 1


def test_a_long_turn_is_cut_into_frames_of_a_bounded_number_of_messages() -> None:
    internet, a, b = joined()
    before = a.wire.counters["frames_out"]
    said = [Cancel(n) for n in range(3 * MESSAGES_PER_FRAME)]
    assert all(a.wire.send(b.id, message) for message in said)
    internet.run(0.01)
    assert b.heard.messages == said
    assert a.wire.counters["frames_out"] == before + 3


def test_a_large_message_does_not_wait_for_smaller_ones_to_fill_its_frame() -> None:
    internet, a, b = joined()
    large = Chunks(1, 0, ["x" * 100_000])
    said = [Cancel(1), large, Cancel(2)]
    assert all(a.wire.send(b.id, message) for message in said)
    internet.run(0.01)
    assert b.heard.messages == said


def test_nothing_after_a_goodbye_in_its_frame_is_heard() -> None:
    internet, a, b = joined()
    for message in (Cancel(1), Bye("that is all"), Cancel(2)):
        a.wire.send(b.id, message)
    internet.run(0.01)
    assert b.heard.messages == [Cancel(1)]
    assert b.heard.last_words == "it said goodbye: that is all"


def test_a_message_over_the_frame_limit_is_not_sent() -> None:
    _, a, b = joined()
    assert not a.wire.send(b.id, Chunks(1, 0, ["x" * (1 << 20)]))
    assert a.wire.counters["not_sent_oversized"] == 1


def test_a_handler_that_fails_harms_only_its_own_message() -> None:
    internet, a, b = joined()

    def fail(peer: bytes, message: object) -> None:
        raise RuntimeError("a bug")

    b.heard.message, keep = fail, b.heard.message  # type: ignore[method-assign]
    a.wire.send(b.id, Cancel(1))
    internet.run(0.1)
    b.heard.message = keep  # type: ignore[method-assign]
    a.wire.send(b.id, Cancel(2))
    internet.run(0.1)
    assert b.heard.messages == [Cancel(2)]
    assert b.wire.counters["handler_failed"] == 1


def test_who_lacks_the_secret_cannot_finish_even_if_he_knows_the_networks_id() -> None:
    internet = Internet()
    net = network_id("private", "the secret")
    a = Host(internet, "10.0.0.1", net=net, secret="the secret")
    thief = Host(internet, "10.0.0.2", net=net, secret="a guess")
    thief.wire.dial(a.endpoint)
    internet.run(10)
    a.wire.dial(thief.endpoint)
    internet.run(10)
    assert thief.heard.kinds == a.heard.kinds == ["failed"]
    assert "does not have this network's secret" in a.heard.last_words
    assert "does not have this network's secret" in thief.heard.last_words
    assert a.counted() == {"wrong_secret": 1}  # the thief closed first; one that does not is timed out


@pytest.mark.parametrize(
    ("theirs", "words"),
    [
        ({"net": network_id("other")}, "belongs to another network"),
        ({"clock_off_by_ms": 48 * 3_600_000}, "172800 s behind"),
        ({"clock_off_by_ms": -48 * 3_600_000}, "172800 s ahead"),
        ({"limits": Limits(sessions=0)}, "as many peers as it can serve"),
        ({"limits": Limits(half_open=0)}, "try again in a moment"),
    ],
)
def test_a_dialler_is_told_in_words_why_it_is_refused(theirs: dict, words: str) -> None:  # type: ignore[type-arg]
    internet = Internet()
    a, b = Host(internet, "10.0.0.1"), Host(internet, "10.0.0.2", **theirs)
    a.wire.dial(b.endpoint)
    internet.run(1)
    assert a.heard.kinds == ["failed"]
    assert words in a.heard.last_words
    assert sum(b.counted().values()) == 1
    assert b.heard.events == []


def test_a_node_that_dials_itself_is_told_so() -> None:
    internet, a, _ = two_hosts()
    a.wire.dial(a.endpoint)
    internet.run(1)
    assert "leads back to the node itself" in a.heard.last_words


def test_another_node_at_the_expected_address_is_refused_by_both() -> None:
    internet, a, b = two_hosts()
    a.wire.dial(b.endpoint, Identity.generate().node_id)
    internet.run(1)
    assert "another node was expected" in a.heard.last_words
    assert b.counted() == {"wrong_recipient": 1}
