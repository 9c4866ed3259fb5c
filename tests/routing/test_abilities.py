"""A request goes only where it can be honoured."""

from __future__ import annotations

from dataclasses import replace

from opengateway.errors import AllBusy, Unsupported
from opengateway.routing.market import Choice, Market
from opengateway.routing.views import PeerView, ServedModel, WorkerView
from opengateway.units import NodeId

SEES = {"chat": "messages", "vision": "messages[0].content"}
HERE = WorkerView("engine-a", "openai", "running", (ServedModel("m", abilities=("chat", "seed")),), 2)


def peer(number: int, *abilities: str, model: str = "m") -> PeerView:
    node = NodeId(bytes([number]) * 32)
    return PeerView(node, f"peer{number}", "lan", 1.0, 2, (ServedModel(model, abilities=abilities),))


def market(*peers: PeerView) -> Market:
    made = Market()
    made.worker_changed(HERE)
    made.peers_changed(peers, now=0.0)
    return made


def ask(made: Market, needs: dict[str, str], model: str = "m") -> object:
    return made.choose(model, "anywhere", now=0.0, tried=frozenset(), needs=needs)


def test_a_request_passes_over_the_nearest_place_that_cannot_honour_it() -> None:
    able = peer(1, "chat", "vision")
    choice = ask(market(able), SEES)
    assert isinstance(choice, Choice)
    assert choice.place == able.node_id
    near = ask(market(able), {"chat": "messages"})
    assert isinstance(near, Choice)
    assert near.place == "engine-a"


def test_where_nobody_can_the_field_is_named_and_not_the_model_said_to_be_unknown() -> None:
    error = ask(market(peer(1, "chat", "tools")), SEES)
    assert isinstance(error, Unsupported)
    assert (error.param, error.status) == ("messages[0].content", 400)
    assert "`messages[0].content`" in error.message


def test_who_can_but_is_busy_is_waited_for() -> None:
    able = peer(1, "chat", "vision")
    made = market(able)
    for _ in range(2):
        made.took(able.node_id)
    assert isinstance(ask(made, SEES), AllBusy)


def test_a_record_that_says_nothing_is_believed_to_chat_and_to_complete_and_no_more() -> None:
    silent = market(peer(1, model="other"))
    assert isinstance(ask(silent, {"chat": "messages"}, "other"), Choice)
    assert isinstance(ask(silent, {"embedding": "input"}, "other"), Unsupported)


def test_a_request_that_names_no_model_gets_one_that_can_honour_it() -> None:
    blind = replace(HERE, models=(ServedModel("big", parameters_m=9000, abilities=("chat",)),))
    made = market(peer(1, "chat", "vision"))
    made.worker_changed(blind)
    choice = ask(made, SEES, "")
    assert isinstance(choice, Choice)
    assert choice.model.name == "m"


def test_a_worker_judges_a_peers_request_by_its_own_body() -> None:
    made = market(peer(1, "chat"))
    asker = NodeId(bytes([1]) * 32)
    assert isinstance(made.choose_here("m", asker, private=True, needs={"chat": "messages"}), Choice)
    assert isinstance(made.choose_here("m", asker, private=True, needs=SEES), Unsupported)
