"""What a place has lately been like to ask: failed, full, or caught at claiming too much."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from opengateway.errors import AllBusy, OpenGatewayError
from opengateway.routing.placement import Place

PENALTY = 5.0
"""Seconds for which a place that has just failed is asked last. A crashed engine is back within 2 s; a
peer that broke for another reason deserves a pause, not a ban."""
LONGEST_PAUSE = 60.0
"""Seconds that a place's own word can keep us away."""
DISTRUST = 60.0
"""Seconds more that a place is reckoned with for every time that it claimed too many tokens, for an hour:
it is asked where nobody else will do. It was not paid for them, so a ban would cost us more than it."""
DISTRUST_FOR = 3600.0


@dataclass(slots=True)
class Standing:
    _penalised: dict[Place, float] = field(default_factory=dict)
    _full_until: dict[Place, float] = field(default_factory=dict)
    """Of places that have said themselves that they are busy."""
    _distrusted: dict[Place, tuple[float, float]] = field(default_factory=dict)
    """Seconds more, and until when."""

    def succeeded(self, place: Place) -> None:
        self._penalised.pop(place, None)
        self._full_until.pop(place, None)

    def failed(self, place: Place, error: OpenGatewayError, now: float) -> None:
        """Ask it last for a while: as long as it said, or `PENALTY`."""
        pause = PENALTY if error.retry_after is None else min(error.retry_after, LONGEST_PAUSE)
        self._penalised[place] = now + pause
        if isinstance(error, AllBusy):
            self._full_until[place] = now + pause

    def full(self, place: Place, seconds: float, now: float) -> None:
        """It says that nothing can begin there for so long."""
        self._full_until[place] = now + min(seconds, LONGEST_PAUSE)

    def free(self, place: Place) -> None:
        """It says that it has a free slot, whatever was before."""
        self._full_until.pop(place, None)
        self._penalised.pop(place, None)

    def overcharged(self, place: Place, times: int, now: float) -> None:
        """It claimed more tokens than there were. A new session does not make that undone."""
        kept = {one: (more, until) for one, (more, until) in self._distrusted.items() if until > now}
        self._distrusted = kept | {place: (DISTRUST * times, now + DISTRUST_FOR)}

    def forget(self, places: Iterable[Place]) -> None:
        """Whoever comes back comes back without blame."""
        for place in places:
            self._penalised.pop(place, None)
            self._full_until.pop(place, None)

    def penalty(self, place: Place, now: float) -> float:
        """Seconds to add to what is expected of it."""
        if not self._penalised and not self._distrusted:
            return 0.0
        more, until = self._distrusted.get(place, (0.0, 0.0))
        return max(0.0, self._penalised.get(place, 0.0) - now) + (more if until > now else 0.0)

    def full_for(self, place: Place, now: float) -> float:
        """Seconds for which it has said to be full; 0 if it has not."""
        return max(0.0, self._full_until.get(place, 0.0) - now) if self._full_until else 0.0
