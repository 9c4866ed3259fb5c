from __future__ import annotations

from wire_lab import Host, behind_a_relay, two_hosts

from opengateway.wire.knock import KNOCK_FRAME, KNOCKS_AT_ONCE
from opengateway.wire.relay_endpoint import RelayEndpoint

NONCE = bytes(range(16))


def listening(host: Host) -> list[tuple[bytes, str]]:
    """What is said at its door; one nonce is due."""
    heard: list[tuple[bytes, str]] = []

    def hear(nonce: bytes, address: str) -> bool:
        heard.append((nonce, address))
        return nonce == NONCE

    host.wire.knocks.heard = hear
    return heard


def test_a_knock_says_the_nonce_on_a_fresh_connection_and_is_told_that_it_was_heard() -> None:
    internet, a, b = two_hosts()
    heard, ends = listening(b), list[str]()
    a.wire.knocks.knock(b.endpoint, NONCE, ends.append)
    internet.run(1)
    assert heard == [(NONCE, a.address)]
    assert ends == [""]
    assert a.wire.sessions() == b.wire.sessions() == [] and b.heard.events == []


def test_a_knock_that_nobody_answers_fails_with_a_reason() -> None:
    internet, a, b = two_hosts()
    ends = list[str]()
    a.wire.knocks.knock("tcp://10.0.0.77:4001", NONCE, ends.append)
    a.wire.knocks.knock("nonsense", NONCE, ends.append)
    internet.part(a.address, b.address)
    a.wire.knocks.knock(b.endpoint, NONCE, ends.append)
    internet.run(6)
    assert len(ends) == 3
    assert "is not an endpoint" in ends[0]
    assert "nothing listens there" in ends[1]
    assert "nobody answered within 5 s" in ends[2]


def test_a_nonce_that_is_not_due_gets_no_answer() -> None:
    internet, a, b = two_hosts()
    listening(b)
    ends = list[str]()
    a.wire.knocks.knock(b.endpoint, bytes(16), ends.append)
    internet.run(6)
    assert b.wire.counters["knocks_strange"] == 1
    assert ends == ["nobody answered within 5 s"]


def test_a_knock_through_a_relay_proves_nothing() -> None:
    net = behind_a_relay()
    heard = listening(net.b)
    link = net.a.wire._carrier.dial(str(RelayEndpoint(net.relay.id, net.relay.endpoint, net.b.id)))
    net.a.wire._carrier.send(link, KNOCK_FRAME + NONCE)
    net.internet.run(1)
    assert heard == []
    assert net.b.counted()["unexpected_frame"] == 1


def test_knocks_under_way_are_bounded() -> None:
    internet, a, b = two_hosts()
    internet.part(a.address, b.address)
    ends = list[str]()
    for _ in range(KNOCKS_AT_ONCE + 3):
        a.wire.knocks.knock(b.endpoint, NONCE, ends.append)
    assert ends == ["too many are under way"] * 3
    internet.run(6)
    assert len(ends) == KNOCKS_AT_ONCE + 3
