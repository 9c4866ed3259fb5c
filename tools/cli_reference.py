#!/usr/bin/env python3
"""Writes docs/CLI.md, the reference of the command line, from the commands themselves.

tools/cli_reference.py          write it anew
tools/cli_reference.py --check  exit 1 if it is not what the commands say; changes nothing
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
if __name__ == "__main__":  # as a script only: where it is imported, the importer has set the path
    sys.path.insert(0, str(ROOT))

from typer.main import get_command  # noqa: E402

from opengateway.app.cli.examples import EXAMPLES  # noqa: E402
from opengateway.app.cli.tree import HELP, build  # noqa: E402

FILE = ROOT / "docs" / "CLI.md"
HEAD = """# The command line

Every command with its options and examples, as `opengateway COMMAND --help` shows them. This page is written
by `tools/cli_reference.py`; a test holds it against the commands.

{about}

- `--home FOLDER` (or `OPENGATEWAY_HOME`) names the node's folder (`~/.opengateway`), and may stand anywhere.
- `--json` prints JSON on every listing; without a terminal there is no colour, and lines are whole.
- Exit code 0: fine. 1: failed, and the error says what to type next. 2: wrong usage. 130: Ctrl-C.
- Completion: `opengateway --install-completion` for bash, zsh, fish and PowerShell.
- `OPENGATEWAY_DEBUG=1` shows tracebacks.
"""


def page() -> str:
    root = get_command(build())
    commands = list(_walk(root, ()))
    parts = [HEAD.format(about=" ".join(HELP.split()))]
    parts.append("| command | |\n|---|---|")
    for path, command in commands:
        name = " ".join(path)
        link = name.replace(" ", "-")
        parts[-1] += f"\n| [`{name}`](#{link}) | {_first_sentence(command)} |"
    parts += [_section(path, command) for path, command in commands]
    return "\n\n".join(parts).rstrip() + "\n"


def _walk(command: Any, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Any]]:
    if path:
        yield path, command
    for name, inner in getattr(command, "commands", {}).items():
        if not inner.hidden:
            yield from _walk(inner, (*path, name))


def _section(path: tuple[str, ...], command: Any) -> str:
    name = " ".join(path)
    lines = [f"## {name}", "", _plain(command.help or ""), "", f"    opengateway {name}{_usage(command)}"]
    options = [param for param in command.params if param.param_type_name == "option" and not param.hidden]
    arguments = [param for param in command.params if param.param_type_name == "argument"]
    rows = [(_metavar(one), one) for one in arguments]
    rows += [(", ".join(f"`{opt}`" for opt in one.opts) + _value(one), one) for one in options]
    rows = [(shown, one) for shown, one in rows if one.name != "help"]
    if rows:
        lines += ["", "| | |", "|---|---|"]
        lines += [f"| {shown} | {_plain(getattr(one, 'help', '') or '')} |" for shown, one in rows]
    examples = EXAMPLES.get(name, ())
    if examples:
        lines += ["", "```sh", *(f"{typed}  # {does}" for typed, does in examples), "```"]
    return "\n".join(lines)


def _usage(command: Any) -> str:
    options = any(one.param_type_name == "option" and one.name != "help" for one in command.params)
    words = ["[OPTIONS]"] if options else []
    words += [_metavar(one).strip("`") for one in command.params if one.param_type_name == "argument"]
    if getattr(command, "commands", None):
        words.append("COMMAND" if command.no_args_is_help else "[COMMAND]")
    return "".join(f" {word}" for word in words)


def _metavar(argument: Any) -> str:
    name = argument.metavar or argument.name.upper()
    shown = name if argument.required or name.startswith("[") else f"[{name}]"
    return f"`{shown}{'...' if argument.nargs == -1 and not argument.metavar else ''}`"


def _value(option: Any) -> str:
    if getattr(option, "is_flag", False):
        return ""
    # Not the option's type: Typer's versions call those differently.
    return f" {option.metavar or option.opts[0].strip('-').replace('-', '_').upper()}"


def _first_sentence(command: Any) -> str:
    return re.split(r"(?<=\.)\s", _plain(command.help or ""))[0].replace("|", "\\|")


def _plain(text: str) -> str:
    return re.sub(r"\[/?(bold|dim|cyan)\]", "", " ".join(text.split()))


def main() -> int:
    found = page()
    if "--check" in sys.argv[1:]:
        if FILE.read_text() != found:
            print("docs/CLI.md is not what the commands say: run tools/cli_reference.py", file=sys.stderr)
            return 1
        return 0
    FILE.write_text(found)
    return 0


if __name__ == "__main__":
    sys.exit(main())
