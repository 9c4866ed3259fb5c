"""Who may talk to the port: DNS rebinding, foreign pages, and the control token."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from multidict import CIMultiDict, CIMultiDictProxy

from opengateway.app.gateway.guard import ForbiddenOrigin, Guard, check_token
from opengateway.errors import OpenGatewayError, Unauthorized

GUARD = Guard(("127.0.0.1",))


def headers(**given: str) -> CIMultiDictProxy[str]:
    return CIMultiDictProxy(CIMultiDict(given))


@pytest.mark.parametrize(
    "host",
    [
        "",
        "127.0.0.1",
        "127.0.0.1:11435",
        "localhost",
        "LOCALHOST:80",
        "[::1]",
        "[::1]:11435",
        "192.168.1.5:1",
    ],
)
def test_our_own_names_and_plain_addresses_are_ours(host: str) -> None:
    GUARD.check(headers(Host=host))


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "evil.example:11435",
        "localhost.evil.example",
        "127.0.0.1.evil.example",
        "evil.example#127.0.0.1",
        "127.0.0.1@evil.example",
        "[evil]",
        "[",
        "::::",
        "127.0.0.1:80:80",
        "\udcff",
    ],
)
def test_a_rebound_name_is_not_ours(host: str) -> None:
    with pytest.raises(ForbiddenOrigin):
        GUARD.check(headers(Host=host))


@pytest.mark.parametrize("origin", ["http://127.0.0.1:3000", "http://localhost", "http://[::1]:8080"])
def test_pages_of_this_machine_may_use_the_node(origin: str) -> None:
    GUARD.check(headers(Host="127.0.0.1", Origin=origin))


@pytest.mark.parametrize(
    "origin",
    ["http://evil.example", "https://192.168.1.7", "null", "", "file://", "http://[", "http://a]b", "\udcff"],
)
def test_pages_from_elsewhere_may_not(origin: str) -> None:
    with pytest.raises(ForbiddenOrigin):
        GUARD.check(headers(Host="127.0.0.1", Origin=origin))


@pytest.mark.parametrize(
    "given",
    ["", "secret", "Bearer", "Bearer wrong", "Bearer secretx", "Basic secret", "Bearer \udcff", "Bearer ä"],
)
def test_only_the_token_opens_the_node(given: str) -> None:
    with pytest.raises(Unauthorized):
        check_token(headers(Authorization=given), "secret")


def test_the_token_opens_the_node() -> None:
    check_token(headers(Authorization="Bearer secret"), "secret")


@given(st.text(max_size=30), st.text(max_size=30), st.text(max_size=30))
def test_no_header_does_worse_than_a_refusal(host: str, origin: str, token: str) -> None:
    for check in (
        lambda: GUARD.check(headers(Host=host, Origin=origin)),
        lambda: check_token(headers(Authorization=token), "secret"),
    ):
        try:
            check()
        except OpenGatewayError as error:
            assert error.status in (401, 403)
