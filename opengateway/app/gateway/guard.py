"""Who may talk to the port: checks of Host, Origin and the control token.

A page on the internet can make a browser send requests to 127.0.0.1. With DNS rebinding its Host is a
name of the attacker's, without it its Origin is: either gives it away. Addresses in Host are fine, since a
rebound page cannot have one. A request that a page makes without an Origin (an image, a link) says in
Sec-Fetch-Site that it comes from elsewhere.
"""

from __future__ import annotations

import hmac
import ipaddress
from collections.abc import Iterable
from urllib.parse import urlsplit

from multidict import CIMultiDictProxy

from opengateway.errors import OpenGatewayError, Unauthorized


class ForbiddenOrigin(OpenGatewayError):
    """The request comes from a web page that this node does not serve."""

    code = "forbidden_origin"
    status = 403


class Guard:
    def __init__(self, names: Iterable[str], origins: Iterable[str] = ()) -> None:
        """`names`: hosts that are this node, beside localhost and plain addresses. `origins`: of pages
        elsewhere that the owner lets use it."""
        self._names = frozenset(name.lower() for name in names) | {"localhost"}
        self._origins = frozenset(origins)
        self._last = ""
        """The last Host that was found to be ours: nearly all requests have the same."""

    def check(self, headers: CIMultiDictProxy[str]) -> None:
        """Raises `ForbiddenOrigin` unless Host is an address or a name of ours, and Origin, if any, too."""
        host = headers.get("Host", "")
        if host and host != self._last and not self._ours(host):
            raise ForbiddenOrigin(
                f"the Host {host[:80]!r} is not this node's",
                hint="use http://127.0.0.1 or http://localhost, or name it in http.names",
            )
        self._last = host
        origin = headers.get("Origin")
        if origin is None:
            if headers.get("Sec-Fetch-Site") == "cross-site" and headers.get("Sec-Fetch-Mode") != "navigate":
                raise ForbiddenOrigin("pages from elsewhere may not use this node")
        elif origin not in self._origins:
            self._check_page(host, origin)

    def check_own_page(self, headers: CIMultiDictProxy[str]) -> None:
        """For what is the owner's alone: pages elsewhere that may ask the models may not do this."""
        if (origin := headers.get("Origin")) is not None:
            self._check_page(headers.get("Host", ""), origin)

    def _check_page(self, host: str, origin: str) -> None:
        netloc = _netloc(origin)
        if not netloc or not (netloc == host or self._ours(netloc, loopback_only=True)):
            raise ForbiddenOrigin(
                f"pages from {origin[:80]!r} may not use this node", hint="http.origins names those that may"
            )

    def _ours(self, netloc: str, *, loopback_only: bool = False) -> bool:
        name = netloc.rpartition("@")[2]
        if name.startswith("["):
            name = name[1:].partition("]")[0]
        elif name.count(":") == 1:
            name = name.partition(":")[0]
        if name.lower() in self._names:
            return True
        try:
            address = ipaddress.ip_address(name)
        except ValueError:
            return False
        return address.is_loopback if loopback_only else True


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
