from __future__ import annotations

from ipaddress import ip_address, ip_network
from itertools import count, pairwise

import pytest

from opengateway.discovery.reachability import ANSWER_S, PROOF_LIFE_S, RENEW_S, Ask, Reachability
from opengateway.identity import Identity
from opengateway.units import NodeId

HOME, PUBLIC, ELSEWHERE = "192.168.1.5", "203.0.113.9", "198.51.100.7"
PORT = 11436


class Node:
    """A node, its peers, and who of them can really dial it."""

    def __init__(self, own: str = PUBLIC, near: str = "203.0.113.0/24") -> None:
        numbers = count(1)
        self.now = 1000.0
        self.state = Reachability(lambda: next(numbers).to_bytes(16))
        self.state.local(PORT, [ip_address(own)], (ip_network(near),))
        self.asked: list[Ask] = []

    def peer(self, seen_from: str, tells: str, port: int = 0) -> NodeId:
        peer = Identity.generate().node_id
        self.state.met(peer, seen_from)
        self.state.told(peer, tells, port)
        return peer

    def ask(self) -> list[Ask]:
        found = self.state.asks(self.now)
        self.asked += found
        return found

    def round(self, *reaching: NodeId, address: str = ELSEWHERE) -> None:
        """Ask, and let these succeed and all others fail."""
        for ask in self.ask():
            if ask.peer in reaching:
                assert self.state.knocked(ask.nonce, address, self.now)
            else:
                self.state.failed(ask.nonce, self.now)

    @property
    def kind(self) -> str:
        return self.state.verdict(self.now).kind

    @property
    def endpoints(self) -> tuple[str, ...]:
        return self.state.verdict(self.now).endpoints


def test_nothing_is_believed_before_somebody_has_dialled_back() -> None:
    node = Node()
    node.peer(ELSEWHERE, PUBLIC, PORT)
    assert node.kind == "unknown"
    assert [ask.port for ask in node.ask()] == [PORT]
    assert node.kind == "unknown"


def test_an_own_address_is_believed_when_two_from_outside_have_reached_it() -> None:
    node = Node()
    peers = [node.peer(f"198.51.{n}.7", PUBLIC) for n in range(3)]
    node.round(peers[0])
    assert node.kind != "direct"
    node.now += 60
    node.round(*peers)
    assert node.kind == "direct"
    assert node.endpoints == (f"tcp://{PUBLIC}:{PORT}",)
    assert node.state.verdict(node.now).witnesses >= 2


def test_the_only_peer_there_is_suffices_for_an_own_address() -> None:
    node = Node()
    node.round(node.peer(ELSEWHERE, PUBLIC))
    assert node.kind == "direct"


def test_a_node_that_nobody_reaches_knows_it_within_the_first_answers() -> None:
    node = Node(HOME, "192.168.1.0/24")
    node.peer(ELSEWHERE, PUBLIC)
    node.peer("198.51.7.7", PUBLIC)
    node.ask()
    assert node.kind == "unknown"
    node.now += ANSWER_S + 1  # silence is a no
    node.ask()
    assert node.kind == "unreachable"


def test_an_address_that_is_not_our_own_needs_two_who_name_it_and_two_who_reach_it() -> None:
    node = Node(HOME, "192.168.1.0/24")
    liar = node.peer(ELSEWHERE, PUBLIC)
    node.round(liar)
    assert node.endpoints == (), "one may have invented it, and dial our real address"
    other = node.peer("198.51.7.7", PUBLIC)
    node.round(liar, other)
    assert node.kind == "direct"
    assert node.endpoints == (f"tcp://{PUBLIC}:{PORT}",)


def test_who_is_outvoted_about_our_address_is_not_believed() -> None:
    node = Node(HOME, "192.168.1.0/24")
    liars = [node.peer(f"198.51.{n}.7", "192.0.2.66") for n in range(2)]
    honest = [node.peer(f"198.52.{n}.7", PUBLIC) for n in range(3)]
    node.round(*liars, *honest)
    assert node.endpoints == (f"tcp://{PUBLIC}:{PORT}",)


def test_a_neighbour_proves_nothing_about_the_world_nor_does_his_accomplice() -> None:
    node = Node(HOME, "192.168.1.0/24")
    neighbours = [node.peer(f"192.168.1.{n}", HOME) for n in (7, 8)]
    node.round(*neighbours, address="192.168.1.7")
    assert node.kind == "direct" and not node.state.verdict(node.now).outside
    stranger = node.peer(ELSEWHERE, PUBLIC)
    second = node.peer("198.51.7.7", PUBLIC)
    node.now += 60
    node.round(stranger, second, address="192.168.1.8")  # the nonce was passed on to somebody next door
    verdict = node.state.verdict(node.now)
    assert not verdict.outside and verdict.endpoints == ()


def test_the_routers_word_counts_as_one_of_two() -> None:
    node = Node(HOME, "192.168.1.0/24")
    node.state.mapped(PUBLIC, 40_000)
    only = node.peer(ELSEWHERE, PUBLIC)
    asks = node.ask()
    assert {ask.port for ask in asks} == {PORT, 40_000}
    for ask in asks:
        if ask.port == 40_000:
            assert node.state.knocked(ask.nonce, ELSEWHERE, node.now)
        else:
            node.state.failed(ask.nonce, node.now)
    assert node.kind == "mapped"
    assert node.endpoints == (f"tcp://{PUBLIC}:40000",)
    assert only in {ask.peer for ask in asks}


def test_a_router_that_lies_about_its_address_is_not_believed() -> None:
    node = Node(HOME, "192.168.1.0/24")
    node.state.mapped("192.0.2.66", PORT)
    node.round(node.peer(ELSEWHERE, PUBLIC))
    assert node.endpoints == ()


def test_a_nonce_counts_once_and_an_invented_one_never() -> None:
    node = Node()
    node.peer(ELSEWHERE, PUBLIC)
    [ask] = node.ask()
    assert not node.state.knocked(bytes(16), ELSEWHERE, node.now)
    assert node.state.knocked(ask.nonce, ELSEWHERE, node.now)
    assert not node.state.knocked(ask.nonce, ELSEWHERE, node.now)


def test_proofs_are_renewed_and_a_mapping_that_went_is_noticed() -> None:
    node = Node()
    peer = node.peer(ELSEWHERE, PUBLIC)
    node.round(peer)
    node.now += RENEW_S / 2
    assert node.ask() == []
    node.now += RENEW_S
    node.round()  # nobody gets through any more
    assert node.kind == "unreachable"
    node.now += 31
    node.round(peer)
    assert node.kind == "direct"
    node.state.lost(peer)
    assert node.kind == "direct"
    node.now += PROOF_LIFE_S + 1
    assert node.kind == "unknown"


def test_whoever_fails_is_asked_again_after_a_growing_pause() -> None:
    node = Node()
    node.peer(ELSEWHERE, PUBLIC)
    times = []
    for _ in range(2000):
        if node.ask():
            times.append(node.now)
        for ask in node.asked:
            node.state.failed(ask.nonce, node.now)
        node.now += 1
    waits = [after - before for before, after in pairwise(times)]
    assert waits[:4] == pytest.approx([30, 60, 120, 240], abs=1)
    assert max(waits) <= 601


def test_a_new_own_address_makes_what_was_proven_worthless() -> None:
    node = Node()
    node.round(node.peer(ELSEWHERE, PUBLIC))
    node.state.local(PORT, [ip_address("203.0.113.10")], (ip_network("203.0.113.0/24"),))
    assert node.kind == "unknown" and node.endpoints == ()


def test_at_most_three_are_asked_at_once_and_strangers_first() -> None:
    node = Node()
    near = [node.peer("203.0.113.77", PUBLIC) for _ in range(5)]
    far = [node.peer(f"198.51.{n}.7", PUBLIC) for n in range(5)]
    asks = node.ask()
    assert len(asks) == 3
    assert {ask.peer for ask in asks} <= set(far)
    assert near


@pytest.mark.parametrize("told", ["", "nonsense", "0.0.0.0", "224.0.0.1", "::", "relay abc"])
def test_what_is_no_address_is_no_candidate(told: str) -> None:
    node = Node()
    node.peer(ELSEWHERE, told)
    node.peer(told, PUBLIC)
    assert node.kind == "unknown"
    node.round()
