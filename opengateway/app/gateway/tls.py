"""TLS of the HTTP port, by certificate files."""

from __future__ import annotations

import ssl
from pathlib import Path

from opengateway.errors import ConfigInvalid


def server_context(certificate: str, key: str) -> ssl.SSLContext | None:
    """None where no certificate is configured. Raises `ConfigInvalid` with what is wrong with the files."""
    if not certificate and not key:
        return None
    if not certificate:
        raise ConfigInvalid(
            "http.certificate_key is set without http.certificate",
            hint="opengateway config set http.certificate FILE.pem",
        )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    chain, private = (Path(name).expanduser() if name else None for name in (certificate, key))
    try:
        # A password would be asked for on a terminal that a node in the background does not have.
        context.load_cert_chain(str(chain), private, password=_no_password)
    except OSError as error:
        reason = error.reason if isinstance(error, ssl.SSLError) else error.strerror
        raise ConfigInvalid(
            f"http.certificate ({certificate}) and http.certificate_key ({key or 'in the same file'})"
            f" cannot be used: {reason or error}",
            hint="both must be PEM files, belong together, and have no passphrase",
        ) from error
    return context


def client_context(certificate: str) -> ssl.SSLContext:
    """For this machine's own commands: they trust the very certificate that the node was given, whatever name
    it is for, and nothing else."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    context.load_verify_locations(Path(certificate).expanduser())
    return context


def _no_password() -> str:
    return ""
