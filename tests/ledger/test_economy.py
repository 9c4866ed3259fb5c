"""Random histories of three nodes, with lost messages, duplicates and crashes: what must always hold."""

from __future__ import annotations

import contextlib
import tempfile
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from ledger_world import MODEL, PRICE, START_MS, Node, World, world

from opengateway.errors import LedgerRefused, NotEnoughCredit
from opengateway.ledger.audit import Limits, verify, verify_pair
from opengateway.ledger.entry import EARN, SETTLE, read_form
from opengateway.ledger.price import Price

NAMES = ("ann", "bob", "cid")
LATER = Limits(now_ms=START_MS + 10**10)


@dataclass
class Request:
    asks: Node
    serves: Node
    rid: bytes
    opening: bytes
    prompt: int
    most: int
    price: Price
    admitted: bool = False
    settle: bytes = b""


class Economy(RuleBasedStateMachine):
    """Every step is one message that arrives, is lost or comes twice, or a node that falls over."""

    def __init__(self) -> None:
        super().__init__()
        self._folder = tempfile.TemporaryDirectory()
        self._context = world(Path(self._folder.name))
        self.world: World = self._context.__enter__()
        self.nodes = [self.world.node(name) for name in NAMES]
        self.requests: list[Request] = []
        self.sent = dict.fromkeys((node.id for node in self.nodes), 0)

    def teardown(self) -> None:
        try:
            self._everything_arrives()
        finally:
            self._context.__exit__(None, None, None)
            self._folder.cleanup()

    @rule(
        who=st.permutations(range(3)),
        prompt=st.integers(0, 40),
        most=st.integers(0, 200),
        price=st.sampled_from([PRICE, Price(0, 0), Price(0, 7)]),
    )
    def ask(self, who: list[int], prompt: int, most: int, price: Price) -> None:
        asks, serves = self.nodes[who[0]], self.nodes[who[1]]
        self.world.clock.pass_ms(50)
        rid, opening = asks.open(serves, prompt=prompt, most=most, price=price)
        self.requests.append(Request(asks, serves, rid, opening, prompt, most, price))

    @precondition(lambda self: self.requests)
    @rule(data=st.data())
    def admit(self, data: st.DataObject) -> None:
        request = data.draw(st.sampled_from(self.requests))
        with contextlib.suppress(NotEnoughCredit, LedgerRefused):
            request.serves.admit(request.opening, request.asks, request.price)
            request.admitted = True

    @precondition(lambda self: any(r.admitted and not r.settle for r in self.requests))
    @rule(data=st.data(), part=st.floats(0, 1))
    def settle(self, data: st.DataObject, part: float) -> None:
        request = data.draw(st.sampled_from([r for r in self.requests if r.admitted and not r.settle]))
        received = int(request.most * part)
        request.serves.book.delivered(request.rid, request.asks.id, request.prompt, received)
        request.settle = request.asks.settle(request.rid, prompt=request.prompt, completion=received)

    @precondition(lambda self: any(r.settle for r in self.requests))
    @rule(data=st.data())
    def earn(self, data: st.DataObject) -> None:
        """Arrives in any order, any number of times; the EARN may be lost."""
        request = data.draw(st.sampled_from([r for r in self.requests if r.settle]))
        with contextlib.suppress(LedgerRefused):
            earned = request.serves.book.earn(request.settle, request.asks.id)
            request.serves.book.commit()
            if data.draw(st.booleans()):
                request.asks.book.countersigned(earned, request.serves.id)
                request.asks.book.commit()

    @rule(who=st.integers(0, 2))
    def crash(self, who: int) -> None:
        """Something is signed, not committed, and therefore was never sent."""
        node, other = self.nodes[who], self.nodes[who - 1]
        before = node.book.balance()
        node.book.open(
            other.id, node.rid(), MODEL, prompt_tokens=3, max_completion=3, price_prompt=1, price_completion=1
        )
        node.crash()
        assert node.book.balance() == before
        assert not node.book.damage

    @rule(ms=st.integers(0, 20_000))
    def time_passes(self, ms: int) -> None:
        self.world.clock.pass_ms(ms)

    @invariant()
    def nobody_earns_what_nobody_spent(self) -> None:
        for one in self.nodes:
            for two in self.nodes:
                ahead = one.book.peer(two.id).consumed - two.book.peer(one.id).served
                in_flight = sum(
                    read_form(settle, one.book.net).entry.amount
                    for peer, _, settle in one.book.unanswered()
                    if peer == two.id
                )
                assert 0 <= ahead <= in_flight

    @invariant()
    def holds_are_those_of_open_requests(self) -> None:
        for node in self.nodes:
            held = sum(
                r.prompt * r.price.prompt + r.most * r.price.completion
                for r in self.requests
                if r.asks is node and not r.settle
            )
            assert node.book.balance().held == held == sum(entry.hold for entry in node.book.open_holds())

    def _everything_arrives(self) -> None:
        """In the end all messages are sent again, and every account fits every other to the last ucr."""
        for request in self.requests:
            if not request.settle:
                request.asks.book.void(request.rid)
                request.asks.book.commit()
        for node in self.nodes:
            for peer, _, settle in node.book.unanswered():
                node.pay(next(other for other in self.nodes if other.id == peer), settle)
        for one in self.nodes:
            for two in self.nodes:
                assert one.book.peer(two.id).owes_us == -two.book.peer(one.id).owes_us
        assert sum(node.book.balance().balance for node in self.nodes) == 0
        files = []
        for node in self.nodes:
            files.append(node.path.with_suffix(".ogwl"))
            files[-1].write_bytes(node.export())
            report = verify(files[-1], limits=LATER)
            assert report.exit <= 1
            assert {f.code for f in report.findings} <= {"W_PAIRTIME"}, report.findings
            assert report.totals == tuple(node.book.balance()[1:4])
        for first, second in ((0, 1), (1, 2), (2, 0)):
            assert verify_pair(files[first], files[second], limits=LATER).exit <= 1


@pytest.mark.timeout(180)
def test_money_is_neither_made_nor_lost_whatever_happens() -> None:
    run_state_machine_as_test(
        Economy,
        settings=settings(
            max_examples=15,
            stateful_step_count=30,
            deadline=None,
            suppress_health_check=list(HealthCheck),
            derandomize=True,
            phases=[Phase.generate],  # shrinking opens thousands of databases: minutes
        ),
    )


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_money_is_neither_made_nor_lost_in_long_histories() -> None:
    run_state_machine_as_test(
        Economy,
        settings=settings(
            max_examples=300, stateful_step_count=150, deadline=None, suppress_health_check=list(HealthCheck)
        ),
    )


def test_the_worker_rises_by_exactly_what_the_requester_falls(tmp_path: Path) -> None:
    with world(tmp_path) as here:
        ann, bob = here.node("ann"), here.node("bob")
        for completion in (1, 7, 50):
            before = ann.book.balance().balance, bob.book.balance().balance
            ann.ask(bob, completion=completion)
            fell = before[0] - ann.book.balance().balance
            rose = bob.book.balance().balance - before[1]
            assert fell == rose == 100 + completion * 100
        kinds = [line.kind for line in bob.book.history()]
        assert kinds.count("EARN") == [line.kind for line in ann.book.history()].count("SETTLE") == 3
        assert EARN != SETTLE
