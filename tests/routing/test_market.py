"""Whom the node asks: the decisions alone, with views made up by hypothesis."""

from __future__ import annotations

from dataclasses import dataclass, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from opengateway.errors import AllBusy, EngineFailed, UnknownModel
from opengateway.routing.market import PENALTY, Choice, Market, Place
from opengateway.routing.placement import FRIENDLY, PATIENCE_TPS, RINGS
from opengateway.routing.views import PeerView, Price, ServedModel, WorkerView
from opengateway.units import NodeId

MODELS = ("smollm:360m", "llama-3.1:8b", "tinyllama")
SCOPES = ("local", "friends", "anywhere")


def peer_id(number: int) -> NodeId:
    return NodeId(bytes([number]) * 32)


def worker(name: str = "engine-a", *models: str, slots: int = 2, state: str = "running") -> WorkerView:
    return WorkerView(name, "pocket", state, tuple(ServedModel(m) for m in models or MODELS[:1]), slots)


def peer(number: int, *models: str, ring: str = "lan", rtt_ms: float = 1.0, slots: int = 2) -> PeerView:
    served = tuple(ServedModel(m, generate_tps=50.0) for m in models or MODELS[:1])
    return PeerView(peer_id(number), f"peer{number}", ring, rtt_ms, slots, served)


def market(*views: WorkerView | PeerView, default: str = "") -> Market:
    made = Market(default)
    for view in views:
        if isinstance(view, WorkerView):
            made.worker_changed(view)
    made.peers_changed(tuple(view for view in views if isinstance(view, PeerView)), now=0.0)
    return made


def chosen(made: Market, model: str = MODELS[0], scope: str = "anywhere", **more: object) -> Choice:
    choice = made.choose(model, scope, now=0.0, tried=frozenset(), **more)  # type: ignore[arg-type]
    assert isinstance(choice, Choice), choice
    return choice


# -- for every network ----------------------------------------------------------------------


@dataclass(frozen=True)
class World:
    """One picture of a network, and how many requests are where."""

    views: tuple[WorkerView | PeerView, ...]
    busy: dict[Place, int]
    penalised: frozenset[Place]
    tried: frozenset[Place]

    def market(self) -> Market:
        made = market(*self.views)
        for place, count in self.busy.items():
            for _ in range(count):
                made.took(place)
        for place in self.penalised:
            made.failed(place, EngineFailed(), now=0.0)
        return made

    def place(self, place: Place) -> WorkerView | PeerView:
        return next(v for v in self.views if place == (v.name if isinstance(v, WorkerView) else v.node_id))

    def free(self, place: Place) -> bool:
        view = self.place(place)
        down = isinstance(view, WorkerView) and view.state != "running"
        return not down and self.busy.get(place, 0) < view.slots

    def ring(self, place: Place) -> str:
        view = self.place(place)
        return view.ring if isinstance(view, PeerView) else "local"


@st.composite
def worlds(draw: st.DrawFn) -> World:
    some = st.lists(st.sampled_from(MODELS), max_size=3, unique=True)
    workers = [
        replace(
            worker(f"engine-{n}", slots=draw(st.integers(0, 3))),
            models=tuple(ServedModel(m) for m in draw(some)),
            state=draw(st.sampled_from(("running", "starting", "down"))),
        )
        for n in range(draw(st.integers(0, 2)))
    ]
    peers = [
        replace(
            peer(n + 1, slots=draw(st.integers(0, 3)), ring=draw(st.sampled_from(RINGS[1:]))),
            rtt_ms=draw(st.none() | st.floats(0, 500)),
            models=tuple(ServedModel(m, generate_tps=draw(st.floats(0, 200))) for m in draw(some)),
        )
        for n in range(draw(st.integers(0, 5)))
    ]
    views = (*workers, *peers)
    places: list[Place] = [v.name if isinstance(v, WorkerView) else v.node_id for v in views]
    counts = {place: draw(st.integers(0, 4)) for place in places}
    subset = st.frozensets(st.sampled_from(places)) if places else st.just(frozenset[Place]())
    return World(views, counts, draw(subset), draw(subset))


@given(worlds(), st.sampled_from(MODELS), st.sampled_from(SCOPES))
def test_a_choice_is_free_untried_in_scope_and_serves_the_model(world: World, model: str, scope: str) -> None:
    choice = world.market().choose(model, scope, now=0.0, tried=world.tried)
    if not isinstance(choice, Choice):
        return
    assert choice.place not in world.tried
    assert world.free(choice.place)
    assert choice.model.name == model
    assert choice.model in world.place(choice.place).models
    assert scope != "local" or isinstance(choice.place, str)
    assert scope != "friends" or choice.ring in FRIENDLY


@given(worlds(), st.sampled_from(MODELS), st.sampled_from(SCOPES))
def test_no_nearer_ring_has_a_free_place_that_has_not_just_failed(
    world: World, model: str, scope: str
) -> None:
    choice = world.market().choose(model, scope, now=0.0, tried=world.tried)
    if not isinstance(choice, Choice):
        return
    rivals: list[Place] = []
    for view in world.views:
        place: Place = view.name if isinstance(view, WorkerView) else view.node_id
        # One that is known to be slower than a reader loses what being near gives it.
        serves = any(m.name == model and not 0 < m.generate_tps < 2 * PATIENCE_TPS for m in view.models)
        if serves and world.free(place) and not {place} & (world.tried | world.penalised):
            rivals.append(place)
    nearer = [p for p in rivals if RINGS.index(world.ring(p)) < RINGS.index(choice.ring)]
    assert not [p for p in nearer if scope != "local" or isinstance(p, str)]
    if rivals and scope == "anywhere":
        assert choice.place not in world.penalised


@given(worlds(), st.sampled_from(MODELS), st.sampled_from(SCOPES))
def test_busy_means_that_somebody_serves_it_and_nobody_could_take_it(
    world: World, model: str, scope: str
) -> None:
    choice = world.market().choose(model, scope, now=0.0, tried=world.tried)
    serving = []
    for view in world.views:
        place: Place = view.name if isinstance(view, WorkerView) else view.node_id
        reachable = {"local": ("local",), "friends": tuple(FRIENDLY)}.get(scope, RINGS)
        if any(m.name == model for m in view.models) and world.ring(place) in reachable:
            serving.append(place)
    if isinstance(choice, AllBusy):
        assert serving
        assert not [p for p in serving if world.free(p) and p not in world.tried]
        assert choice.retry_after is not None
    elif isinstance(choice, UnknownModel):
        assert not serving


# -- single decisions -------------------------------------------------------------------------


def test_this_node_answers_itself_while_it_has_a_free_slot() -> None:
    made = market(worker(slots=1), peer(1))
    assert chosen(made).place == "engine-a"
    made.took("engine-a")
    assert chosen(made).place == peer_id(1)
    made.gave_back("engine-a")
    assert chosen(made).place == "engine-a"


def test_the_nearest_ring_wins_over_a_faster_machine_far_away() -> None:
    far = replace(peer(2, ring="world"), models=(ServedModel(MODELS[0], generate_tps=1000.0),))
    assert chosen(market(far, peer(1, ring="country"))).place == peer_id(1)


def test_within_a_ring_the_machine_that_finishes_first_wins() -> None:
    slow = replace(peer(1, rtt_ms=1), models=(ServedModel(MODELS[0], generate_tps=5.0),))
    fast = replace(peer(2, rtt_ms=40), models=(ServedModel(MODELS[0], generate_tps=80.0),))
    assert chosen(market(slow, fast)).place == peer_id(2)


def test_a_place_that_failed_is_asked_last_and_only_for_a_while() -> None:
    made = market(peer(1, ring="lan"), peer(2, ring="world"))
    made.failed(peer_id(1), EngineFailed(), now=0.0)
    assert chosen(made).place == peer_id(2)
    later = made.choose(MODELS[0], "anywhere", now=PENALTY + 0.1, tried=frozenset())
    assert isinstance(later, Choice)
    assert later.place == peer_id(1)


def test_an_answer_ends_the_penalty_at_once() -> None:
    made = market(peer(1, ring="lan"), peer(2, ring="world"))
    made.failed(peer_id(1), EngineFailed(), now=0.0)
    made.succeeded(peer_id(1))
    assert chosen(made).place == peer_id(1)


def test_a_request_that_waits_does_not_go_back_before_its_time() -> None:
    made = market(peer(1))
    made.failed(peer_id(1), AllBusy(retry_after=2.0), now=0.0)
    asked = {"tried": frozenset[Place](), "patient": True}
    assert isinstance(made.choose(MODELS[0], "anywhere", now=1.0, **asked), AllBusy)
    assert isinstance(made.choose(MODELS[0], "anywhere", now=2.1, **asked), Choice)
    assert isinstance(made.choose(MODELS[0], "anywhere", now=1.0, tried=frozenset()), Choice)


def test_a_peer_that_comes_back_comes_back_without_blame() -> None:
    made = market(peer(1, ring="lan"), peer(2, ring="world"))
    made.failed(peer_id(1), EngineFailed(), now=0.0)
    made.peers_changed((peer(2, ring="world"),), now=0.1)
    made.peers_changed((peer(1, ring="lan"), peer(2, ring="world")), now=0.2)
    assert chosen(made).place == peer_id(1)


def test_a_peer_cannot_ask_for_an_endless_penalty() -> None:
    made = market(peer(1, ring="lan"), peer(2, ring="world"))
    made.failed(peer_id(1), AllBusy(retry_after=1e9), now=0.0)
    later = made.choose(MODELS[0], "anywhere", now=61.0, tried=frozenset())
    assert isinstance(later, Choice)
    assert later.place == peer_id(1)


def test_a_peers_request_is_answered_here_or_not_at_all() -> None:
    made = market(worker(slots=0), peer(1))
    choice = made.choose(MODELS[0], "anywhere", now=0.0, tried=frozenset(), here=True)
    assert isinstance(choice, AllBusy)


def test_a_worker_that_is_down_keeps_its_models_and_gets_no_jobs() -> None:
    made = market(worker(state="down"))
    assert isinstance(made.choose(MODELS[0], "anywhere", now=0.0, tried=frozenset()), AllBusy)


@pytest.mark.parametrize("asked", ["TinyLlama", "tinyllama:latest", " tinyllama "])
def test_case_and_latest_do_not_tell_models_apart(asked: str) -> None:
    assert chosen(market(worker("engine-a", "tinyllama")), asked).model.name == "tinyllama"


def test_a_typo_is_answered_with_what_was_probably_meant() -> None:
    error = market(peer(1, "tinyllama")).choose("tinylama", "anywhere", now=0.0, tried=frozenset())
    assert isinstance(error, UnknownModel)
    assert error.hint == "did you mean tinyllama?"


def test_nobody_at_all_is_said_so_with_what_to_do() -> None:
    error = market().choose("x", "anywhere", now=0.0, tried=frozenset())
    assert isinstance(error, UnknownModel)
    assert error.message == "this node serves no model, and no peer is connected"
    assert "opengateway connect" in error.hint


def test_the_hint_never_names_a_model_out_of_scope() -> None:
    error = market(peer(1, "tinyllama")).choose("tinyllama", "local", now=0.0, tried=frozenset())
    assert isinstance(error, UnknownModel)
    assert "tinyllama" not in error.hint


@pytest.mark.parametrize(
    ("default", "expected"), [("", "llama-3.1:8b"), ("tinyllama", "tinyllama"), ("gone", "llama-3.1:8b")]
)
def test_a_request_without_a_model_gets_the_configured_or_the_largest(default: str, expected: str) -> None:
    big = replace(peer(2), models=(ServedModel("llama-3.1:8b", parameters_m=8000),))
    small = replace(peer(1), models=(ServedModel("tinyllama", parameters_m=1100),))
    assert chosen(market(small, big, default=default), "").model.name == expected


def test_the_pocket_model_stands_in_only_where_there_is_no_real_one() -> None:
    demo = replace(worker(), models=(ServedModel("pocket", parameters_m=1, demo=True),))
    real = replace(peer(1), models=(ServedModel("tinyllama", parameters_m=1100),))
    assert chosen(market(demo, real), "").model.name == "tinyllama"
    assert chosen(market(demo), "").model.name == "pocket"


def test_everything_that_can_be_asked_for_is_listed_once() -> None:
    listed = market(worker("engine-a", "a", "b"), peer(1, "a"), peer(2, "A", ring="world")).describe()
    assert [(row["name"], row["nodes"], row["local"]) for row in listed] == [("a", 3, True), ("b", 1, True)]
    assert listed[0]["rings"] == {"local": 1, "lan": 1, "world": 1}


def test_peers_are_charged_our_price_for_a_model() -> None:
    view = replace(worker(), models=(ServedModel("a", price=Price(2, 6)),))
    assert market(view).local_price("A:latest") == Price(2, 6)
    assert market(view).local_price("b") == Price(0, 0)
