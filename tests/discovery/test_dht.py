"""A private DHT of real libtorrent nodes: what one says, another finds, and nobody is believed without a
signature."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from select import select

import pytest
from dht_lab import LOOPBACK, NET, Swarm, now_ms, swarm
from nacl.signing import VerifyKey

from opengateway.discovery.dht import (
    Announced,
    Dht,
    DhtUnavailable,
    Listening,
    Located,
    Published,
    expanded_secret,
    salt_of,
)
from opengateway.discovery.dht_settings import DhtNodes, DhtSettings
from opengateway.discovery.topics import topic
from opengateway.discovery.whereabouts import Whereabouts, sign_whereabouts
from opengateway.identity import Identity, network_id

SIZE = 10


@pytest.fixture(scope="module")
def dht() -> Iterator[Swarm]:
    with swarm(SIZE) as nodes:
        yield nodes


def here(identity: Identity, seq: int = 1, endpoint: str = "tcp://192.0.2.1:11436") -> bytes:
    now = now_ms()
    said = Whereabouts(identity.node_id, seq, now + 60_000, "eu-central-1", 0, (endpoint,), ())
    return sign_whereabouts(identity, NET, said, now_ms=now)


def test_whoever_is_announced_under_a_topic_is_found_by_the_others(dht: Swarm) -> None:
    name = topic(NET, "region", "eu-central-1", "a-model")
    dht.nodes[1].announce(name, 9001)
    dht.nodes[2].announce(name, 9002)

    def seen() -> set[str]:
        dht.seek(7, name)
        return {text for event in dht.said(7, Announced) if event.topic == name for text in event.endpoints}

    dht.until(lambda: seen() == {"tcp://127.0.0.1:9001", "tcp://127.0.0.1:9002"}, "both are found")


def test_nothing_is_found_under_a_topic_that_nobody_announced(dht: Swarm) -> None:
    empty, used = topic(NET, "region", "af-south-1", "m"), topic(NET, "world", "", "used")
    dht.nodes[3].announce(used, 9003)
    dht.nodes[4].seek(empty)

    def other_found() -> bool:
        dht.seek(4, used)
        return any(event.topic == used for event in dht.said(4, Announced))

    dht.until(other_found, "the other topic is found")
    assert not [event for event in dht.said(4, Announced) if event.topic == empty]


def test_a_node_is_located_by_its_id_alone_and_its_signature_is_checked_again(dht: Swarm) -> None:
    identity = Identity.generate()
    data = here(identity)
    dht.nodes[1].publish(identity, data)
    dht.until(lambda: dht.said(1, Published), "it lies in the DHT")
    dht.nodes[8].locate(identity.node_id)
    dht.until(lambda: [e for e in dht.said(8, Located) if e.data == data], "it is located")
    [found] = {event.here for event in dht.said(8, Located) if event.data == data}
    assert found.node_id == identity.node_id
    assert found.endpoints == ("tcp://192.0.2.1:11436",)


def test_what_lies_under_a_key_but_was_signed_by_another_is_refused(dht: Swarm) -> None:
    honest, thief = Identity.generate(), Identity.generate()
    # A node may lay anything under its own key: here, somebody else's whereabouts.
    dht.nodes[2].publish(thief, here(honest))
    dht.until(lambda: dht.said(2, Published), "it lies in the DHT")
    dht.nodes[5].locate(thief.node_id)
    dht.until(lambda: dht.nodes[5].refused["wrong_sender"], "it is refused")
    assert not [event for event in dht.said(5, Located) if event.here.node_id == thief.node_id]


def test_an_item_that_is_put_again_gets_a_higher_number_also_after_a_restart(dht: Swarm) -> None:
    identity = Identity.generate()
    numbers = []
    for at in (1, 1, 6):  # the last is another process, as far as the DHT can tell
        before = len(dht.said(at, Published))
        dht.nodes[at].publish(identity, here(identity, seq=len(numbers)))
        dht.until(lambda at=at, before=before: len(dht.said(at, Published)) > before, "it is put")
        numbers.append(dht.said(at, Published)[-1].item_seq)
    assert numbers == sorted(set(numbers))


def test_the_nodes_that_were_known_are_known_after_a_restart(dht: Swarm, tmp_path: Path) -> None:
    kept = DhtNodes(tmp_path / "dht.nodes")
    dht.until(lambda: dht.table(0) >= 3, "some are known")
    kept.save(dht.nodes[0].nodes())
    again = Swarm(1)
    try:
        again.ports()
        nodes = DhtNodes(tmp_path / "dht.nodes").load()
        assert len(nodes) >= 3
        for host, port in nodes:
            again.nodes[0].enter_by(host, port)
        again.until(lambda: again.table(0) >= 3, "the old ones are there")
    finally:
        again.close()


@pytest.mark.slow
def test_a_burst_of_questions_mutes_nobody_where_all_share_an_address(dht: Swarm) -> None:
    """With libtorrent's limit at 1,000 this swarm fell apart for five minutes."""
    name, later = topic(NET, "world", "", "wanted by all"), topic(NET, "world", "", "later")
    received = 0
    while received < 2_000_000:  # some 13,000 packets; the limit was 10,000 in ten seconds
        for node in dht.nodes:
            node.seek(name)
        select([node.wake for node in dht.nodes], [], [], 0.002)
        received = dht.traffic(0)
    dht.nodes[1].announce(later, 9001)

    def found() -> bool:
        dht.seek(2, later)
        return any(event.topic == later for event in dht.said(2, Announced))

    dht.until(found, "they still hear each other")


def test_an_empty_table_does_not_wipe_what_was_kept(tmp_path: Path) -> None:
    kept = DhtNodes(tmp_path / "dht.nodes")
    kept.save([("192.0.2.7", 6881), ("2001:db8::7", 6881)])
    kept.save([])
    assert kept.load() == (("192.0.2.7", 6881), ("2001:db8::7", 6881))
    assert not kept.problem


@pytest.mark.parametrize("junk", [b"", b"\x00\xff\n\n:::\n", b"[::1]\n1.2.3.4:99999\n", b"x" * 100_000])
def test_a_damaged_list_of_nodes_costs_nothing_but_itself(junk: bytes, tmp_path: Path) -> None:
    (tmp_path / "dht.nodes").write_bytes(junk)
    assert DhtNodes(tmp_path / "dht.nodes").load() == ()


def test_without_libtorrent_it_is_said_in_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "libtorrent", None)
    with pytest.raises(DhtUnavailable, match="this node goes on with the local network"):
        Dht(NET, LOOPBACK)


def test_two_nodes_on_one_machine_take_neighbouring_ports() -> None:
    first = Swarm(1)
    try:
        [taken] = first.ports()
        second = Dht(NET, DhtSettings("127.0.0.1", taken, guarded=False))
        try:
            first.nodes.append(second)
            first.heard.append([])
            first.until(lambda: first.said(1, Listening), "the second listens, too")
            assert second.port != taken
        finally:
            first.nodes.remove(second)
            second.close()
    finally:
        first.close()


def test_the_expanded_secret_makes_signatures_that_the_public_key_verifies() -> None:
    """RFC 8032, 5.1.6, by hand with the expanded secret: what libtorrent does with it."""
    import hashlib

    from nacl.bindings import (
        crypto_core_ed25519_scalar_add,
        crypto_core_ed25519_scalar_mul,
        crypto_core_ed25519_scalar_reduce,
        crypto_scalarmult_ed25519_base_noclamp,
    )

    identity, message = Identity.generate(), b"4:salt11:og1"
    secret = expanded_secret(identity)
    scalar, prefix = secret[:32], secret[32:]

    def number(*parts: bytes) -> bytes:
        return crypto_core_ed25519_scalar_reduce(hashlib.sha512(b"".join(parts)).digest())

    nonce = number(prefix, message)
    point = crypto_scalarmult_ed25519_base_noclamp(nonce)
    challenge = number(point, identity.node_id, message)
    reduced = crypto_core_ed25519_scalar_reduce(scalar + bytes(32))
    s = crypto_core_ed25519_scalar_add(nonce, crypto_core_ed25519_scalar_mul(challenge, reduced))
    assert VerifyKey(identity.node_id).verify(message, point + s) == message


def test_one_key_in_two_networks_has_two_items() -> None:
    assert salt_of(NET) != salt_of(network_id("another"))
    assert len(salt_of(NET)) <= 64
