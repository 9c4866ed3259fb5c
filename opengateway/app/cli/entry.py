"""From a command line to an exit code: every error becomes words, none a traceback.

0 fine, 1 failed, 2 wrong usage, 130 interrupted by Ctrl-C. OPENGATEWAY_DEBUG=1 shows tracebacks.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import Any

import typer

from opengateway.app.cli import session
from opengateway.app.cli.output import complain
from opengateway.app.cli.session import WrongUsage
from opengateway.app.cli.tree import INTERRUPTED, ReaderLeft, build
from opengateway.closest import closest
from opengateway.errors import DiskFull, OpenGatewayError
from opengateway.home import FULL

# Typer carries its own copy of Click since 0.25 and used the package before: both have this tree.
USAGE_ERROR: type[Any] = typer.BadParameter.__mro__[1]


def run(args: Sequence[str] | None = None) -> int:
    given = list(sys.argv[1:] if args is None else args)
    as_json = "--json" in given
    try:
        code = _run(given)
        sys.stdout.flush()
        return code
    except (BrokenPipeError, ReaderLeft):
        return _reader_left()
    except (KeyboardInterrupt, typer.Abort):
        return INTERRUPTED
    except SystemExit as end:  # argparse, in the audit tool
        return end.code if isinstance(end.code, int) else 1
    except WrongUsage as error:
        complain(error, as_json=as_json)
        return 2
    except USAGE_ERROR as error:
        if error.format_message():  # without a command there is only the help, which is out by now
            complain(_in_words(error), as_json=as_json)
        return 2
    except OpenGatewayError as error:
        _debug()
        complain(error, as_json=as_json)
        return 1
    except Exception as error:
        _debug()
        complain(_unforeseen(error), as_json=as_json)
        return 1


def _run(args: list[str]) -> int:
    app = build()
    result = app(session.take_home(args), prog_name="opengateway", standalone_mode=False)
    return result if isinstance(result, int) else 0


def _reader_left() -> int:
    # `opengateway peers | head -1`: whoever read has seen enough. The interpreter flushes once more
    # at its end; with stdout on /dev/null that is silent.
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 0


def _in_words(error: Any) -> WrongUsage:
    message = str(error.format_message()).rstrip(".")
    path = error.ctx.command_path if getattr(error, "ctx", None) else "opengateway"
    if message.startswith("No such command") and getattr(error, "ctx", None):
        typed = message.partition("'")[2].partition("'")[0]
        near = closest(typed, error.ctx.command.commands)
        message = f'no such command: "{typed}"' + (f', did you mean "{near}"?' if near else "")
    else:
        message = message[:1].lower() + message[1:]
    return WrongUsage(message, hint=f"see `{path} --help`")


def _unforeseen(error: Exception) -> OpenGatewayError:
    if isinstance(error, OSError) and error.errno in FULL:
        return DiskFull(
            "no space left on the disk", hint="free some space, or choose another disk with --home FOLDER"
        )
    if isinstance(error, OSError):
        where = f" {error.filename}" if error.filename else ""
        return OpenGatewayError(f"cannot use{where}: {(error.strerror or str(error)).lower()}")
    return OpenGatewayError(
        f"this should not happen: {type(error).__name__}: {error}",
        hint="OPENGATEWAY_DEBUG=1 shows where; please report it with `opengateway doctor`",
    )


def _debug() -> None:
    if os.environ.get("OPENGATEWAY_DEBUG") == "1":
        import traceback

        traceback.print_exc()
