"""Who may look at the dashboard: codes that work once, and the sessions that they become.

`opengateway dashboard` has the control token and asks for a code; the code travels in the address's fragment,
which browsers send to nobody, and the page exchanges it for a session. A session is two secrets:

- a cookie that no script can read (HttpOnly) and that no other site's request carries (SameSite=Strict);
- a key that the page keeps in its own origin's storage and sends as a header.

The cookie alone is not enough because cookies know no ports: a browser sends it to any server on this host.
The key alone is not enough because scripts can read it. Only hashes are kept, and only in memory: with the
node its sessions end.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass

from opengateway.errors import Unauthorized

CODE_S = 120.0
"""Seconds that a code is good for: a browser that is not running yet takes some to open."""
IDLE_S = 12 * 3600.0
"""Seconds after its last request that a session ends."""
MOST_CODES = 16
MOST_SESSIONS = 32
"""The one that was used longest ago makes room: a person has a few browsers, not a hundred."""
SECRET_BYTES = 32
HINT = "type `opengateway dashboard` and open the address that it prints"


@dataclass(slots=True)
class _Session:
    key: bytes
    used: float


class Logins:
    """Lives on the I/O loop. `now`: monotonic seconds."""

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._codes: dict[bytes, float] = {}
        self._sessions: dict[bytes, _Session] = {}

    def new_code(self) -> str:
        """A code that `enter` takes once, within `CODE_S`."""
        self._forget()
        while len(self._codes) >= MOST_CODES:
            del self._codes[next(iter(self._codes))]
        code = secrets.token_urlsafe(SECRET_BYTES)
        self._codes[_hash(code)] = self._now() + CODE_S
        return code

    def enter(self, code: str) -> tuple[str, str]:
        """The session's cookie and key. Raises `Unauthorized` for one that is used up, late or made up."""
        self._forget()
        if self._codes.pop(_hash(code), None) is None:
            raise Unauthorized("this address was used already, or is too old", hint=HINT)
        while len(self._sessions) >= MOST_SESSIONS:
            del self._sessions[min(self._sessions, key=lambda one: self._sessions[one].used)]
        cookie, key = secrets.token_urlsafe(SECRET_BYTES), secrets.token_urlsafe(SECRET_BYTES)
        self._sessions[_hash(cookie)] = _Session(_hash(key), self._now())
        return cookie, key

    def check(self, cookie: str, key: str) -> None:
        """Raises `Unauthorized` unless both belong to one session that is not over."""
        self._forget()
        session = self._sessions.get(_hash(cookie))
        if session is None or not hmac.compare_digest(session.key, _hash(key)):
            raise Unauthorized("this page is not signed in to the node", hint=HINT)
        session.used = self._now()

    def leave(self, cookie: str) -> None:
        self._sessions.pop(_hash(cookie), None)

    def _forget(self) -> None:
        now = self._now()
        self._codes = {code: until for code, until in self._codes.items() if until > now}
        self._sessions = {one: s for one, s in self._sessions.items() if s.used + IDLE_S > now}


def _hash(secret: str) -> bytes:
    # Looked up by hash: how long a look-up takes says nothing about the secret.
    return hashlib.sha256(secret.encode(errors="replace")).digest()
