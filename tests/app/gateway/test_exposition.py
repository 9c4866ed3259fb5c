"""What /metrics says: the text format, OpenTelemetry's names, and bounded labels."""

from __future__ import annotations

import re

from exposition_lab import job, text

from opengateway.app.gateway.meter import MOST_MODELS, MOST_OUTCOMES, OTHER, Meter
from opengateway.errors import EngineFailed, OpenGatewayError


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
