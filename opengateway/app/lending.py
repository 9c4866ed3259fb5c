"""What of this machine is lent, and when: the Gauge, who notices its owner, as node.py wires it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from actors.gauge import Gauge
from actors.messages import Paused
from opengateway.hours import read_span
from opengateway.models.idle import Policy
from opengateway.sections import ContributeConfig

if TYPE_CHECKING:
    from opengateway.app.node import Node


def gauge(node: Node) -> Gauge:
    return Gauge(
        node.home.path,
        measured=node.measured,
        policy=policy_of(node.config.contribute),
        paused=lambda why: node.registry.tell(Paused(why)),
        engines_elsewhere=node.config.engine.kind in ("auto", "ollama", "openai"),
    )


def policy_of(contribute: ContributeConfig) -> Policy:
    return Policy(
        contribute.when,
        tuple(read_span(text) for text in contribute.hours),
        on_battery=contribute.on_battery,
        busy_percent=float(contribute.busy_percent),
    )
