"""Between the Scheduler, which finds nobody for a request, and Discovery, which may."""

from __future__ import annotations

from actors.kernel import Address
from actors.messages import DiscoveryMessage, Seek

PATIENCE = 8.0
"""Seconds that a request waits for a search: three rings of two seconds, a lookup and a dial."""
AGAIN = 60.0
"""Seconds until a request for a model that nobody was found for waits again. A name that does not exist must
not cost its user eight seconds each time."""
MODELS = 256


class Lookout:
    """Called by the Scheduler's thread; `hopeful` is set by Discovery's."""

    def __init__(self, discovery: Address[DiscoveryMessage]) -> None:
        self._discovery = discovery
        self._begun: dict[str, float] = {}
        self.hopeful = False
        """There is a DHT to search in; without one a request fails at once."""

    def __call__(self, model: str, now: float) -> bool:
        """Whether somebody who serves it is being looked for."""
        if not self.hopeful:
            return False
        begun = self._begun.get(model, float("-inf"))
        if now - begun > AGAIN:
            self._begun.pop(model, None)
            self._begun[model] = begun = now
            while len(self._begun) > MODELS:
                del self._begun[next(iter(self._begun))]
            self._discovery.tell(Seek(model))
        return now - begun <= PATIENCE
