"""One thing that `opengateway doctor` looked at; and its look at the ledger."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from opengateway.home import Home


@dataclass(frozen=True, slots=True)
class Check:
    name: str
    state: Literal["ok", "warn", "fail"]
    text: str
    hint: str = ""


def ledger(home: Home) -> Iterator[Check]:
    doubt = home.ledger_db.with_name(home.ledger_db.name + ".readonly")
    if doubt.exists():
        why = doubt.read_text(errors="replace").partition("\n")[2].strip()
        hint = "keep this folder as it is and let the node meet its peers: they may hold what is missing"
        yield Check("ledger", "fail", f"read-only: {why}", hint)
    elif home.ledger_db.exists():
        size = home.ledger_db.stat().st_size
        yield Check("ledger", "ok", f"{size / 1e6:.1f} MB, nothing is known to be missing")
