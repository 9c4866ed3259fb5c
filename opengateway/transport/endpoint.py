"""`tcp://host:port`, as people and records write it."""

from __future__ import annotations

import ipaddress
import re

_NAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9.-]{0,251}[A-Za-z0-9])?\.?")


def parse_endpoint(endpoint: str) -> tuple[str, int]:
    """Host (IPv6 without its brackets) and port. Raises `ValueError` with a sentence."""
    wrong = ValueError(f"{endpoint[:80]!r} is not an endpoint such as tcp://192.168.1.5:4001")
    scheme, _, rest = endpoint.partition("://")
    host, colon, port = rest.rpartition(":")
    if scheme != "tcp" or not colon or not port.isascii() or not port.isdigit() or len(port) > 5:
        raise wrong
    if not 0 < int(port) < 65536:
        raise wrong
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
        if not is_literal(host) or ":" not in host:
            raise wrong
    elif not _NAME.fullmatch(host):
        raise wrong
    return host, int(port)


def is_literal(host: str) -> bool:
    """Whether `host` is an address and no name."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
