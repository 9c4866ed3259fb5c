"""start, stop, restart, status, version."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from opengateway import __version__
from opengateway.app.cli import session
from opengateway.app.cli.output import emit_json, facts, is_terminal, note, parts, say, seconds
from opengateway.app.client import NodeClient
from opengateway.errors import ConfigInvalid, NotRunning, OpenGatewayError
from opengateway.schema import Value
from opengateway.units import show_credits

Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
EngineKind = Annotated[
    str | None,
    typer.Option("--engine", metavar="KIND", help="auto, none, pocket, llama_server, ollama or openai."),
]
RegionCode = Annotated[str | None, typer.Option("--region", metavar="CODE", help="Such as us-east-1.")]
Settings = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Any setting, for this run only. May be repeated."),
]


def start(
    *,
    foreground: Annotated[
        bool, typer.Option("--foreground", "-f", help="Stay here and log to the terminal too; Ctrl-C stops.")
    ] = False,
    engine: EngineKind = None,
    region: RegionCode = None,
    settings: Settings = None,
    invitation: Annotated[
        str | None,
        typer.Option("--invite", metavar="LINE", help="Join the network of this invitation; - reads it."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Start the node in the background, and wait until it takes requests."""
    from opengateway.app import daemon

    home, changes = session.home(), _changes(engine, region, settings)
    if invitation is not None:
        from opengateway.app.cli.accepting import accept

        note(f"joining the network {accept(home, invitation)}")
    if foreground:
        raise typer.Exit(daemon.foreground(home, changes))
    if not changes and (client := daemon.running(home, tell=note)) is not None:
        note(f"it was running already (pid {home.running_pid()})")
        _show(home_status(client), as_json=as_json)
        return
    client = daemon.start(home, changes, tell=note)
    _show(home_status(client), as_json=as_json)
    if not as_json and is_terminal():
        say('Ask it something: opengateway prompt "What is 2+2?"', style="dim")


def stop(*, as_json: Json = False) -> None:
    """Stop the node: running answers end, peers get a goodbye."""
    from opengateway.app import daemon

    try:
        pid: int | None = daemon.stop(session.home())
    except NotRunning:
        pid = None
    if as_json:
        emit_json({"stopped": pid is not None, "pid": pid})
    else:
        say("Node: not running" if pid is None else f"Node: stopped (pid {pid})")


def restart(
    *, engine: EngineKind = None, region: RegionCode = None, settings: Settings = None, as_json: Json = False
) -> None:
    """Stop the node if it runs, and start it anew."""
    from opengateway.app import daemon

    home, changes = session.home(), _changes(engine, region, settings)
    daemon.configure(home, changes)  # a mistake must not cost the running node
    if home.running_pid() is not None:
        daemon.stop(home)
    _show(home_status(daemon.start(home, changes, tell=note)), as_json=as_json)


def status(*, as_json: Json = False) -> None:
    """Whether the node runs, what it serves, who it knows, and what is wrong if something is."""
    home = session.home()
    pid = home.running_pid()
    if pid is not None and home.announced() is not None:
        _show(home_status(session.node()), as_json=as_json)
        return
    state = "not running" if pid is None else "starting or stopping"
    if as_json:
        emit_json({"running": False, "state": state, "pid": pid, "home": str(home.path)})
    elif pid is None:
        say("Node: not running")
        note("  hint: start it with `opengateway start`")
    else:
        say(f"Node: {state} (pid {pid})")
        note("  hint: follow it with `opengateway logs -f`")
    raise typer.Exit(1)


def version(*, as_json: Json = False) -> None:
    """The version of this program."""
    import platform

    if as_json:
        emit_json({"version": __version__, "python": platform.python_version()})
    else:
        say(f"opengateway {__version__}")


def _changes(engine: str | None, region: str | None, settings: list[str] | None) -> dict[str, Value]:
    from opengateway.config import known_key
    from opengateway.schema import typed

    changes: dict[str, Value] = {}
    for setting in settings or []:
        name, equals, text = setting.partition("=")
        if not equals:
            raise ConfigInvalid(
                f'--set wants KEY=VALUE, not "{setting}"', hint="for example --set http.port=0"
            )
        value = typed(known_key(name), text)
        changes[name] = tuple(value) if isinstance(value, list) else value
    if engine is not None:
        changes["engine.kind"] = engine
    if region is not None:
        changes["region"] = region
    return changes


def home_status(client: NodeClient) -> dict[str, Any]:
    found = client.get("/node/status")
    if not isinstance(found, dict):
        raise OpenGatewayError("the node's status cannot be read", hint="is it of another version?")
    return found


def _show(status: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        emit_json({"running": True, **status})
        return
    engine, peers, credit, jobs = (status.get(k) or {} for k in ("engine", "peers", "credit", "jobs"))
    network = status.get("network") or {}
    warnings = [
        item["text"] + (f"\n  {item['hint']}" if item.get("hint") else "")
        for item in status.get("warnings") or []
    ]
    facts(
        [
            ("Node", _running(status)),
            ("Name", f"{status.get('name')} ({status.get('short')})"),
            ("Region", f"{status.get('region')} ({status.get('country')})"),
            ("Network", f"{network.get('name')}{' (private)' if network.get('private') else ''}"),
            ("Clusters", ", ".join(status.get("clusters") or []) or "none"),
            ("Models", ", ".join(status.get("models") or []) or "none of its own"),
            ("Engine", _engine(engine, "".join(warnings))),
            ("Reachable", (status.get("reachability") or {}).get("text", "")),
            ("Found by", _found_by(status.get("discovery") or {})),
            ("Peers", f"{peers.get('total', 0)}" + _ring_list(peers.get("by_ring") or {})),
            ("Credit", _credit(credit)),
            ("Stamp", _stamp(status.get("stamp") or {})),
            (
                "Jobs",
                ", ".join(
                    f"{jobs[key]} {key}" for key in ("running", "queued", "done", "failed") if key in jobs
                ),
            ),
            ("HTTP", str(status.get("http", ""))),
            ("Warning", "\n".join(warnings)),
        ],
        style={"Node": "green", "Warning": "yellow"},
    )


def _found_by(discovery: dict[str, Any]) -> str:
    dht, bootstrap = discovery.get("dht") or {}, discovery.get("bootstrap") or {}
    ways = []
    if dht.get("running"):
        ways.append(f"a DHT of {dht['nodes']} other nodes" if dht.get("nodes") else "a DHT, still empty")
    if bootstrap.get("nodes"):
        ways.append(f"{bootstrap['nodes']} nodes of the bootstrap document")
    return ", ".join(ways)


def _engine(engine: dict[str, Any], warnings: str) -> str:
    detail = str(engine.get("detail") or "")
    # A detail that is a warning already is not told twice.
    more = f" ({detail})" if detail and detail not in warnings else ""
    if engine.get("state", "none") == "none":
        return f"none: prompts are answered by other nodes{more}"
    busy = f"{engine.get('busy', 0)} of {engine.get('slots', 0)} slots busy"
    return f"{engine.get('name')}, {engine['state']}, {busy}{more}"


def _running(status: dict[str, Any]) -> str:
    uptime = float(status.get("uptime_s") or 0.0)
    return f"running (pid {status['pid']})" + (f", for {seconds(uptime)}" if uptime >= 2 else "")


def _ring_list(rings: dict[str, int]) -> str:
    listed = parts(rings)
    return f" ({listed})" if listed else ""


def _stamp(stamp: dict[str, Any]) -> str:
    """Only while it is being made: strangers may have to wait for it."""
    if stamp.get("state") != "being made":
        return ""
    left = stamp.get("seconds")
    return "the identity stamp for strangers is being made" + (f", about {left} s" if left else "")


def _credit(credit: dict[str, int]) -> str:
    if not credit:
        return ""
    names = ("balance", "earned", "spent", "held", "earned_last_hour", "owed_to_us", "owed_by_us")
    balance, earned, spent, held, hour, owed, owe = (show_credits(int(credit.get(n, 0))) for n in names)
    history = f"earned {earned}, {hour} of it in the last hour; spent {spent}; held {held}"
    return f"{balance} ({history}; others owe us {owed}, we owe {owe})"
