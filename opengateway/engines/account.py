"""What one OPEN pays for: tokens that have travelled, and those of them that are vouched for."""

from __future__ import annotations

from dataclasses import dataclass

from opengateway.wire.messages import INSTALMENT_S


@dataclass(eq=False, slots=True)
class Account:
    """Of one request, or of all that are on one tab (tab.py). Each side keeps its own."""

    tokens: int = 0
    """Completion tokens that have travelled: as they come while an answer streams, as they are owed for once
    it has ended."""
    vouched: int = 0
    vouchers: int = 0
    lead: int = 0
    """Tokens that may be sent ahead of the last voucher; 0: as many as there are."""
    instalment: int = 0
    """Tokens between two vouchers; 0: none are wanted."""
    vouched_at: float = 0.0
    """Monotonic seconds."""

    def falls_due(self, now: float) -> bool:
        """Enough has come since the last voucher, or it was a while ago. Then the next one is to be made,
        over all that there is by now."""
        more = self.tokens - self.vouched
        due = more >= self.instalment or (more > 0 and now - self.vouched_at >= INSTALMENT_S)
        if due:
            self.vouched, self.vouched_at = self.tokens, now
        return due
