"""The Grafana dashboard against what a node has: its queries parsed as PromQL, its layout looked at."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import promql_parser as promql
import pytest
from exposition_lab import job, text
from prometheus_client.metrics_core import Metric
from prometheus_client.parser import text_string_to_metric_families

from actors.kernel import Actor, Address, describe
from opengateway.app.gateway.meter import Meter
from opengateway.errors import EngineFailed

BOARD: dict[str, Any] = json.loads((Path(__file__).parents[3] / "docs/grafana/opengateway.json").read_text())
TARGETS = [
    pytest.param(target, id=f"{panel['title']} {target['refId']}")
    for panel in BOARD["panels"]
    for target in panel["targets"]
]
VARIABLES = {"$instance": "a", "$__rate_interval": "1m", "$__interval": "1m", "${source}": "x"}
SCRAPED = {"instance", "job"}
"""Labels that Prometheus adds itself."""


def everything() -> str:
    """/metrics of a node to which all has happened."""
    meter = Meter()
    for error in (None, EngineFailed("it broke")):
        meter.answered(job(error=error))
        meter.served(job(error=error), error)
    credit = dict.fromkeys(("balance", "held", "owed_to_us", "owed_by_us", "earned", "spent", "entries"), 1)
    return text(
        meter,
        jobs={"running": 1, "queued": 1, "slots": 2, "busy": 1, "failover": {"resumed": 1}},
        wire={"counters": {"frames_sent": 1}},
        me={"by_ring": {"lan": 1}, "by_path": {"direct": 1}, "refused": {"stale": 1}, "places": {"total": 1}},
        credit=credit,
        actors=describe(Address("scheduler", Actor)),
        turned_away={"malformed": 1},
    )


@pytest.fixture(scope="module")
def families() -> dict[str, Metric]:
    """By the name that stands in TYPE."""
    parsed = text_string_to_metric_families(everything())
    return {f"{one.name}_total" if one.type == "counter" else one.name: one for one in parsed}


def labels(family: Metric) -> set[str]:
    assert family.samples, f"{family.name} has no sample here"
    return SCRAPED.union(*(sample.labels for sample in family.samples))


def parse(query: str) -> promql.Expr:
    for name, value in VARIABLES.items():
        query = query.replace(name, value)
    assert "$" not in query
    return promql.parse(query)


def walk(expr: Any) -> Iterator[Any]:
    """The expression and all that it is made of."""
    yield expr
    for name in ("expr", "lhs", "rhs", "param", "vector_selector"):
        if (inner := getattr(expr, name, None)) is not None:
            yield from walk(inner)
    if isinstance(expr, promql.Call):
        for argument in expr.args:
            yield from walk(argument)


def read_from(expr: Any, families: dict[str, Metric]) -> tuple[str, Metric]:
    """The series that a selector names, and their family."""
    [name] = {one.name for one in walk(expr) if isinstance(one, promql.VectorSelector)}
    assert name is not None
    base = re.sub(r"_(bucket|sum|count)$", "", name)
    family = families.get(name) or families.get(base)
    assert family is not None, f"no node has {name}"
    assert name in {sample.name for sample in family.samples}, f"{family.name} has no series {name}"
    return name, family


@pytest.mark.parametrize("target", TARGETS)
def test_a_query_reads_what_a_node_has_and_as_what_it_is(
    target: dict[str, Any], families: dict[str, Metric]
) -> None:
    whole = parse(target["expr"])
    name, family = read_from(whole, families)
    known = labels(family)
    grouped: set[str] = set()
    rated = False
    for part in walk(whole):
        if isinstance(part, promql.VectorSelector):
            assert {matcher.name for matcher in part.matchers.matchers} <= known
            assert any(matcher.name == "instance" for matcher in part.matchers.matchers)
        if isinstance(part, promql.AggregateExpr) and part.modifier is not None:
            grouped |= set(part.modifier.labels)
        if isinstance(part, promql.Call):
            rated = rated or part.func.name in ("rate", "increase")
            if part.func.name == "histogram_quantile":
                assert name.endswith("_bucket")
                assert "le" in {label for one in walk(part) for label in _grouping(one)}
    assert grouped <= known
    # A counter or a histogram says nothing by itself, and the rate of a gauge nothing at all.
    assert rated is (family.type in ("counter", "histogram"))
    assert set(re.findall(r"{{(\w+)}}", target["legendFormat"])) <= grouped


def _grouping(part: Any) -> list[str]:
    modifier = part.modifier if isinstance(part, promql.AggregateExpr) else None
    return list(modifier.labels) if modifier is not None else []


def test_every_panel_has_its_place_its_unit_and_the_source_that_was_chosen() -> None:
    panels = BOARD["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    taken: Counter[tuple[int, int]] = Counter()
    for panel in panels:
        place = panel["gridPos"]
        assert place["x"] >= 0
        assert place["x"] + place["w"] <= 24, panel["title"]
        cells = range(place["w"] * place["h"])
        taken.update((place["x"] + c % place["w"], place["y"] + c // place["w"]) for c in cells)
        assert panel["fieldConfig"]["defaults"]["unit"]
        ids = [target["refId"] for target in panel["targets"]]
        assert len(set(ids)) == len(ids)
        for one in (panel, *panel["targets"]):
            assert one["datasource"] == {"type": "prometheus", "uid": "${source}"}
    assert max(taken.values()) == 1, "panels lie on each other"
    assert {one["name"] for one in BOARD["templating"]["list"]} == {"source", "instance"}


def test_the_nodes_to_choose_from_are_those_that_have_the_series(families: dict[str, Metric]) -> None:
    [chosen] = [one for one in BOARD["templating"]["list"] if one["name"] == "instance"]
    match = re.fullmatch(r"label_values\((\w+), instance\)", chosen["query"]["query"])
    assert match is not None
    assert match[1] in families


def test_prometheus_own_client_reads_metrics_without_a_complaint(families: dict[str, Metric]) -> None:
    assert {family.type for family in families.values()} == {"counter", "gauge", "histogram"}
    for family in families.values():
        assert family.documentation
        assert family.samples, family.name
