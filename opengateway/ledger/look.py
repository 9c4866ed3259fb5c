"""What a command wants to know of a ledger that a node may be writing: read-only, without the book."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any


def stamped(path: Path, node_id: bytes) -> bool:
    """Whether the identity stamp of this key is made."""
    found = _one(path, "SELECT 1 FROM documents WHERE kind = 'stamp' AND key = ?", node_id)
    return found is not None


def _one(path: Path, sql: str, *values: bytes) -> Any:
    """The first row; None where there is none, or nothing that can be read."""
    if not path.exists():
        return None
    try:
        with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as db:
            return db.execute(sql, values).fetchone()
    except sqlite3.Error:
        return None
