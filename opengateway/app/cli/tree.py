"""Every command, in the groups that `--help` shows."""

from __future__ import annotations

from typing import Annotated, Any, Final

import typer
from typer.core import TyperGroup

from opengateway.app.cli import (
    actors,
    batch,
    bootstrap,
    credit,
    dashboard,
    doctor,
    examples,
    invite,
    key,
    keys,
    lifecycle,
    logs,
    machine,
    membership,
    model_files,
    prompt,
    rotate,
    service,
    settings,
    top,
    trace,
)
from opengateway.app.cli import map as network_map

HELP: Final = """Share this computer's idle time as AI inference, and use everyone else's in return.

First: `opengateway start`, then `opengateway prompt "What is 2+2?"`."""

INTERRUPTED: Final = 130  # 128 + SIGINT, as shells count

NODE, NETWORK, MACHINE, UPKEEP = "The node", "The network", "This machine", "Upkeep"
JSON: Final = "Every listing takes --json. Exit code: 0 fine, 1 failed, 2 wrong usage."


class ReaderLeft(Exception):
    """Whoever read our output has seen enough, as `head` does."""


class Commands(TyperGroup):
    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except BrokenPipeError as error:  # Typer would make a failure of it
            raise ReaderLeft from error
        except KeyboardInterrupt as error:  # its older versions print a line and exit 1
            raise typer.Exit(INTERRUPTED) from error


def build() -> typer.Typer:
    app = typer.Typer(
        cls=Commands,
        help=HELP,
        epilog=JSON,
        no_args_is_help=True,
        rich_markup_mode="rich",
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.callback()(_options)

    def add(panel: str, function: object, name: str = "", *, hidden: bool = False) -> None:
        app.command(name or None, rich_help_panel=panel, hidden=hidden)(function)  # type: ignore[type-var]

    add(NODE, lifecycle.start)
    add(NODE, lifecycle.stop)
    add(NODE, lifecycle.restart)
    add(NODE, lifecycle.status)
    add(NODE, dashboard.dashboard)
    add(NODE, top.top)
    add(NETWORK, prompt.prompt)
    add(NETWORK, trace.trace)
    add(NETWORK, batch.batch)
    add(NETWORK, membership.peers)
    add(NETWORK, network_map.show_map, "map")
    add(NETWORK, membership.clusters)
    add(NETWORK, membership.connect)
    add(NETWORK, membership.disconnect)
    add(NETWORK, membership.connect, "join", hidden=True)
    add(NETWORK, invite.invite)
    add(NETWORK, membership.disconnect, "leave", hidden=True)
    app.add_typer(model_files.app, name="models", rich_help_panel=NETWORK)
    app.add_typer(bootstrap.app, name="bootstrap", rich_help_panel=NETWORK)
    credit.app.command("repair")(rotate.repair)
    app.add_typer(credit.app, name="ledger", rich_help_panel=NETWORK)
    # The tool has options of its own, and is a command of its own for who has no node.
    passed_on = {"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": []}
    app.command(rich_help_panel=NETWORK, context_settings=passed_on, add_help_option=False)(credit.audit)
    add(MACHINE, machine.gauge)
    add(MACHINE, machine.resources)
    add(MACHINE, machine.eligible)
    add(UPKEEP, actors.actors)
    app.add_typer(settings.config_app, name="config", rich_help_panel=UPKEEP)
    settings.key_app.command("backup")(key.backup)
    settings.key_app.command("restore")(key.restore)
    settings.key_app.command("rotate")(rotate.rotate)
    app.add_typer(settings.key_app, name="key", rich_help_panel=UPKEEP)
    app.add_typer(keys.app, name="keys", rich_help_panel=UPKEEP)
    add(UPKEEP, logs.logs)
    add(UPKEEP, doctor.doctor)
    app.add_typer(service.app, name="service", rich_help_panel=UPKEEP)
    add(UPKEEP, lifecycle.version)
    examples.add_to(app)
    return app


def _options(
    home: Annotated[
        str | None,
        typer.Option(
            metavar="FOLDER", help="This node's folder, instead of OPENGATEWAY_HOME or ~/.opengateway."
        ),
    ] = None,
) -> None:
    # Taken off the command line before it is parsed, so that it may stand after the command, too.
    del home
