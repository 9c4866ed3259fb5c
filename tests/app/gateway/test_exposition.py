"""What /metrics says: the text format, OpenTelemetry's names, and bounded labels."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from actors.messages import Job
from opengateway.app.gateway.exposition import exposition
from opengateway.app.gateway.meter import MOST_MODELS, MOST_OUTCOMES, OTHER, Meter
from opengateway.engines.protocol import GenerateRequest
from opengateway.engines.stream import Finished, Route, Stream
from opengateway.errors import EngineFailed, OpenGatewayError


def job(
    model: str = "m", kind: Any = "chat", *, tokens: int = 11, error: OpenGatewayError | None = None
) -> Job:
    """One that was asked at 0 s, had its first token at 0.5 s and its last at 1.5 s."""
    made = Job(GenerateRequest(kind, model, {}), Stream())
    stream = made.stream
    stream.opened(Route("node", "name", "lan", model))
    stream.put(["word"])
    if error is None:
        stream.finish(Finished("stop", 7, tokens))
    else:
        stream.fail(error)
    stream.first_at, stream.ended_at = stream.created + 0.5, stream.created + 1.5
    return made


def text(meter: Meter, **more: Any) -> str:
    return exposition(meter, **{"jobs": {}, "wire": {}, "me": {}, "credit": {}, "actors": [], **more})


def samples(found: str) -> dict[str, float]:
    lines = [line for line in found.splitlines() if not line.startswith("#")]
    return {line.rpartition(" ")[0]: float(line.rpartition(" ")[2]) for line in lines}


def test_every_family_has_help_and_type_before_its_samples_and_stands_once() -> None:
    meter = Meter()
    meter.answered(job())
    meter.served(job(), None)
    credit = {
        "balance": -3,
        "held": 0,
        "owed_to_us": 1,
        "owed_by_us": 4,
        "earned": 1,
        "spent": 4,
        "entries": 9,
    }
    found = text(meter, wire={"counters": {"sent": 2}}, credit=credit, me={"by_ring": {"lan": 1}})
    families: dict[str, str] = {}
    current = ""
    for line in found.splitlines():
        if line.startswith("# HELP "):
            current = line.split(" ")[2]
            assert current not in families, f"{current} stands twice"
            families[current] = ""
        elif line.startswith("# TYPE "):
            assert line.split(" ")[2] == current
            families[current] = line.split(" ")[3]
        else:
            name = re.split(r"[{ ]", line)[0]
            ending = r"(_bucket|_sum|_count)$" if families[current] == "histogram" else r"$^"
            assert re.sub(ending, "", name) == current, line
    assert set(families.values()) == {"counter", "gauge", "histogram"}
    assert all(name.endswith("_total") for name, kind in families.items() if kind == "counter")


def test_the_names_and_labels_are_opentelemetrys() -> None:
    meter = Meter()
    meter.answered(job("tiny"))
    meter.served(job("tiny", tokens=11), None)
    found = samples(text(meter))
    labels = 'gen_ai_provider_name="opengateway",gen_ai_operation_name="chat",gen_ai_request_model="tiny"'
    assert found[f"gen_ai_server_time_to_first_token_seconds_sum{{{labels}}}"] == 0.5
    assert found[f"gen_ai_server_request_duration_seconds_sum{{{labels}}}"] == 1.5
    assert found[f"gen_ai_server_time_per_output_token_seconds_sum{{{labels}}}"] == 0.1
    assert found[f"gen_ai_client_operation_duration_seconds_count{{{labels}}}"] == 1
    assert found[f'gen_ai_client_token_usage_sum{{{labels},gen_ai_token_type="input"}}'] == 7
    assert found[f'gen_ai_client_token_usage_sum{{{labels},gen_ai_token_type="output"}}'] == 11


def test_buckets_add_up_to_the_count() -> None:
    meter = Meter()
    for tokens in (1, 4, 5, 1000, 10_000_000):
        meter.answered(job(tokens=tokens))
    found = samples(text(meter))
    buckets = [
        value for name, value in found.items()
        if name.startswith("gen_ai_client_token_usage_bucket") and 'type="output"' in name
    ]  # fmt: skip
    assert buckets == sorted(buckets)
    assert buckets[:3] == [1, 2, 3]
    assert buckets[-2:] == [4, 5]


def test_an_error_is_a_label_and_counts_no_tokens() -> None:
    meter = Meter()
    broken = EngineFailed("it broke")
    meter.served(job(error=broken), broken)
    found = text(meter)
    assert f'error_type="{broken.code}"' in found
    assert "gen_ai_server_time_per_output_token_seconds_count{" not in found
    assert "opengateway_served_tokens_total{" not in found


def test_labels_that_others_make_up_are_bounded() -> None:
    meter = Meter()
    for number in range(500):
        code = type("Odd", (OpenGatewayError,), {"code": f"odd_{number}"})
        meter.answered(job(f"model-{number}", error=code("x")))
        meter.served(job(f"model-{number}"), None)
    found = text(meter)
    assert len(set(re.findall(r'gen_ai_request_model="([^"]*)"', found))) == MOST_MODELS + 1
    assert len(set(re.findall(r'outcome="([^"]*)"', found))) == MOST_OUTCOMES + 1
    assert f'gen_ai_request_model="{OTHER}"' in found
    assert len(found) < 400_000


def test_what_others_make_up_cannot_break_a_line() -> None:
    meter = Meter()
    meter.answered(job('evil"} 1\nopengateway_slots 99\\'))
    found = text(meter)
    assert 'gen_ai_request_model="evil\\"} 1\\nopengateway_slots 99\\\\"' in found
    assert "\nopengateway_slots 99" not in found


def test_every_family_in_the_grafana_dashboard_is_one_that_a_node_has() -> None:
    panels = json.loads((Path(__file__).parents[3] / "docs/grafana/opengateway.json").read_text())["panels"]
    asked = " ".join(target["expr"] for panel in panels for target in panel["targets"])
    wanted = set(re.findall(r"\b(?:opengateway|gen_ai|process)_\w+(?=\{)", asked))
    credit = dict.fromkeys(("balance", "held", "owed_to_us", "owed_by_us", "earned", "spent", "entries"), 1)
    there = set(re.findall(r"# TYPE (\w+)", text(Meter(), credit=credit)))
    assert len(wanted) > 12
    assert {re.sub(r"_bucket$", "", name) for name in wanted} <= there
