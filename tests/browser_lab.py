"""A real headless Chromium for tests, driven over a pipe (Chrome DevTools Protocol): no port, no driver.

with Browser(folder) as browser:
    page = browser.open("http://127.0.0.1:1234/")
    page.until("document.querySelector('h1')", "the headline is there")
"""

from __future__ import annotations

import base64
import contextlib
import fcntl
import json
import os
import select
import shutil
import signal
import subprocess
import time
from pathlib import Path
from types import TracebackType
from typing import Any, Self

PATIENCE_S = 20.0
CHROMIUM = next(
    (found for name in ("chromium", "chromium-browser", "google-chrome") if (found := shutil.which(name))), ""
)
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-extensions",
    "--disable-dev-shm-usage",
    "--hide-scrollbars",
    "--disable-background-timer-throttling",
    "--disable-renderer-backgrounding",
    "--no-proxy-server",
    "--remote-debugging-pipe",
)
NO_NAMES = "--host-resolver-rules=MAP * ~NOTFOUND , EXCLUDE 127.0.0.1"
"""Whatever a page does, nothing leaves this machine."""

Json = Any


class PageError(AssertionError):
    """The page, or the browser, said no."""


class Browser:
    def __init__(self, folder: Path) -> None:
        """`folder`: an empty one, for the profile."""
        self._folder = folder
        self._number = 0
        self._rest = b""
        self._events: list[dict[str, Json]] = []

    def __enter__(self) -> Self:
        ours_in, theirs_out = _pipe()
        theirs_in, ours_out = _pipe()
        profile = f"--user-data-dir={self._folder / 'profile'}"
        arguments = [CHROMIUM, *FLAGS, NO_NAMES, profile, "about:blank"]
        self._log = (self._folder / "chromium.log").open("wb")
        self._process = subprocess.Popen(
            ["bash", "-c", f'exec "$@" 3<&{theirs_in} 4>&{theirs_out}', "bash", *arguments],
            pass_fds=(theirs_in, theirs_out),
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        os.close(theirs_in)
        os.close(theirs_out)
        self._in, self._out = ours_in, ours_out
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for end in (self._out, self._in):
            os.close(end)
        with contextlib.suppress(subprocess.TimeoutExpired):  # the closed pipe ends it
            self._process.wait(5)
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        self._log.close()

    def open(
        self, url: str, *, width: int = 1440, height: int = 900, phone: bool = False, dark: bool = False
    ) -> Page:
        """A page in a profile of its own: it shares no cookie and no storage with others."""
        context = self.call("Target.createBrowserContext", {})["browserContextId"]
        target = self.call("Target.createTarget", {"url": "about:blank", "browserContextId": context})[
            "targetId"
        ]
        session = self.call("Target.attachToTarget", {"targetId": target, "flatten": True})["sessionId"]
        page = Page(self, target, session, context)
        for domain in ("Page", "Runtime", "Network", "Log"):
            page.call(f"{domain}.enable")
        page.size(width, height, phone=phone)
        page.colours(dark=dark)
        page.go(url)
        return page

    def call(self, method: str, given: dict[str, Json], session: str = "") -> dict[str, Json]:
        self._number += 1
        number = self._number
        message = {"id": number, "method": method, "params": given} | (
            {"sessionId": session} if session else {}
        )
        os.write(self._out, json.dumps(message).encode() + b"\0")
        deadline = time.monotonic() + PATIENCE_S
        while True:
            found = self._read(deadline)
            if found.get("id") == number:
                if "error" in found:
                    raise PageError(f"{method}: {found['error'].get('message')}")
                return dict(found.get("result", {}))
            if "method" in found:
                self._events.append(found)

    def events(self, session: str) -> list[dict[str, Json]]:
        """What this page's browser has said since the last call."""
        mine = [event for event in self._events if event.get("sessionId") == session]
        self._events = [event for event in self._events if event.get("sessionId") != session]
        return mine

    def _read(self, deadline: float) -> dict[str, Json]:
        while b"\0" not in self._rest:
            left = deadline - time.monotonic()
            if left <= 0 or not select.select([self._in], [], [], left)[0]:
                raise PageError(f"Chromium did not answer within {PATIENCE_S:.0f} s")
            piece = os.read(self._in, 1 << 20)
            if not piece:
                log = (self._folder / "chromium.log").read_text(errors="replace")[-2000:]
                raise PageError(f"Chromium ended:\n{log}")
            self._rest += piece
        message, _, self._rest = self._rest.partition(b"\0")
        return dict(json.loads(message))


class Page:
    def __init__(self, browser: Browser, target: str, session: str, context: str) -> None:
        self._browser, self._target, self._session, self._context = browser, target, session, context
        self.requests: list[str] = []
        """Every URL that was asked for."""
        self.complaints: list[str] = []
        """Errors and warnings of the console, exceptions, and what the security policy blocked."""

    def call(self, method: str, **given: Json) -> dict[str, Json]:
        answer = self._browser.call(method, given, self._session)
        for event in self._browser.events(self._session):
            self._note(event["method"], event["params"])
        return answer

    def _note(self, method: str, said: dict[str, Json]) -> None:
        if method == "Network.requestWillBeSent":
            self.requests.append(said["request"]["url"])
        elif method == "Runtime.exceptionThrown":
            details = said["exceptionDetails"]
            self.complaints.append(str(details.get("exception", {}).get("description") or details["text"]))
        elif method == "Log.entryAdded" and said["entry"]["level"] in ("error", "warning"):
            self.complaints.append(f"{said['entry']['text']} {said['entry'].get('url', '')}")
        elif method == "Runtime.consoleAPICalled" and said["type"] in ("error", "warning"):
            self.complaints.append(
                " ".join(str(one.get("description") or one.get("value")) for one in said["args"])
            )

    def go(self, url: str) -> None:
        answer = self.call("Page.navigate", url=url)
        if answer.get("errorText"):
            raise PageError(f"{url}: {answer['errorText']}")
        self.until("document.readyState === 'complete'", f"{url} is loaded")

    def run(self, script: str) -> Json:
        """The value of an expression (a promise is awaited). Raises `PageError` with what it threw."""
        answer = self.call("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in answer:
            details = answer["exceptionDetails"]
            raise PageError(str(details.get("exception", {}).get("description") or details["text"]))
        return answer["result"].get("value")

    def until(self, condition: str, what: str, patience_s: float = PATIENCE_S) -> Json:
        """The first true value of an expression."""
        deadline = time.monotonic() + patience_s
        while not (
            value := self.run(
                f"(() => {{ try {{ const found = {condition};"
                " return found instanceof Node ? true : found } catch { return false } })()"
            )
        ):
            if time.monotonic() > deadline:
                text = self.run("document.body.innerText")
                raise PageError(
                    f"waited in vain until {what}; complaints: {self.complaints}; the page:\n{text[:3000]}"
                )
            time.sleep(0.03)
        return value

    def text(self, selector: str) -> str:
        return str(self.run(f"document.querySelector({json.dumps(selector)}).innerText"))

    def click(self, selector: str) -> None:
        """With the mouse, at its middle."""
        found = f"document.querySelector({json.dumps(selector)})"
        x, y = self.until(
            f"(() => {{ const node = {found}; node.scrollIntoView({{block: 'center', behavior: 'instant'}});"
            " const r = node.getBoundingClientRect(), x = r.x + r.width / 2, y = r.y + r.height / 2;"
            " return node.contains(document.elementFromPoint(x, y)) && [x, y] })()",
            f"{selector} can be clicked",
        )
        for kind in ("mousePressed", "mouseReleased"):
            self.call("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1)

    def type(self, text: str) -> None:
        self.call("Input.insertText", text=text)

    def press(self, key: str) -> None:
        codes = {"Enter": 13, "Tab": 9, "Escape": 27}
        extra = {"text": "\r"} if key == "Enter" else {}
        self.call(
            "Input.dispatchKeyEvent", type="keyDown", key=key, windowsVirtualKeyCode=codes[key], **extra
        )
        self.call("Input.dispatchKeyEvent", type="keyUp", key=key, windowsVirtualKeyCode=codes[key])

    def size(self, width: int, height: int, *, phone: bool = False) -> None:
        self.call(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=2 if phone else 1,
            mobile=phone,
        )

    def colours(self, *, dark: bool, still: bool = False) -> None:
        features = [{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}]
        features += [{"name": "prefers-reduced-motion", "value": "reduce"}] if still else []
        self.call("Emulation.setEmulatedMedia", features=features)

    def picture(self, file: Path, *, whole: bool = False) -> None:
        """A PNG of what is seen, or of the whole page."""
        given: dict[str, Json] = {"format": "png"}
        if whole:
            size = self.call("Page.getLayoutMetrics")["cssContentSize"]
            given |= {
                "captureBeyondViewport": True,
                "clip": {"x": 0, "y": 0, "width": size["width"], "height": size["height"], "scale": 1},
            }
        file.write_bytes(base64.b64decode(self.call("Page.captureScreenshot", **given)["data"]))

    def close(self) -> None:
        self._browser.call("Target.closeTarget", {"targetId": self._target})
        self._browser.call("Target.disposeBrowserContext", {"browserContextId": self._context})


def _pipe() -> tuple[int, int]:
    """Both ends above 9: Chromium wants its own at 3 and 4, which must not be what the shell reads from."""
    ends = os.pipe()
    high = tuple(fcntl.fcntl(end, fcntl.F_DUPFD_CLOEXEC, 10) for end in ends)
    for end in ends:
        os.close(end)
    return high[0], high[1]
