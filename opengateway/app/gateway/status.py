"""What `status` says in sentences: how reachable the node is, how its engine does, what is wrong."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from actors.kernel import Address, describe
from opengateway import __version__
from opengateway.config import Config
from opengateway.discovery.clocks import FIX
from opengateway.home import Home
from opengateway.identity import Identity, base32, short
from opengateway.models.catalog import eligible, tier_of
from opengateway.models.machine import Machine
from opengateway.routing.views import WorkerView
from opengateway.units import NetworkId

MISPLACED = "neighbours whose answers come too fast say that they are far from there"
PLACE_FIX = "set it: opengateway config set region CODE"


@dataclass(slots=True)
class Facts:
    """What does not change while the node runs, and the few things that are learnt once."""

    node_id: str
    short: str
    name: str
    version: str
    home: str
    region: str
    country: str
    network: dict[str, Any]
    born: float
    http_url: Callable[[], str]
    engine_kind: str = "auto"
    engine_hint: str = ""
    machine: Machine | None = None
    lan: bool = True
    log: str = ""
    extra: list[dict[str, str]] = field(default_factory=list)
    """Warnings that the start gave."""

    def fixed(self) -> dict[str, Any]:
        names = ("node_id", "short", "name", "version", "home", "region", "country", "network")
        return {name: getattr(self, name) for name in names}


def facts_of(
    home: Home, config: Config, identity: Identity, net: NetworkId, *, http_url: Callable[[], str]
) -> Facts:
    return Facts(
        node_id=base32(identity.node_id),
        short=short(identity.node_id),
        name=config.name,
        version=__version__,
        home=str(home.path),
        region=config.place.code,
        country=config.place.country,
        network={"name": config.network.name, "private": bool(config.network.secret), "id": net.hex()},
        born=time.monotonic(),
        http_url=http_url,
        engine_kind=config.engine.kind,
        lan=config.lan.enabled,
    )


def reachability(me: Mapping[str, Any], facts: Facts) -> dict[str, str]:
    """How peers reach this node, and what would improve it, in one sentence."""
    endpoints = me.get("endpoints") or []
    outside = [e for e in endpoints if "127.0.0.1" not in e and "[::1]" not in e]
    if not endpoints:
        return {"kind": "unknown", "text": "the port for peers is not open"}
    reached = me.get("reached") or {}
    kind, proven = str(reached.get("kind", "unknown")), list(reached.get("endpoints") or ())
    if kind in ("direct", "mapped") and proven:
        forwarded = f"through a port that your router forwards ({reached.get('mapping') or 'as you told it'})"
        how = "directly" if kind == "direct" else forwarded
        return {"kind": kind, "text": f"{how}, at {_host_port(proven[0])}, as peers elsewhere have tried"}
    if kind == "unreachable":
        port = endpoints[0].rpartition(":")[2]
        problem = str(reached.get("mapping_problem") or "")
        forward = f"forward TCP port {port} on your router to be reached directly"
        forward += f" ({problem})" if problem else ""
        relays = list(me.get("relay_names") or ())
        if relays:
            return {"kind": "relayed", "text": f"relayed through {' and '.join(relays)}: {forward}"}
        return {
            "kind": "unreachable",
            "text": f"by nobody elsewhere, and nobody relays to it yet: {forward}",
        }
    if not outside:
        return {"kind": "loopback", "text": "programs on this machine only: it has no other network address"}
    how = "found by itself on this link" if facts.lan else "known to whom you give its address"
    return {"kind": "lan", "text": f"{how}, at {_host_port(outside[0])}"}


def _host_port(endpoint: str) -> str:
    return endpoint.removeprefix("tcp://")


def engine_state(workers: Mapping[str, WorkerView], busy: int, facts: Facts) -> dict[str, Any]:
    if not workers:
        return {"name": "", "state": "none", "detail": facts.engine_hint, "slots": 0, "busy": 0}
    views = list(workers.values())
    order = ("running", "starting", "down")
    best = min(views, key=lambda view: order.index(view.state))
    return {
        "name": ", ".join(dict.fromkeys(view.engine for view in views)),
        "state": best.state,
        "detail": "; ".join(f"{view.name}: {view.detail}" for view in views if view.detail),
        "slots": sum(view.slots for view in views if view.state == "running"),
        "busy": busy,
    }


def warnings(  # noqa: PLR0917 - six sources of trouble
    root: Address[Any],
    workers: Mapping[str, WorkerView],
    me: Mapping[str, Any] | None,
    wire: Mapping[str, Any] | None,
    peers: list[Any],
    facts: Facts,
) -> list[dict[str, str]]:
    """What the owner should know, each with what to do."""
    found = list(facts.extra)
    found += [
        _warn(f"{row.name} is {row.state}: {row.error}", "`opengateway logs` has the details")
        for row in describe(root)
        if row.state in ("failed", "backoff", "abandoned")
    ]
    if not workers and facts.engine_kind != "none":
        found.append(_warn("this node serves nothing, so it earns nothing", facts.engine_hint))
    found += _too_small(workers, facts)
    if me is not None:
        for name in ("record_problem", "cluster_warning", "cache_problem"):
            if me.get(name):
                found.append(_warn(str(me[name]), "`opengateway doctor` looks closer"))
        if (clock := me.get("clock") or {"ok": True}) and not clock["ok"]:
            found.append(_warn(f"this computer's clock: {clock['text']}", FIX))
        if (me.get("places") or {}).get("ours"):
            found.append(_warn(f"this node is not in {facts.region}: {MISPLACED}", PLACE_FIX))
        if me.get("paused") and me.get("state") != "client":
            hint = "`opengateway config get contribute` shows when you lend it"
            found.append(_warn(f"others are not served now: {me['paused']}", hint))
        if not peers:
            for why in list((me.get("dial_errors") or {}).values())[:3]:  # each names the address
                found.append(_warn(why, "check the address, the network name and its secret"))
    if wire is not None and facts.lan and wire.get("lan_problem"):
        found.append(_warn(str(wire["lan_problem"]), "connect by address: `opengateway connect HOST:PORT`"))
    return found


def further_warnings(
    credit: Mapping[str, Any] | None, discovery: Mapping[str, Any] | None
) -> list[dict[str, str]]:
    return _read_only(credit) + _search_warnings(discovery)


def _search_warnings(discovery: Mapping[str, Any] | None) -> list[dict[str, str]]:
    """What keeps this node from finding others, or others from finding it."""
    found = []
    dht, bootstrap = (discovery or {}).get("dht") or {}, (discovery or {}).get("bootstrap") or {}
    if dht.get("enabled") and dht.get("problem"):
        hint = "`opengateway doctor` looks closer; without one: opengateway config set dht.enabled false"
        found.append(_warn(str(dht["problem"]), hint))
    if bootstrap.get("problem"):
        found.append(_warn(str(bootstrap["problem"]), "opengateway bootstrap verify FILE says why"))
    return found


def _read_only(credit: Mapping[str, Any] | None) -> list[dict[str, str]]:
    """Why nothing is signed any more, and what would change that."""
    state = (credit or {}).get("witnesses") or {}
    if not state.get("read_only"):
        return []
    peers = ", ".join(state.get("waits_for") or [])
    hint = f"connect to those it dealt with last: {peers}" if peers else "`opengateway doctor` looks closer"
    return [_warn(f"nothing is earned or paid: {state['read_only']}", hint)]


def _too_small(workers: Mapping[str, WorkerView], facts: Facts) -> list[dict[str, str]]:
    if facts.machine is None:
        return []
    refused = {
        verdict.tier.name: verdict.why_not for verdict in eligible(facts.machine) if not verdict.eligible
    }
    found = []
    for view in workers.values():
        for model in view.models:
            tier = tier_of(model.name)
            if tier is not None and tier.name in refused:
                why = "; ".join(refused[tier.name])
                found.append(
                    _warn(f"{model.name} is too large for this machine: {why}", "serve a smaller model")
                )
    return found


def _warn(text: str, hint: str) -> dict[str, str]:
    return {"text": text, "hint": hint}
