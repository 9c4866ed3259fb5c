"""Every command explains itself: examples that parse, a reference page that says what the commands say."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
from typer.main import get_command

from opengateway.app.cli import session
from opengateway.app.cli.examples import EXAMPLES
from opengateway.app.cli.tree import build
from tools import cli_reference

ROOT = get_command(build())


def paths(command: Any = ROOT, path: tuple[str, ...] = ()) -> Iterator[tuple[str, Any]]:
    if path:
        yield " ".join(path), command
    for name, inner in getattr(command, "commands", {}).items():
        if not inner.hidden:
            yield from paths(inner, (*path, name))


COMMANDS = dict(paths())


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_says_what_it_does_and_has_an_example(name: str) -> None:
    command = COMMANDS[name]
    assert command.help
    assert command.help.strip()[0].isupper()
    assert EXAMPLES.get(name), f"add one to opengateway/app/cli/examples.py for {name!r}"
    assert name == "audit" or "Examples" in (command.epilog or "")
    for param in command.params:
        assert param.param_type_name == "argument" or param.help, f"{name} {param.opts}: what does it do?"


def test_no_example_is_of_a_command_that_is_not_there() -> None:
    assert set(EXAMPLES) <= set(COMMANDS)


@pytest.mark.parametrize("name", [name for name in EXAMPLES if name in COMMANDS])
def test_the_examples_can_be_typed(name: str) -> None:
    for typed, does in EXAMPLES[name]:
        assert does
        line = re.split(r" (?:\||>>?|<) ", typed)[0]
        words = shlex.split(line)
        words = session.take_home(words[words.index("opengateway") + 1 :])
        assert " ".join(words).startswith(name) or name in ("bootstrap", "key", "service")
        context, command = ROOT.make_context("opengateway", list(words)), ROOT
        while getattr(command, "commands", None):
            rest = [*context._protected_args, *context.args]
            if not rest:
                break
            found, command, rest = command.resolve_command(context, rest)
            context = command.make_context(found, rest, parent=context)


def test_the_reference_is_what_the_commands_say() -> None:
    assert cli_reference.FILE.read_text() == cli_reference.page(), "run tools/cli_reference.py"


@pytest.mark.parametrize(
    ("typed", "offered"), [("das", "dashboard"), ("service in", "install"), ("ledger exp", "export")]
)
def test_the_shell_completes_commands(typed: str, offered: str) -> None:
    asked = {
        "_OPENGATEWAY_COMPLETE": "complete_bash",
        "COMP_WORDS": f"opengateway {typed}",
        "COMP_CWORD": str(len(typed.split())),
    }
    script = "import sys; from opengateway.app.cli import main; sys.exit(main([]))"
    done = subprocess.run(
        [sys.executable, "-c", script],
        env={**os.environ, **asked},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.split() == [offered]
