"""Run a command beside a node with the pocket model; URL in its words becomes the node's address.

python tools/compat/with_node.py COMMAND [WORDS...]
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

if __name__ == "__main__":
    sys.path[0] = str(Path(__file__).resolve().parents[2])

from tools.local_node import LocalNode, merged, private_network


def main() -> int:
    config = merged(private_network(), {"engine": {"kind": "pocket"}})
    with (
        tempfile.TemporaryDirectory(prefix="opengateway-beside-") as folder,
        LocalNode(Path(folder), name="beside", config=config) as node,
    ):
        words = [word.replace("URL", node.http) for word in sys.argv[1:]]
        return subprocess.run(words, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
