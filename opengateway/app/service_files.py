"""What starts a node at login: a systemd unit of the user, or a launchd agent. Written by `service install`.

systemd   ~/.config/systemd/user/opengateway.service                  man systemd.service, systemd.exec
launchd   ~/Library/LaunchAgents/org.opengateway.node.plist           man launchd.plist
"""

from __future__ import annotations

import hashlib
import plistlib
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

Kind = Literal["systemd", "launchd"]

RESTART_S: Final = 5
STOP_S: Final = 30
"""Seconds for answers in flight to end and peers to hear goodbye; a node takes about 1."""


@dataclass(frozen=True, slots=True)
class Service:
    """One node's service. `home`: its folder; `default`: whether that is the one that needs no --home."""

    command: tuple[str, ...]
    home: Path
    default: bool = True

    @property
    def name(self) -> str:
        """`opengateway`; a node in another folder has its own, so that there may be several."""
        return "opengateway" if self.default else f"opengateway-{_digest(self.home)}"

    def path(self, kind: Kind, user: Path) -> Path:
        """Where the file belongs. `user`: the user's home folder; for systemd that of the configuration."""
        if kind == "launchd":
            return user / "Library" / "LaunchAgents" / f"{self.label}.plist"
        return user / "systemd" / "user" / f"{self.name}.service"

    @property
    def label(self) -> str:
        return "org.opengateway.node" if self.default else f"org.opengateway.node.{_digest(self.home)}"

    def systemd(self) -> str:
        """Not ordered after the network: a user's manager knows no such unit, and the node waits itself."""
        start = " ".join(_quoted(word).replace("$", "$$") for word in self.command)
        return (
            "[Unit]\n"
            "Description=OpenGateway node\n"
            "\n"
            "[Service]\n"
            f"ExecStart={start}\n"
            f"Environment={_quoted(f'OPENGATEWAY_HOME={self.home}')}\n"
            "Restart=on-failure\n"
            f"RestartSec={RESTART_S}\n"
            f"TimeoutStopSec={STOP_S}\n"
            "NoNewPrivileges=yes\n"
            "\n"
            "[Install]\n"
            "WantedBy=default.target\n"
        )

    def launchd(self) -> bytes:
        log = str(self.home / "logs" / "launchd.log")
        return plistlib.dumps(
            {
                "Label": self.label,
                "ProgramArguments": list(self.command),
                "EnvironmentVariables": {"OPENGATEWAY_HOME": str(self.home)},
                "RunAtLoad": True,
                # Again after a crash, not after `opengateway stop`.
                "KeepAlive": {"SuccessfulExit": False},
                "ThrottleInterval": RESTART_S,
                "ExitTimeOut": STOP_S,
                "ProcessType": "Background",
                "StandardOutPath": log,
                "StandardErrorPath": log,
            }
        )

    def content(self, kind: Kind) -> bytes:
        return self.launchd() if kind == "launchd" else self.systemd().encode()


def own_command() -> tuple[str, ...]:
    """How this program is started, whole paths: a service has no PATH of ours."""
    script = Path(sys.executable).parent / "opengateway"
    program = (str(script),) if script.exists() else (sys.executable, "-m", "opengateway")
    return (*program, "start", "--foreground")


def _quoted(word: str) -> str:
    """As systemd.syntax(7) has it; `%` begins a specifier there."""
    escaped = word.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%")
    return f'"{escaped}"'


def _digest(home: Path) -> str:
    return hashlib.sha256(str(home).encode()).hexdigest()[:8]
