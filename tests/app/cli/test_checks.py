"""doctor's look at the ledger."""

from __future__ import annotations

from pathlib import Path

from opengateway.app.cli.checks import examine
from opengateway.home import Home


def ledger_check(home: Home) -> tuple[str, str, str]:
    [found] = [check for check in examine(home) if check.name == "ledger"]
    return found.state, found.text, found.hint


def test_doctor_says_why_a_ledger_is_read_only_and_what_to_do(tmp_path: Path) -> None:
    home = Home(tmp_path)
    home.ledger_db.parent.mkdir(parents=True, exist_ok=True)
    home.ledger_db.write_bytes(bytes(5_000_000))
    assert ledger_check(home) == ("ok", "5.0 MB, nothing is known to be missing", "")
    home.ledger_db.with_name("ledger.db.readonly").write_text("lost\nthe ledger ends at entry 4\n")
    state, text, hint = ledger_check(home)
    assert (state, text) == ("fail", "read-only: the ledger ends at entry 4") and "peers" in hint
