"""Every package that a node has installed, with version and licence: docs/LICENCES.md.

    .venv/bin/python tools/supply/licences.py [--write]

What is counted is what `pip install .` brings, found by walking the requirements of the installed packages,
not what else lies in the environment. Without --write it is printed.
"""

from __future__ import annotations

import argparse
import re
from importlib import metadata
from pathlib import Path

from packaging.requirements import Requirement

PAGE = Path(__file__).resolve().parents[2] / "docs" / "LICENCES.md"
OURS = "opengateway-node"
COPYLEFT = re.compile(r"\b(A?GPL|GNU (Affero )?General Public)", re.IGNORECASE)
"""Licences that would bind whoever ships the node; the MPL and the LGPL bind their own files only."""
HEAD = """# Licences

OpenGateway is under the Apache License 2.0 ([LICENSE](../LICENSE)), the fonts of its dashboard under the SIL
Open Font License ([FONTS](../opengateway/app/gateway/dashboard/static/FONTS.txt)). With it are installed, by
`tools/supply/licences.py` and in the versions of the day it was run:

| package | version | licence |
|---|---|---|
"""


def closure(root: str = OURS) -> list[metadata.Distribution]:
    """What an installation of `root` needs, without its extras; by name."""
    found: dict[str, metadata.Distribution] = {}
    wanted = [root]
    while wanted:
        name = wanted.pop()
        key = re.sub(r"[-_.]+", "-", name).lower()
        if key in found:
            continue
        found[key] = metadata.distribution(name)
        for line in found[key].requires or ():
            need = Requirement(line)
            if need.marker is None or need.marker.evaluate({"extra": ""}):
                wanted.append(need.name)
    return [found[key] for key in sorted(found) if key != root]


def licence(package: metadata.Distribution) -> str:
    """As it says itself: the SPDX expression, else the classifiers, else the first line of its field."""
    about = package.metadata
    if "License-Expression" in about:
        return about["License-Expression"]
    named = [
        line.rsplit("::", 1)[1].strip()
        for line in about.get_all("Classifier") or ()
        if line.startswith("License ::") and not line.endswith("OSI Approved")
    ]
    text = about["License"].strip() if "License" in about else ""
    return ", ".join(named) or (text.splitlines()[0][:60] if text else "not stated")


def page(packages: list[metadata.Distribution]) -> str:
    rows = (f"| {one.metadata['Name']} | {one.version} | {licence(one)} |\n" for one in packages)
    return HEAD + "".join(rows)


def main() -> int:
    asked = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    asked.add_argument("--write", action="store_true", help=f"write {PAGE.name}")
    packages = closure()
    if asked.parse_args().write:
        PAGE.write_text(page(packages))
    else:
        print(page(packages), end="")
    unfit = [one.metadata["Name"] for one in packages if COPYLEFT.search(licence(one))]
    if unfit:
        print(f"licences that do not go with ours: {', '.join(unfit)}")
    return bool(unfit)


if __name__ == "__main__":
    raise SystemExit(main())
