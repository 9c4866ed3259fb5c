"""service: the node starts at login, by systemd or launchd, without root."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Annotated

import typer

from opengateway.app.cli import session
from opengateway.app.cli.lifecycle import Json
from opengateway.app.cli.output import emit_json, note, say
from opengateway.app.service_files import Kind, Service, own_command
from opengateway.errors import OpenGatewayError
from opengateway.home import write_atomically

app = typer.Typer(
    help="Start the node at login: a systemd unit of the user, or a launchd agent.", no_args_is_help=True
)

PrintOnly = Annotated[bool, typer.Option("--print", help="Print the file and change nothing.")]
KindOption = Annotated[
    str | None,
    typer.Option("--kind", metavar="KIND", help="systemd or launchd, not the system's own."),
]


class ServiceFailed(OpenGatewayError):
    """What manages services here refused."""

    code = "service_failed"


@app.command()
def install(*, print_only: PrintOnly = False, kind: KindOption = None, as_json: Json = False) -> None:
    """Write the service file, start the node by it now, and at every login."""
    service, chosen = _service(), _kind(kind)
    if print_only:
        sys.stdout.write(service.content(chosen).decode())
        return
    path = service.path(chosen, _user_folder(chosen))
    path.parent.mkdir(parents=True, exist_ok=True)
    session.home().prepare()  # launchd starts nothing whose log has no folder
    write_atomically(path, service.content(chosen))
    managed = _managed(chosen)
    if managed:
        _stop_running()
        _start(service, chosen, path)
    if as_json:
        emit_json({"file": str(path), "kind": chosen, "started": managed})
        return
    say(f"wrote {path}")
    if not managed:
        note(f"{chosen} does not run for you here: start the node with `opengateway start`")
    elif chosen == "systemd":
        note("the node runs now and starts when you log in; at boot, too, after: loginctl enable-linger")
    else:
        note("the node runs now and starts when you log in")


@app.command()
def remove(*, kind: KindOption = None, as_json: Json = False) -> None:
    """Stop the node and take the service file away. Configuration, key and credit stay."""
    service, chosen = _service(), _kind(kind)
    path = service.path(chosen, _user_folder(chosen))
    there = path.exists()
    if there:
        if _managed(chosen):
            _end(service, chosen, path)
        path.unlink()
        if chosen == "systemd" and _managed(chosen):
            _run("systemctl", "--user", "daemon-reload")
    if as_json:
        emit_json({"file": str(path), "kind": chosen, "removed": there})
    else:
        say(f"removed {path}" if there else "no service is installed")


def _service() -> Service:
    home = session.home().path
    return Service(own_command(), home, default=home == Path.home() / ".opengateway")


def _kind(asked: str | None) -> Kind:
    if asked in ("systemd", "launchd"):
        return "launchd" if asked == "launchd" else "systemd"
    if asked is not None:
        raise session.WrongUsage(f'--kind is systemd or launchd, not "{asked}"', hint="leave it out")
    return "launchd" if sys.platform == "darwin" else "systemd"


def _user_folder(kind: Kind) -> Path:
    if kind == "launchd":
        return Path.home()
    return Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config")


def _managed(kind: Kind) -> bool:
    """Whether what starts services runs for this user: not in a container, nor over a bare `su`."""
    if kind == "launchd":
        return sys.platform == "darwin" and shutil.which("launchctl") is not None
    shown = ("systemctl", "--user", "show-environment")
    return shutil.which("systemctl") is not None and _quietly(*shown).returncode == 0


def _stop_running() -> None:
    """A node that was started by hand holds the home's lock: the service takes over from it."""
    from opengateway.app import daemon

    home = session.home()
    if home.running_pid() is not None:
        note("the node that runs now ends, and starts again as a service")
        daemon.stop(home)


def _start(service: Service, kind: Kind, path: Path) -> None:
    if kind == "launchd":
        domain = f"gui/{os.getuid()}"
        _quietly("launchctl", "bootout", f"{domain}/{service.label}")  # an older version of it
        _run("launchctl", "bootstrap", domain, str(path))
        return
    unit = f"{service.name}.service"
    _run("systemctl", "--user", "daemon-reload")
    _run("systemctl", "--user", "enable", "--quiet", unit)
    _run("systemctl", "--user", "restart", unit)


def _end(service: Service, kind: Kind, path: Path) -> None:
    if kind == "launchd":
        _quietly("launchctl", "bootout", f"gui/{os.getuid()}", str(path))
    else:
        _quietly("systemctl", "--user", "disable", "--now", "--quiet", f"{service.name}.service")


def _quietly(*command: str) -> subprocess.CompletedProcess[str]:
    # Names and options of our own; the one path is the file that we wrote.
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)  # noqa: S603


def _run(*command: str) -> None:
    done = _quietly(*command)
    if done.returncode:
        raise ServiceFailed(
            f"`{' '.join(command)}` failed: {(done.stderr or done.stdout).strip()[-300:]}",
            hint="the file is there; `opengateway start` works without it",
        )
