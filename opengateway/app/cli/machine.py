"""gauge, resources, eligible: this machine, with or without a running node."""

from __future__ import annotations

from typing import Any

from opengateway.app.cli import session
from opengateway.app.cli.lifecycle import Json
from opengateway.app.cli.output import emit_json, facts, gigabytes, number, seconds, table
from opengateway.app.cli.tables import Column
from opengateway.app.client import NodeClient, connect
from opengateway.errors import NotRunning


def gauge(*, as_json: Json = False) -> None:
    """Measure this machine anew, with a short benchmark."""
    from opengateway.models.benchmark import benchmark

    measured = _ask("POST") or _measure()
    measured["benchmark"] = benchmark().as_json()
    _show(measured, as_json=as_json)


def resources(*, as_json: Json = False) -> None:
    """What this machine has, and how busy it is."""
    _show(_ask("GET") or _measure(), as_json=as_json)


def eligible(*, as_json: Json = False) -> None:
    """Which models this machine may serve, and why not the others."""
    client = _running()
    tiers = client.get("/node/eligible")["tiers"] if client else _tiers()
    if as_json:
        emit_json({"tiers": tiers})
        return
    columns = (
        Column("MODEL", style="cyan"),
        Column("MAY SERVE"),
        Column("CORES", "right", drop=4),
        Column("RAM", "right", drop=3),
        Column("GPU", "right", drop=2),
        Column("DISK", "right", drop=1),
        Column("WHY NOT, OR ITS NAME IN OLLAMA", fold=50),
    )
    rows = []
    for tier in tiers:
        needs, yes = tier["needs"], tier["eligible"]
        reason = ", ".join(tier["ollama"][:1]) if yes else "; ".join(tier["why"])
        serving = "serving" if tier.get("serving") else "yes"
        rows.append(
            (
                tier["name"],
                serving if yes else "no",
                needs["cores"],
                needs["ram_gb"],
                needs["gpu_gb"],
                needs["disk_gb"],
                reason,
            )
        )
    table(columns, rows, empty="")


def _running() -> NodeClient | None:
    try:
        return connect(session.home())
    except NotRunning:
        return None


def _ask(method: str) -> dict[str, Any] | None:
    """What the running node knows of its machine; None without one."""
    client = _running()
    if client is None:
        return None
    answer = client.post("/node/gauge") if method == "POST" else client.get("/node/resources")
    return dict(answer)


def _measure() -> dict[str, Any]:
    from opengateway.models.machine import measure_load, measure_machine

    folder = session.home().path
    machine, load = measure_machine(folder), measure_load(folder)
    return {"machine": machine.as_json(), "load": load.as_json(), "speeds": [], "measured_s_ago": 0.0}


def _tiers() -> list[dict[str, Any]]:
    from opengateway.models.catalog import eligible as verdicts
    from opengateway.models.machine import measure_machine

    return [
        verdict.as_json() | {"serving": False} for verdict in verdicts(measure_machine(session.home().path))
    ]


def _show(measured: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        emit_json(measured)
        return
    machine, load = measured["machine"], measured.get("load") or {}
    bench, speeds = measured.get("benchmark"), measured.get("speeds") or []
    gpus = [f"{gpu['name']}, {gigabytes(gpu['memory_bytes'])}" for gpu in machine.get("gpus") or []]
    facts(
        [
            (
                "System",
                str(machine["system"]) + (" (container limits apply)" if machine.get("contained") else ""),
            ),
            (
                "CPU",
                f"{machine['cpu']}, {machine['cores']} usable, {machine['physical_cores']} physical cores",
            ),
            ("RAM", _of(load.get("ram_free_bytes"), machine["ram_bytes"])),
            ("GPU", "\n".join(gpus) or "none found"),
            ("Disk", _of(machine["disk_free_bytes"], machine["disk_total_bytes"])),
            ("Load", _load(load)),
            ("Battery", _battery(load)),
            ("Speed", "\n".join(_speed(found) for found in speeds)),
            ("Benchmark", _benchmark(bench)),
            (
                "Measured",
                f"{seconds(measured['measured_s_ago'])} ago" if measured.get("measured_s_ago") else "",
            ),
        ]
    )


def _of(free: int | None, total: int) -> str:
    return gigabytes(total) + (f", {gigabytes(free)} free" if free is not None else "")


def _load(load: dict[str, Any]) -> str:
    if "cpu_percent" not in load:
        return ""
    every, owner = number(load["cpu_percent"], 0), number(load["owner_cpu_percent"], 0)
    return f"CPU {every} % busy, {owner} % with other work than this node's"


def _battery(load: dict[str, Any]) -> str:
    if load.get("battery_percent") is None:
        return ""
    return f"{number(load['battery_percent'], 0)} %, {'plugged in' if load.get('plugged') else 'on battery'}"


def _speed(speed: dict[str, Any]) -> str:
    return (
        f"{speed['model']}: prompt {number(speed.get('prompt_tps')) or '?'} tokens/s, "
        f"generation {number(speed.get('generate_tps')) or '?'} tokens/s"
    )


def _benchmark(bench: dict[str, Any] | None) -> str:
    if not bench:
        return ""
    copies, hashes = bench["copy_gbps"], bench["hash_gbps"]
    return f"score {bench['score']} (one core: copies {copies} GB/s, hashes {hashes} GB/s)"
