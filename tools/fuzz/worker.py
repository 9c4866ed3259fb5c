"""One target under atheris, in a process of its own: `python -m tools.fuzz.worker TARGET [OPTIONS]`, with the
options of libFuzzer."""

from __future__ import annotations

import logging
import sys

import atheris

with atheris.instrument_imports(include=["opengateway"]):
    from tools.fuzz.targets import TARGETS


def main() -> None:
    logging.disable(logging.CRITICAL)
    target = TARGETS[sys.argv[1]]

    def one(data: bytes) -> None:
        target.run(data)

    atheris.Setup([sys.argv[0], *sys.argv[2:]], one)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
