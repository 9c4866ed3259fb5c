"""The `opengateway` command. Commands are in the modules beside this one; `tree.py` lists them all."""

from __future__ import annotations

from collections.abc import Sequence


def main(args: Sequence[str] | None = None) -> int:
    """Run one command line, this process's own by default. Returns 0, 1, 2, or 130 after Ctrl-C."""
    from opengateway.app.cli.entry import run

    return run(args)
