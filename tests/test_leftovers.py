"""The guard that watches all other tests is watched here."""

from __future__ import annotations

import socket
import subprocess
import sys
import threading
import time

import leftovers
import pykka
import zmq


def left_by(before: leftovers.Snapshot) -> str:
    return "; ".join(leftovers.since(before))


def test_a_tidy_test_leaves_nothing() -> None:
    assert leftovers.since(leftovers.take()) == []


def test_a_thread_that_goes_on_is_named() -> None:
    before, done = leftovers.take(), threading.Event()
    thread = threading.Thread(target=done.wait, name="straggler")
    thread.start()
    assert "thread 'straggler'" in left_by(before)
    done.set()
    thread.join()
    assert left_by(before) == ""


def test_an_actor_that_was_not_stopped_is_named() -> None:
    class Idle(pykka.ThreadingActor):
        pass

    before = leftovers.take()
    ref = Idle.start()
    assert "actor Idle" in left_by(before)
    ref.stop()
    assert leftovers.wait_until_gone(before) == []


def test_a_listening_socket_is_named_with_its_port() -> None:
    before = leftovers.take()
    with socket.create_server(("127.0.0.1", 0)) as server:
        words = left_by(before)
        assert str(server.getsockname()[1]) in words
        assert "LISTEN" in words
    assert left_by(before) == ""


def test_a_zeromq_socket_is_counted_with_its_context() -> None:
    before = leftovers.take()
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    wire = context.socket(zmq.ROUTER)
    wire.bind("tcp://127.0.0.1:0")
    assert "ZeroMQ context with 1 open socket" in left_by(before)
    wire.close(linger=0)
    context.term()
    assert leftovers.wait_until_gone(before) == []


def test_a_child_process_is_named_and_can_be_ended() -> None:
    before = leftovers.take()
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as child:
        assert f"child process {child.pid}" in left_by(before)
        leftovers.end_children(before)
        assert left_by(before) == ""


def test_what_ends_by_itself_within_the_grace_is_forgiven() -> None:
    before = leftovers.take()
    thread = threading.Timer(0.02, lambda: None)
    thread.start()
    assert leftovers.wait_until_gone(before, grace_s=5) == []


def test_the_guard_costs_less_than_five_milliseconds() -> None:
    costs = []
    for _ in range(5):
        started = time.perf_counter()
        leftovers.wait_until_gone(leftovers.take())
        costs.append(time.perf_counter() - started)
    assert min(costs) < 0.005
