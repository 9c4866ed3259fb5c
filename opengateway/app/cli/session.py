"""What all commands of one command line share: the home folder, and whether it wants JSON."""

from __future__ import annotations

from collections.abc import Sequence

from opengateway.app.client import NodeClient, connect
from opengateway.errors import OpenGatewayError
from opengateway.home import Home

_home_option: str | None = None


class WrongUsage(OpenGatewayError):
    """The command was not called as it can be."""

    code = "wrong_usage"


def take_home(args: Sequence[str]) -> list[str]:
    """`args` without `--home FOLDER`, which may stand anywhere before `--`, and remember the folder."""
    global _home_option
    _home_option, rest, given = None, [], iter(args)
    for arg in given:
        if arg == "--":
            rest += ["--", *given]
        elif arg == "--home":
            _home_option = next(given, "")
            if not _home_option or _home_option.startswith("-"):
                raise WrongUsage("--home needs a folder", hint="opengateway --home FOLDER COMMAND")
        elif arg.startswith("--home="):
            _home_option = arg.removeprefix("--home=")
        else:
            rest.append(arg)
    return rest


def home() -> Home:
    return Home.find(_home_option)


def node() -> NodeClient:
    """The running node of this home. Raises `NotRunning`."""
    return connect(home())
