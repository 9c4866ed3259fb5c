"""Who may talk to the port: checks of Host, Origin and the control token.

A page on the internet can make a browser send requests to 127.0.0.1. With DNS rebinding its Host is a
name of the attacker's, without it its Origin is: either gives it away. Addresses in Host are fine, since a
rebound page cannot have one.
"""

from __future__ import annotations

import hmac
import ipaddress
from urllib.parse import urlsplit

from multidict import CIMultiDictProxy

from opengateway.errors import OpenGatewayError, Unauthorized


class ForbiddenOrigin(OpenGatewayError):
    """The request comes from a web page that this node does not serve."""

    code = "forbidden_origin"
    status = 403


def check_host(headers: CIMultiDictProxy[str], own_host: str) -> None:
    """Raises `ForbiddenOrigin` unless Host is an address or a name of ours, and Origin, if any, too."""
    host = headers.get("Host", "")
    if host and not _ours(host, own_host):
        raise ForbiddenOrigin(
            f"the Host {host[:80]!r} is not this node's",
            hint="use http://127.0.0.1 or http://localhost",
        )
    origin = headers.get("Origin")
    if origin is not None and not _ours(_netloc(origin), own_host, loopback_only=True):
        raise ForbiddenOrigin(f"pages from {origin[:80]!r} may not use this node")


def check_token(headers: CIMultiDictProxy[str], token: str) -> None:
    """Raises `Unauthorized` without the control token; compared in constant time."""
    scheme, _, given = headers.get("Authorization", "").partition(" ")
    # What is no text in the header arrives as lone surrogates, which have no encoding.
    same = hmac.compare_digest(given.strip().encode(errors="replace"), token.encode())
    if scheme.lower() != "bearer" or not same:
        raise Unauthorized(
            "/node/* needs this node's control token",
            hint="send `Authorization: Bearer TOKEN` with the token in run/control.token of the node's home",
        )


def _netloc(origin: str) -> str:
    try:
        return urlsplit(origin).netloc
    except ValueError:  # "http://[" is no URL
        return ""


def _ours(netloc: str, own_host: str, *, loopback_only: bool = False) -> bool:
    name = netloc.rpartition("@")[2]
    if name.startswith("["):
        name = name[1:].partition("]")[0]
    elif name.count(":") == 1:
        name = name.partition(":")[0]
    if name.lower() in ("localhost", own_host.lower()):
        return True
    try:
        address = ipaddress.ip_address(name)
    except ValueError:
        return False
    return address.is_loopback if loopback_only else True
