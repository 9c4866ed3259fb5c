"""The pocket model: a real language model of 1.26 MB that ships with the package.

With it the demo, the tests and the benchmarks run real inference with no download. It adds, names
capitals and tells one kind of story; RECIPE.md says how it was made and what it cannot do. It is never
offered to a public network.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Final

NAME: Final = "pocket"
"""What it is called in `/v1/models`."""

SHA256: Final = "1d7061f34af10ea1109f6c8578270ecee8a11629504a55e618993cfa503841c2"


def path() -> Path:
    """The GGUF file."""
    return Path(__file__).with_name("pocket.gguf")


def verify() -> bool:
    """Whether the file is the one that was measured; 2 ms."""
    try:
        return hashlib.sha256(path().read_bytes()).hexdigest() == SHA256
    except OSError:
        return False
