"""OpenAI's, Ollama's and Vercel's JavaScript clients through two nodes: what javascript.mjs checks.

    python tools/compat/javascript.py FOLDER

Installs the packages into FOLDER (kept for the next time). Wants node 20 or newer, and npm.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
if __name__ == "__main__":
    sys.path[0] = str(HERE.parents[1])

from opengateway.models import pocket  # noqa: E402
from tools.compat.subjects import two_nodes  # noqa: E402

PACKAGES = ("openai@6", "ollama@0.6", "ai@6", "@ai-sdk/openai-compatible@2")
MODEL = "gpt-4o-mini"
"""An alias that both nodes have."""


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    folder = parser.parse_args().folder.resolve() / "javascript"
    folder.mkdir(parents=True, exist_ok=True)
    if not (folder / "node_modules").exists():
        subprocess.run(["npm", "install", "--silent", "--prefix", str(folder), *PACKAGES], check=True)
    script = shutil.copy(HERE / "javascript.mjs", folder)  # a module looks for packages beside itself
    with two_nodes(pocket.path()) as url:
        base = url.removesuffix("/v1")
        return subprocess.run(["node", script, base, MODEL], check=False, timeout=300).returncode


if __name__ == "__main__":
    sys.exit(main())
