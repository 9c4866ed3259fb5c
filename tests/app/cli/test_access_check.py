"""What `doctor` says of who may use the HTTP port."""

from __future__ import annotations

from pathlib import Path

import pytest

from opengateway.app.cli.access_check import check_access
from opengateway.app.gateway.api_keys import KeyFile
from opengateway.config import parse
from opengateway.home import Home

TLS = Path(__file__).parents[2] / "data/tls"
FILES = {"certificate": str(TLS / "certificate.pem"), "certificate_key": str(TLS / "key.pem")}


@pytest.mark.parametrize(
    ("http", "keys", "state", "said"),
    [
        ({}, 0, "ok", "this machine only"),
        ({"host": "0.0.0.0"}, 0, "fail", "there is none"),
        ({"host": "0.0.0.0"}, 1, "warn", "readable"),
        ({"host": "0.0.0.0", **FILES}, 1, "ok", "TLS"),
    ],
)
def test_who_reaches_the_port_and_how_is_said(
    tmp_path: Path, http: dict[str, str], keys: int, state: str, said: str
) -> None:
    home = Home(tmp_path)
    for number in range(keys):
        KeyFile(home.api_keys).add(f"user{number}")
    [found] = check_access(home, parse({"http": http}))
    assert (found.state, said in found.text) == (state, True)
