"""What of this machine is lent, and when: the Gauge, who notices its owner, as node.py wires it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from actors.gauge import Gauge
from actors.messages import OwnerBusy

if TYPE_CHECKING:
    from opengateway.app.node import Node


def gauge(node: Node) -> Gauge:
    lent_when_idle = node.config.contribute.when == "idle"
    told = (lambda busy: node.registry.tell(OwnerBusy(busy))) if lent_when_idle else None
    return Gauge(node.home.path, measured=node.measured, owner_busy=told)
