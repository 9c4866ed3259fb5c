from __future__ import annotations

import gc

import pytest
from wire_lab import Host, Relayed, behind_a_relay

from opengateway.identity import Identity
from opengateway.transport.memory import Internet
from opengateway.wire import relay as relay_module
from opengateway.wire.limits import CIRCUIT_WINDOW, Limits
from opengateway.wire.messages import Cancel, Chunks
from opengateway.wire.relay import RelayLimits
from opengateway.wire.relay_endpoint import RelayEndpoint, parse_relay_endpoint
from opengateway.wire.relay_messages import Carried, Closed, NotReserved, Open, Opened, Reserved


def chunk(n: int, size: int = 10) -> Chunks:
    return Chunks(1, n, ["x" * size])


def firsts(host: Host) -> list[int]:
    return [m.first for m in host.heard.messages if isinstance(m, Chunks)]


def path(host: Host, peer: Host) -> bytes | None:
    """The relay through which `host` talks to `peer`."""
    [session] = [s for s in host.wire.sessions() if s.peer == peer.id]
    return session.relay


def test_a_relay_endpoint_is_written_and_read() -> None:
    relay, target = Identity.generate().node_id, Identity.generate().node_id
    text = str(RelayEndpoint(relay, "tcp://[2001:db8::5]:11436", target))
    assert parse_relay_endpoint(text) == RelayEndpoint(relay, "tcp://[2001:db8::5]:11436", target)
    for wrong in ("tcp://10.0.0.1:1", "relay://", text[:-1], text.replace("@", ""), text + "/x"):
        with pytest.raises(ValueError, match="relay://"):
            parse_relay_endpoint(wrong)


def test_two_that_cannot_reach_each_other_talk_through_a_relay() -> None:
    net = behind_a_relay()
    assert net.b.heard.messages == [Reserved(net.relay.endpoint, 900)]
    net.join()
    assert ("up", net.b.id, b"record of " + net.b.id, net.endpoint, True) in net.a.heard.events
    assert ("up", net.a.id, b"record of " + net.a.id, None, False) in net.b.heard.events
    assert path(net.a, net.b) == path(net.b, net.a) == net.relay.id
    for n in range(100):
        assert net.a.wire.send(net.b.id, chunk(n))
        assert net.b.wire.send(net.a.id, chunk(n))
    net.internet.run(1)
    assert firsts(net.a) == firsts(net.b) == list(range(100))
    net.internet.run(600)
    assert "down" not in net.a.heard.kinds + net.b.heard.kinds, "pings keep an idle circuit alive"


def test_a_frame_of_a_megabyte_passes_in_pieces() -> None:
    net = behind_a_relay()
    net.join()
    assert net.a.wire.send(net.b.id, chunk(0, 1_000_000))
    net.internet.run(1)
    assert net.b.heard.messages == [chunk(0, 1_000_000)]


def test_what_comes_after_a_goodbye_through_a_relay_is_as_on_a_direct_connection() -> None:
    net = behind_a_relay()
    net.join()
    net.a.wire.hang_up(net.b.id, "enough")
    net.internet.run(0.5)
    assert net.b.heard.last_words == "it said goodbye: enough"
    assert net.relay.wire.counters["relay_circuits"] == 0
    net.join()
    assert net.b.heard.kinds == ["up", "up", "down", "up"]


def test_the_relay_reads_nothing_and_holds_no_key() -> None:
    net = behind_a_relay()
    seen: list[bytes] = []
    put = net.relay.wire.relaying.relay.lanes.put

    def look(lane, message) -> None:
        seen.append(getattr(message, "data", b""))
        put(lane, message)

    net.relay.wire.relaying.relay.lanes.put = look  # type: ignore[method-assign]
    net.join()
    secret = "the recipe for the sauce"
    for n in range(50):
        net.a.wire.send(net.b.id, Chunks(1, n, [secret]))
        net.internet.run(0.0)  # each in a frame of its own
    net.internet.run(1)
    assert firsts(net.b) == list(range(50))
    assert len(seen) > 50
    everything = b"".join(seen)
    assert secret.encode() not in everything
    [ours] = [s for s in net.a.wire._sessions._live.values() if s.relay]
    assert ours.keys.sealer._key not in everything and ours.keys.opener._key not in everything
    held = [s.keys.sealer._key for s in net.relay.wire._sessions._live.values()]
    assert ours.keys.sealer._key not in held


def test_who_has_not_reserved_is_not_reached_and_the_dialler_is_told() -> None:
    net = behind_a_relay()
    net.b.wire.dial(str(RelayEndpoint(net.relay.id, net.relay.endpoint, net.a.id)))
    net.internet.run(1)
    assert net.b.heard.kinds[-1] == "failed"
    assert "not reached through this relay" in net.b.heard.last_words


def test_a_relay_that_is_not_there_fails_the_dial_with_a_reason() -> None:
    net = behind_a_relay()
    net.a.wire.dial(str(RelayEndpoint(net.relay.id, "tcp://10.0.0.77:4001", net.b.id)))
    net.internet.run(1)
    assert net.a.heard.kinds == ["failed", "failed"]
    assert "its relay cannot be reached" in net.a.heard.last_words
    net.a.wire.dial(str(RelayEndpoint(net.a.id, net.a.endpoint, net.b.id)))
    assert "leads from one node through a second to a third" in net.a.heard.last_words
    net.a.wire.dial("relay://nonsense")
    assert "is not an endpoint such as relay://" in net.a.heard.last_words


def test_a_node_that_nobody_reaches_relays_for_nobody() -> None:
    net = behind_a_relay()
    net.relay.wire.relaying.relay.endpoint = ""
    net.reserve(net.a)
    assert net.a.heard.messages == [NotReserved("unreachable")]


def test_nobody_but_a_relay_that_was_asked_may_open_circuits_to_a_node() -> None:
    net = behind_a_relay()
    net.reserve(net.a)
    net.a.wire.relaying.circuits.relays.clear()
    net.b.wire.dial(str(RelayEndpoint(net.relay.id, net.relay.endpoint, net.a.id)))
    net.internet.run(1)
    assert "no circuit was expected" in net.b.heard.last_words
    assert net.a.wire.counters["circuits_refused"] == 1


def test_a_relay_that_dies_takes_its_circuits_with_it_and_both_ends_hear_why() -> None:
    net = behind_a_relay()
    net.join()
    net.relay.carrier.crash()
    net.internet.run(1)
    for host, other in ((net.a, net.b), (net.b, net.a)):
        [(_, _, why)] = [e for e in host.heard.events if e[0] == "down" and e[1] == other.id]
        assert "the session with its relay" in why
    assert net.a.wire.sessions() == net.b.wire.sessions() == []


def test_a_dial_through_a_second_relay_succeeds_after_the_first_has_died() -> None:
    net = behind_a_relay()
    net.join()
    second = Host(net.internet, "10.0.0.8")
    second.wire.relaying.relay.endpoint = second.endpoint
    again = Relayed(net.internet, net.a, net.b, second)
    again.reserve(net.b)
    net.relay.carrier.crash()
    net.internet.run(1)
    again.join()
    assert path(net.a, net.b) == second.id


# -- a relay that is hostile -----------------------------------------------------------------------


@pytest.mark.parametrize("deed", ["alter", "drop", "double", "swap", "replay"])
def test_a_relay_that_tampers_is_found_out_by_the_next_frame_and_delivers_nothing_false(deed: str) -> None:
    net = behind_a_relay()
    net.join()
    lanes = net.relay.wire.relaying.relay.lanes
    put, seen = lanes.put, []

    def tamper(lane, message) -> None:
        if lane.peer != net.b.id or not isinstance(message, Carried):
            put(lane, message)
            return
        seen.append(message)
        turn = len(seen)
        match deed:
            case "alter" if turn == 5:
                damaged = bytearray(message.data)
                damaged[-1] ^= 1
                put(lane, Carried(message.circuit, message.last, bytes(damaged)))
            case "drop" if turn == 5:
                pass
            case "double" if turn == 5:
                put(lane, message)
                put(lane, message)
            case "swap" if turn == 5:
                pass
            case "swap" if turn == 6:
                put(lane, message)
                put(lane, seen[4])
            case "replay" if turn == 10:
                put(lane, seen[2])
            case _:
                put(lane, message)

    lanes.put = tamper  # type: ignore[method-assign]
    for n in range(20):
        net.a.wire.send(net.b.id, chunk(n))
        net.internet.run(0.0)
    net.internet.run(1)
    got = firsts(net.b)
    assert got == list(range(len(got))) and len(got) < 20, "a prefix, nothing twice, nothing out of order"
    [(_, _, why)] = [e for e in net.b.heard.events if e[0] == "down"]
    assert "a frame was altered or lost on the way over" in why
    assert net.b.wire.counters["relay_tampered"] == 1
    assert not [s for s in net.a.wire.sessions() if s.peer == net.b.id], "the other end hears of it"


def test_a_relay_cannot_pose_as_the_node_behind_it() -> None:
    net = behind_a_relay()

    def answer_itself(opener: bytes, message: Open) -> None:
        """Instead of passing the circuit on: feed the frames to its own handshake."""
        net.relay.wire.relaying.circuits.relays.add(opener)
        net.relay.wire.relaying.circuits._opened(opener, Opened(message.circuit, b""))

    net.relay.wire.relaying.relay._open = answer_itself  # type: ignore[method-assign, assignment]
    net.a.wire.dial(net.endpoint)
    net.internet.run(12)
    assert "another node was expected" in net.a.heard.last_words
    assert not [e for e in net.a.heard.events if e[0] == "up" and e[1] == net.b.id]


def test_a_relay_cannot_join_two_old_handshakes() -> None:
    net = behind_a_relay()
    recorded: list[Carried] = []
    lanes = net.relay.wire.relaying.relay.lanes
    put = lanes.put

    def record(lane, message) -> None:
        if lane.peer == net.b.id and isinstance(message, Carried):
            recorded.append(message)
        put(lane, message)

    lanes.put = record  # type: ignore[method-assign]
    net.join()
    lanes.put = put  # type: ignore[method-assign]
    net.a.wire.hang_up(net.b.id, "")
    net.internet.run(1)
    ups = net.b.heard.kinds.count("up")
    number = net.relay.wire.relaying._numbers.draw(net.b.id)
    net.relay.wire.send(net.b.id, Opened(number, net.a.id))
    for piece in recorded:
        net.relay.wire.send(net.b.id, Carried(number, piece.last, piece.data))
    net.internet.run(10)
    assert net.b.heard.kinds.count("up") == ups
    assert net.b.counted()["replayed_hello"] == 1


# -- quotas and back-pressure ----------------------------------------------------------------------


def test_reservations_and_circuits_are_bounded() -> None:
    net = behind_a_relay(relay=RelayLimits(reservations=1, circuits_per_node=1))
    net.reserve(net.a)
    assert net.a.heard.messages == [NotReserved("full")]
    net.join()
    net.a.wire.send(net.relay.id, Open(net.a.wire.relaying._numbers.draw(net.relay.id), net.b.id))
    net.internet.run(1)
    assert net.relay.wire.counters["relay_circuits"] == 1
    assert net.relay.wire.counters["relay_refused"] == 2


def test_a_circuit_without_a_frame_is_closed_and_a_reservation_ends() -> None:
    net = behind_a_relay(relay=RelayLimits(life_s=100))
    net.a.wire.dial(net.relay.endpoint)
    net.internet.run(0.1)
    net.a.wire.send(net.relay.id, Open(net.a.wire.relaying._numbers.draw(net.relay.id), net.b.id))
    net.internet.run(50)
    assert net.relay.wire.counters["relay_circuits"] == net.b.wire.counters["circuits"] == 1
    net.internet.run(20)
    assert net.relay.wire.counters["relay_circuits"] == net.b.wire.counters["circuits"] == 0
    assert net.relay.wire.counters["relay_reservations"] == 1
    net.internet.run(40)
    assert net.relay.wire.counters["relay_reservations"] == 0


def test_a_receiver_that_does_not_read_costs_the_relay_one_window_and_nobody_else_waits() -> None:
    net = behind_a_relay(limits=Limits(queued_bytes=8 << 20))
    c = Host(net.internet, "10.0.0.3")
    net.reserve(c)
    net.join()
    to_c = str(RelayEndpoint(net.relay.id, net.relay.endpoint, c.id))
    net.a.wire.dial(to_c)
    net.internet.run(0.2)
    net.b.wire._sessions.room = lambda _: False  # type: ignore[method-assign]
    grant = net.b.wire.relaying.circuits._grant
    net.b.wire.relaying.circuits._grant = lambda end: None  # type: ignore[method-assign] # it reads no more
    for n in range(300):
        assert net.a.wire.send(net.b.id, chunk(n, 10_000))
    for n in range(100):
        assert net.a.wire.send(c.id, chunk(n))
    net.internet.run(2)
    assert firsts(c) == list(range(100))
    counters = net.relay.wire.counters
    assert 0 < counters["relay_held_bytes"] <= CIRCUIT_WINDOW
    assert len(firsts(net.b)) * 10_000 <= CIRCUIT_WINDOW
    net.b.wire.relaying.circuits._grant = grant  # type: ignore[method-assign]
    net.internet.run(5)
    assert firsts(net.b) == list(range(300))
    assert net.relay.wire.counters["relay_held_bytes"] == 0


def test_who_sends_more_than_was_granted_loses_his_circuit() -> None:
    net = behind_a_relay()
    net.join()
    net.b.wire.relaying.circuits._grant = lambda end: None  # type: ignore[method-assign]
    [number] = [n for peer, n in net.a.wire.relaying.circuits._ends if peer == net.relay.id]
    for _ in range(12):
        net.a.wire.send(net.relay.id, Carried(number, False, bytes(60_000)))
    net.internet.run(1)
    assert net.relay.wire.counters["relay_faults"] == 1
    assert net.relay.wire.counters["relay_held_bytes"] <= CIRCUIT_WINDOW
    assert net.a.heard.kinds[-1] == "down"
    net.internet.run(7)
    assert net.b.heard.last_words == "silent for 6 s"


def test_filling_and_closing_circuits_to_a_node_that_does_not_read_costs_no_more_than_the_quota() -> None:
    net = behind_a_relay(relay=RelayLimits(circuits_per_node=2))
    net.a.wire.dial(net.relay.endpoint)
    net.internet.run(0.1)
    net.b.wire.relaying.circuits._grant = lambda end: None  # type: ignore[method-assign]
    net.b.wire.relaying.circuits.shut = lambda link: None  # type: ignore[method-assign]
    lanes = net.relay.wire.relaying.relay.lanes
    lanes._room = lambda peer: peer != net.b.id  # its queue is full
    for _ in range(20):
        number = net.a.wire.relaying._numbers.draw(net.relay.id)
        net.a.wire.send(net.relay.id, Open(number, net.b.id))
        for _ in range(4):
            net.a.wire.send(net.relay.id, Carried(number, False, bytes(60_000)))
        net.a.wire.send(net.relay.id, Closed(number, ""))
        net.internet.run(0.1)
    held = sum(lane.queued for round_ in lanes._rounds.values() for lane in round_)
    assert held <= 4 * CIRCUIT_WINDOW
    assert net.relay.wire.counters["relay_refused"] == 16
    net.internet.run(70)
    assert net.relay.wire.counters["relay_circuits"] == 0


def test_one_node_gets_its_share_of_the_bytes_and_all_together_the_quota() -> None:
    net = behind_a_relay(relay=RelayLimits(bytes_per_s=1_000_000))
    net.join()
    net.internet.run(5)
    before = net.relay.wire.counters["relay_bytes"]
    for _ in range(400):  # 10 s
        while net.a.wire.send(net.b.id, chunk(0, 50_000)):
            pass
        net.internet.run(0.025)
    carried = net.relay.wire.counters["relay_bytes"] - before
    assert 4_000_000 < carried < 6_500_000, "half a megabyte a second, and the burst"
    assert "down" not in net.a.heard.kinds


# -- from relayed to direct --------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(6))
def test_a_relayed_session_moves_to_a_direct_connection_and_no_message_is_lost_or_doubled(seed: int) -> None:
    internet = Internet(seed)
    internet.default.delay_s = 0.005
    net = behind_a_relay(internet)
    for one in (net.a, net.b, net.relay):
        for other in (net.a, net.b, net.relay):
            internet.path(one.address, other.address).jitter_s = 0.02
    net.join()
    internet.part(net.a.address, net.b.address, parted=False)
    for step in range(300):
        if step == 20:
            (net.a if seed % 2 else net.b).wire.dial((net.b if seed % 2 else net.a).endpoint)
        assert net.a.wire.send(net.b.id, chunk(step)) and net.b.wire.send(net.a.id, chunk(step))
        internet.run(0.002)
    internet.run(2)
    assert firsts(net.a) == firsts(net.b) == list(range(300))
    assert path(net.a, net.b) is None and path(net.b, net.a) is None
    assert "down" not in net.a.heard.kinds + net.b.heard.kinds
    assert net.relay.wire.counters["relay_circuits"] == 0


def test_a_direct_pair_does_not_dial_through_a_relay() -> None:
    net = behind_a_relay()
    net.internet.part(net.a.address, net.b.address, parted=False)
    net.a.wire.dial(net.b.endpoint, net.b.id)
    net.internet.run(0.1)
    net.a.wire.dial(net.endpoint)
    net.internet.run(1)
    assert net.a.wire.counters["circuits_dialled"] == 0


def test_a_session_that_is_itself_relayed_carries_no_circuits() -> None:
    net = behind_a_relay()
    net.join()
    net.a.wire.relaying.relay.endpoint = net.a.endpoint
    assert net.b.wire.relaying.reserve(net.a.id)
    net.internet.run(0.5)
    assert net.b.heard.messages == [NotReserved("not_direct")]


def test_a_closed_circuit_leaves_nothing_behind() -> None:
    net = behind_a_relay()
    net.join()
    net.a.wire.hang_up(net.b.id, "")
    net.internet.run(1)
    net.internet._queue.clear()
    gc.collect()
    assert not [o for o in gc.get_objects() if type(o) is relay_module.Half and o.opener == net.a.id]
    assert net.b.wire.send(net.relay.id, Cancel(1))
