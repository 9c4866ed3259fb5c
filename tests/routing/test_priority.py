"""Who is served first, and that nobody starves."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from opengateway.routing.priority import HEAD_START, TURN, Claim, Service, order, ranks
from opengateway.units import NodeId

A, B = NodeId(b"a" * 32), NodeId(b"b" * 32)
OWNER = Claim(Service.OWNER, 0.0)


def peer(service: Service, since: float = 0.0, who: NodeId = A) -> Claim:
    return Claim(service, since, who)


def names(*claims: Claim, running: dict[NodeId, int] | None = None) -> list[Claim]:
    return [claims[at] for at in order(claims, running or {})]


def test_at_one_moment_the_owner_goes_before_friends_before_credit_before_strangers() -> None:
    nodes = [NodeId(bytes([n]) * 32) for n in range(3)]
    stranger, secured, friend = (
        peer(service, 0.0, node)
        for service, node in zip((Service.STRANGER, Service.SECURED, Service.FRIEND), nodes, strict=True)
    )
    assert names(stranger, secured, friend, OWNER) == [OWNER, friend, secured, stranger]


def test_within_a_class_the_first_who_came_goes_first() -> None:
    late, early = peer(Service.SECURED, 2.0, A), peer(Service.SECURED, 1.0, B)
    assert names(late, early) == [early, late]


def test_who_has_waited_a_minute_goes_before_the_owners_next_request() -> None:
    stranger = peer(Service.STRANGER, 0.0)
    before, after = Claim(Service.OWNER, 59.0), Claim(Service.OWNER, 61.0)
    assert names(after, stranger, before) == [before, stranger, after]


def test_one_node_with_ten_requests_takes_turns_with_one_that_has_one() -> None:
    many = [peer(Service.SECURED, n / 100, A) for n in range(10)]
    one = peer(Service.SECURED, 1.0, B)
    assert names(*many, one).index(one) == 1


def test_answers_that_a_node_is_getting_already_count_as_its_turns() -> None:
    first, second = peer(Service.SECURED, 0.0, A), peer(Service.SECURED, 1.0, B)
    assert names(first, second, running={A: 1}) == [second, first]


def test_the_owners_own_requests_take_no_turns_with_each_other() -> None:
    many = [Claim(Service.OWNER, float(n)) for n in range(20)]
    assert names(*reversed(many)) == many


CLAIMS = st.lists(
    st.builds(
        Claim,
        st.sampled_from(list(Service)[1:]),
        st.floats(0.0, 300.0),
        st.sampled_from([NodeId(bytes([n]) * 32) for n in range(5)]),
    ),
    max_size=12,
)


@given(CLAIMS, st.dictionaries(st.sampled_from([A, B]), st.integers(0, 5), max_size=2))
def test_nobody_who_comes_later_than_the_head_start_goes_before(
    claims: list[Claim], running: dict[NodeId, int]
) -> None:
    """The promise: later than the head start, plus the turns of its own node's other requests."""
    rank = ranks(claims, running)
    sequence = order(claims, running)
    for place, at in enumerate(sequence):
        mine = claims[at]
        before_me = [claims[one] for one in sequence[:place]]
        own = sum(1 for c in claims if c.requester == mine.requester) + running.get(mine.requester or A, 0)
        assert all(c.since <= mine.since + HEAD_START[mine.service] + TURN * own for c in before_me)
        assert rank[at] >= mine.since
