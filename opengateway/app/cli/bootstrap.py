"""bootstrap make, sign, verify, key: the signed list of nodes by which a network is entered."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from opengateway.app.cli import session
from opengateway.app.cli.lifecycle import Json, home_status
from opengateway.app.cli.output import emit_json, note, say
from opengateway.errors import OpenGatewayError

if TYPE_CHECKING:
    from opengateway.discovery.bootstrap import Bootstrap, Entry

app = typer.Typer(help="Signed lists of nodes by which others enter the network.", no_args_is_help=True)

DAY_MS = 24 * 3600 * 1000
Document = Annotated[Path, typer.Argument(metavar="FILE", help="The bootstrap document.")]


@app.command()
def make(
    file: Document,
    nodes: Annotated[
        list[str] | None, typer.Option("--node", metavar="ID@HOST:PORT", help="May be repeated.")
    ] = None,
    dht: Annotated[
        list[str] | None, typer.Option("--dht", metavar="HOST:PORT", help="A DHT node. May be repeated.")
    ] = None,
    days: Annotated[int, typer.Option(min=1, max=400, help="How long it is valid.")] = 90,
    *,
    as_json: Json = False,
) -> None:
    """Write an unsigned document for this node's network; without --node it names this node itself."""
    from opengateway.config import load
    from opengateway.discovery.bootstrap import Bootstrap, write
    from opengateway.identity import network_id

    network = load(session.home()).network
    if nodes or dht:
        found, entries = _nodes(nodes or []), dht or []
    else:
        found, entries = _this_node()
    now_ms = int(time.time()) * 1000
    document = Bootstrap(
        network_id(network.name, network.secret), now_ms, now_ms + days * DAY_MS, tuple(found), tuple(entries)
    )
    _put(file, write(document))  # read again by whoever signs it, so a mistake in it is told there, too
    if as_json:
        emit_json({"file": str(file), "nodes": len(found), "dht": len(entries), "days": days})
        return
    say(f"Wrote {file}: {len(found)} nodes, {len(entries)} DHT entries, valid for {days} days.")
    note(f"  hint: publishers sign it: opengateway bootstrap sign {file}")


@app.command()
def sign(
    file: Document,
    key: Annotated[
        Path | None, typer.Option("--key", metavar="KEYFILE", help="A publisher's key, not this node's own.")
    ] = None,
    *,
    as_json: Json = False,
) -> None:
    """Add a publisher's signature to the document, after you have read it."""
    from opengateway.discovery.bootstrap import sign as signed
    from opengateway.discovery.bootstrap import write
    from opengateway.identity import Identity, base32

    path = key.expanduser() if key is not None else session.home().identity_key
    if not path.exists():
        hint = "make one with `opengateway bootstrap key KEYFILE`" if key else "opengateway key show makes it"
        raise OpenGatewayError(f"there is no key in {path}", hint=hint)
    publisher = Identity.load_or_create(path)
    document = signed(_read(file), publisher)
    _put(file, write(document))
    if as_json:
        emit_json({"publisher": base32(publisher.node_id), "signatures": len(document.signatures)})
        return
    say(f"Signed {file} as {base32(publisher.node_id)}; it has {len(document.signatures)} signatures.")


@app.command()
def verify(
    file: Document,
    publishers: Annotated[
        list[str] | None, typer.Option("--publisher", metavar="ID", help="Instead of bootstrap.publishers.")
    ] = None,
    needed: Annotated[int | None, typer.Option(min=1, max=32, help="Instead of bootstrap.needed.")] = None,
    *,
    as_json: Json = False,
) -> None:
    """Whether this node would believe the document; exit code 1 and the reason if not."""
    from opengateway.config import load
    from opengateway.discovery.bootstrap import check
    from opengateway.identity import from_base32, network_id

    config = load(session.home())
    document = _read(file)
    try:
        trusted = tuple(from_base32(one) for one in publishers or config.bootstrap.publishers)
    except ValueError as error:
        raise session.WrongUsage(str(error), hint="`opengateway key show` prints an id") from error
    check(
        document,
        network_id(config.network.name, config.network.secret),
        trusted,
        needed or config.bootstrap.needed,
        now_ms=int(time.time() * 1000),
    )
    facts = {"nodes": len(document.nodes), "dht": len(document.dht), "expires_ms": document.expires_ms}
    if as_json:
        emit_json({"ok": True, **facts, "signatures": len(document.signatures)})
    else:
        left = (document.expires_ms - time.time() * 1000) / DAY_MS
        say(f"{file} is good: {facts['nodes']} nodes, {facts['dht']} DHT entries, for {left:.0f} days more")


@app.command("key")
def new_key(
    file: Annotated[Path, typer.Argument(metavar="KEYFILE", help="Where to keep it.")],
    *,
    as_json: Json = False,
) -> None:
    """Make a publisher's key, apart from any node's, and show its id for `bootstrap.publishers`."""
    from opengateway.identity import Identity, base32

    publisher = Identity.load_or_create(file.expanduser())
    if as_json:
        emit_json({"id": base32(publisher.node_id), "file": str(file)})
    else:
        say(base32(publisher.node_id))


def _nodes(given: list[str]) -> list[Entry]:
    from opengateway.discovery.addresses import entry_point, parse_endpoint
    from opengateway.discovery.bootstrap import Entry
    from opengateway.units import NodeId

    found: dict[bytes, list[str]] = {}
    for text in given:
        try:
            endpoint, node = entry_point(text)
            parse_endpoint(endpoint)
        except ValueError as error:
            raise session.WrongUsage(
                str(error), hint="--node ID@ADDRESS:PORT, an address, no name"
            ) from error
        if node is None:
            raise session.WrongUsage(f"{text} does not say who answers there", hint="--node ID@HOST:PORT")
        found.setdefault(node, []).append(endpoint)
    return [Entry(NodeId(node), tuple(endpoints)) for node, endpoints in found.items()]


def _this_node() -> tuple[list[Entry], list[str]]:
    from opengateway.discovery.addresses import is_public, parse_endpoint
    from opengateway.discovery.bootstrap import ENDPOINTS, Entry
    from opengateway.identity import from_base32

    status = home_status(session.node())
    # Everybody reads the document: what only this node's own network understands stays out of it.
    public = [text for text in status["wire"] if is_public(parse_endpoint(text)[0])]
    status = {**status, "wire": public or status["wire"]}
    endpoints = tuple(status["wire"][:ENDPOINTS])
    return [Entry(from_base32(status["node_id"]), endpoints)], dht_entries(status)


def dht_entries(status: dict[str, Any]) -> list[str]:
    """Where the DHT node of the running node is, as others may reach it."""
    dht = (status.get("discovery") or {}).get("dht") or {}
    wire = status.get("wire") or []
    if not dht.get("port"):
        return []
    return [f"{e.removeprefix('tcp://').rpartition(':')[0]}:{dht['port']}" for e in wire]


def _read(file: Path) -> Bootstrap:
    from opengateway.discovery.bootstrap import DOCUMENT_LIMIT, read

    try:
        with file.expanduser().open("rb") as opened:
            return read(opened.read(DOCUMENT_LIMIT + 1))
    except OSError as error:
        raise OpenGatewayError(
            f"cannot read {file}: {(error.strerror or str(error)).lower()}",
            hint="`opengateway bootstrap make FILE` begins one",
        ) from error


def _put(file: Path, content: bytes) -> None:
    from opengateway.home import write_atomically

    write_atomically(file.expanduser().absolute(), content)
