"""The simulation of waiting times, small: classes in their order, and nobody who is let in starves."""

from __future__ import annotations

from opengateway.routing.priority import HEAD_START, Service
from tools.bench.waiting import measure


def test_on_a_busy_node_the_owner_waits_least_and_a_newcomer_within_its_bound() -> None:
    rows = {row["class"]: row for row in measure(slots=4, seconds=8.0, load=2.0, hours=0.5, seed=7)}
    means = [float(rows[service.name.lower()]["mean_s"]) for service in Service]
    assert means == sorted(means)
    assert int(rows["stranger"]["begun"]) > 10
    # The head start, and then what may be ahead of it: a full queue of answers of 8 s on average.
    assert float(rows["stranger"]["in_queue_max_s"]) < HEAD_START[Service.STRANGER] + 60
    assert float(rows["owner"]["gave_up_percent"]) == 0


def test_below_its_capacity_nearly_everybody_is_served() -> None:
    rows = measure(slots=4, seconds=8.0, load=0.7, hours=0.5, seed=7)
    assert all(float(row["gave_up_percent"]) < 5 for row in rows)
