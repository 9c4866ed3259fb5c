"""What the kernel takes for granted about pykka (>= 4.4), private names included.

When one of these fails after an upgrade of pykka, its message says which fact has changed. The second
part holds what pykka does that the kernel exists to do otherwise: if one of those fails, pykka has
become better, and the kernel may be able to shrink.
"""

from __future__ import annotations

import importlib
import inspect
import queue
import threading
from typing import Any

import pykka
import pytest
from kernel_lab import poll
from pykka import ActorDeadError, ActorRegistry, ThreadingActor, ThreadingFuture


class Bare(ThreadingActor):
    use_daemon_thread = True

    def on_receive(self, message: Any) -> Any:
        return message(self) if callable(message) else message


class Tray:
    """An inbox that keeps what is put into it."""

    def __init__(self) -> None:
        self.mail: list[Any] = []

    def put(self, envelope: Any) -> None:
        self.mail.append(envelope)


def crash(error: BaseException) -> Any:
    def crash(_: object) -> None:
        raise error

    return crash


# -- what the kernel builds on ---------------------------------------------------------


@pytest.mark.parametrize(
    ("module", "name", "role"),
    [
        ("pykka._envelope", "Envelope", "wraps every message in a mailbox"),
        ("pykka.messages", "_ActorStop", "is what ref.stop() sends, and becomes an express Stop"),
        ("pykka.messages", "ProxyCall", "must not reach on_receive()"),
        ("pykka.messages", "ProxyGetAttr", "must not reach on_receive()"),
        ("pykka.messages", "ProxySetAttr", "must not reach on_receive()"),
    ],
)
def test_a_name_that_the_kernel_imports_is_still_there(module: str, name: str, role: str) -> None:
    assert hasattr(importlib.import_module(module), name), (
        f"pykka no longer has {module}.{name}, which {role}"
    )


@pytest.mark.parametrize(
    "name", ["_start_actor_loop", "_handle_receive", "_handle_failure", "_create_future", "_stop"]
)
def test_a_method_that_the_kernel_overrides_or_calls_is_still_there(name: str) -> None:
    assert callable(getattr(ThreadingActor, name, None)), f"pykka's actor no longer has {name}()"


def test_pykka_has_no_kind_of_message_that_the_kernel_does_not_know() -> None:
    kinds = {
        name
        for name, kind in vars(pykka.messages).items()
        if inspect.isclass(kind) and hasattr(kind, "_fields")
    }
    assert kinds == {"_ActorStop", "ProxyCall", "ProxyGetAttr", "ProxySetAttr"}, (
        "pykka has a new or renamed message of its own: Actor._handle_receive must pass it on"
    )


def test_an_envelope_is_a_message_and_where_to_reply_compared_by_identity() -> None:
    from pykka._envelope import Envelope

    envelope = Envelope("message", None)
    assert (envelope.message, envelope.reply_to) == ("message", None), (
        "Envelope(message, reply_to) has changed"
    )
    assert envelope != Envelope("message", None), (
        "Envelopes are compared by value: Mailbox._take_back takes the wrong"
    )


def test_a_ref_puts_envelopes_into_whatever_inbox_it_has_been_given() -> None:
    from pykka._envelope import Envelope
    from pykka.messages import _ActorStop

    actor, tray = Bare(), Tray()
    ref = actor.actor_ref
    ref.actor_inbox = tray  # type: ignore[assignment]
    ref.tell("told")
    future = ref.ask("asked", block=False)
    ref.stop(block=False)
    assert [type(mail) for mail in tray.mail] == [Envelope] * 3, (
        "a ref no longer puts an Envelope into actor_inbox"
    )
    assert tray.mail[0].reply_to is None, "tell() now expects a reply"
    assert tray.mail[1].reply_to is future, (
        "the future that ask() returns is no longer the envelope's reply_to"
    )
    assert type(tray.mail[2].message) is _ActorStop, "stop() no longer sends _ActorStop"


def test_ask_makes_its_future_with_the_actors_create_future() -> None:
    class Mine(ThreadingFuture[Any]):
        pass

    class Maker(Bare):
        @staticmethod
        def _create_future() -> Any:
            return Mine()

    actor = Maker()
    actor.actor_ref.actor_inbox = Tray()  # type: ignore[assignment]
    assert type(actor.actor_ref.ask("x", block=False)) is Mine, (
        "ask() no longer calls actor_class._create_future()"
    )


def test_an_actor_that_was_made_but_not_started_has_no_thread_and_is_not_registered() -> None:
    before = threading.active_count()
    actor = Bare()
    assert threading.active_count() == before, "making an actor now starts a thread"
    assert actor.actor_ref not in ActorRegistry.get_all(), "making an actor now registers it"
    assert not actor.actor_stopped.is_set(), "actor_stopped is set before the start"


def test_the_registry_takes_and_gives_up_refs_and_forgives_a_second_unregister() -> None:
    ref = Bare().actor_ref
    ActorRegistry.register(ref)
    assert ref in ActorRegistry.get_all(), "ActorRegistry.register() does not register"
    ActorRegistry.unregister(ref)
    ActorRegistry.unregister(ref)
    assert ref not in ActorRegistry.get_all(), "ActorRegistry.unregister() does not unregister"


def test_a_stop_unregisters_sets_the_flag_and_hands_a_failing_on_stop_to_handle_failure() -> None:
    failures: list[Any] = []

    class Failing(Bare):
        def on_stop(self) -> None:
            raise OSError

        def _handle_failure(self, *failure: Any) -> None:
            failures.append(failure)

    actor = Failing()
    ActorRegistry.register(actor.actor_ref)
    actor._stop()
    assert actor.actor_stopped.is_set(), "_stop() no longer sets actor_stopped, which ends our loop"
    assert actor.actor_ref not in ActorRegistry.get_all(), "_stop() no longer unregisters"
    assert [failure[0] for failure in failures] == [OSError], (
        "_stop() no longer calls _handle_failure(type, error, tb)"
    )


def test_a_future_holds_one_result_under_one_condition_and_refuses_a_second() -> None:
    future: ThreadingFuture[int] = ThreadingFuture()
    assert future._result is None, "an unanswered future's _result is not None: Reply.answered is wrong"
    with future._condition:
        pass  # Reply.then() decides under it whether the answer is there
    future.set(1)
    assert future._result is not None, "an answered future's _result is None"
    with pytest.raises(queue.Full):
        future.set(2)
    with pytest.raises(queue.Full):
        future.set_exception((OSError, OSError(), None))
    assert future.get(timeout=0) == 1, "a second set() now replaces the result of a future"


def test_a_future_raises_the_error_that_it_was_given_and_timeout_if_nothing_came() -> None:
    future: ThreadingFuture[int] = ThreadingFuture()
    with pytest.raises(pykka.Timeout):
        future.get(timeout=0)
    error = OSError("x")
    future.set_exception((OSError, error, None))
    with pytest.raises(OSError) as caught:
        future.get(timeout=0)
    assert caught.value is error, "a future raises a copy of its error"


# -- what the kernel does otherwise ------------------------------------------------------


def test_pykka_leaves_an_actor_alive_that_failed_while_being_asked() -> None:
    ref = Bare.start()
    with pytest.raises(ValueError):
        ref.ask(crash(ValueError()))
    assert ref.is_alive(), "pykka now ends an actor that fails while being asked, as the kernel does"
    ref.stop()


def test_pykka_raises_in_whoever_tells_a_dead_actor() -> None:
    ref = Bare.start()
    ref.stop()
    with pytest.raises(ActorDeadError):
        ref.tell("hello?")


def test_pykka_calls_no_hook_when_on_start_fails(caplog: pytest.LogCaptureFixture) -> None:
    hooks: list[str] = []

    class Failing(Bare):
        def on_start(self) -> None:
            raise OSError("port in use")

        def on_stop(self) -> None:
            hooks.append("on_stop")

        def on_failure(self, *_: Any) -> None:
            hooks.append("on_failure")

    ref = Failing.start()
    poll(lambda: not ref.is_alive())
    assert hooks == [], "pykka now calls a hook when on_start() fails: on_exit could be built on it"
    assert "port in use" in caplog.text


def test_pykka_stops_everyone_when_one_handler_exits() -> None:
    bystander, leaver = Bare.start(), Bare.start()
    leaver.tell(crash(SystemExit()))
    poll(lambda: not bystander.is_alive())


def test_pykkas_stop_waits_behind_the_backlog() -> None:
    ref = Bare.start()
    gate = threading.Event()
    done: list[int] = []
    ref.tell(lambda _: gate.wait(10))
    for i in range(10):
        ref.tell(lambda _, i=i: done.append(i))
    stopped = ref.stop(block=False)
    gate.set()
    assert stopped.get(timeout=10) is True
    assert len(done) == 10, "pykka's stop now overtakes: the express lane may be unnecessary"
