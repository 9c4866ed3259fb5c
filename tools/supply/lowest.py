"""The lowest versions that setup.cfg allows, as a constraints file for pip, on standard output.

    .venv/bin/python tools/supply/lowest.py [EXTRA...] >constraints.txt

Only what we name ourselves is held down; what those packages need is pip's to choose.
"""

from __future__ import annotations

import configparser
import re
import sys
from pathlib import Path

SETUP = Path(__file__).resolve().parents[2] / "setup.cfg"
REQUIREMENT = re.compile(r"(?P<name>[A-Za-z0-9._-]+)>=(?P<version>[0-9.]+)(?P<marker>\s*;.*)?")


def requirements(extras: tuple[str, ...] = (), setup: Path = SETUP) -> list[str]:
    """Every line of install_requires and of these extras. Raises KeyError for an extra that is not there."""
    config = configparser.ConfigParser(interpolation=None)
    config.read_string(setup.read_text())
    blocks = [config["options"]["install_requires"]]
    blocks += [config["options.extras_require"][extra] for extra in extras]
    lines = (line.strip() for block in blocks for line in block.splitlines())
    return [line for line in lines if line and not line.startswith("#")]


def lowest(lines: list[str]) -> list[str]:
    """`name==version` of each `name>=version`; a line without a lower bound is left to pip."""
    found = (REQUIREMENT.fullmatch(line) for line in lines)
    return [f"{one['name']}=={one['version']}{one['marker'] or ''}" for one in found if one]


if __name__ == "__main__":
    print("\n".join(lowest(requirements(tuple(sys.argv[1:])))))
