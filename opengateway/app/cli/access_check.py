"""What `opengateway doctor` looks at of who may use the HTTP port."""

from __future__ import annotations

from collections.abc import Iterator

from opengateway.app.cli.check import Check
from opengateway.app.gateway.api_keys import KeyFile
from opengateway.app.gateway.tls import server_context
from opengateway.config import Config
from opengateway.home import Home

LOCAL = ("127.0.0.1", "::1", "localhost")


def check_access(home: Home, config: Config) -> Iterator[Check]:
    http, keys = config.http, KeyFile(home.api_keys).all()
    tls = server_context(http.certificate, http.certificate_key)  # says so if the files cannot be used
    if http.host in LOCAL:
        yield Check("access", "ok", "the HTTP port is for this machine only")
    elif not keys:
        yield Check(
            "access",
            "fail",
            f"http.host {http.host} wants API keys, and there is none",
            "opengateway keys add NAME",
        )
    elif tls is None:
        text = f"others reach {http.host} with {len(keys)} keys, which cross the network readable"
        yield Check("access", "warn", text, "set http.certificate and http.certificate_key, or use a tunnel")
    else:
        yield Check("access", "ok", f"others reach {http.host} over TLS with {len(keys)} keys")
