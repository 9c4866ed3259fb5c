"""The home folder: everything that one node keeps, and the lock that makes it one node.

    ~/.opengateway/         --home, else OPENGATEWAY_HOME
      config.json           what the owner wrote
      identity.key          0600: who the node is
      ledger.db  peers.db   what it was promised, whom it met
      dht.nodes record.seq  DHT nodes it knew; sequence numbers it has used
      api-keys.json         0600: who else may use the HTTP port, by hashes; api-usage.json: what they used
      bootstrap.json        the last signed bootstrap document that was believed
      models/  logs/
      run/                  0700, of the running node only
        lock                flock for as long as the node lives: the one fact that counts
        node.pid            who holds it, for people and messages
        node.json           where it answers; there once it is ready, gone when it stops
        control.token       0600: what the command line shows to /node/*
        start-error.json    why the last start failed

A killed node leaves node.pid and node.json behind. Nothing believes them without the lock, which the
kernel drops with the process.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import secrets
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from opengateway.errors import DiskFull, HomeBusy, SetupError

LOCK_TRIES: Final = 10
LOCK_PAUSE_S: Final = 0.02
"""A command that looks whether a node is running holds the lock for some 10 us; a start that meets
it tries again instead of reporting a node that is not there."""

TOKEN_BYTES: Final = 32
FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT})


class Home:
    """One home folder. Making the object touches nothing on the disk."""

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path).expanduser().absolute()
        self.config = self.path / "config.json"
        self.identity_key = self.path / "identity.key"
        self.ledger_db = self.path / "ledger.db"
        self.peers_db = self.path / "peers.db"
        self.dht_nodes = self.path / "dht.nodes"
        self.record_seq = self.path / "record.seq"
        self.api_keys = self.path / "api-keys.json"
        self.api_usage = self.path / "api-usage.json"
        self.bootstrap_json = self.path / "bootstrap.json"
        self.models = self.path / "models"
        self.speeds = self.path / "speeds"
        self.logs = self.path / "logs"
        self.node_log = self.logs / "node.log"
        self.run = self.path / "run"
        self.lock = self.run / "lock"
        self.pid_file = self.run / "node.pid"
        self.node_json = self.run / "node.json"
        self.control_token = self.run / "control.token"
        self.start_error = self.run / "start-error.json"
        self._held = 0

    def __repr__(self) -> str:
        return f"<Home {self.path}>"

    @classmethod
    def find(cls, option: Path | str | None = None) -> Home:
        """The folder named on the command line, else by OPENGATEWAY_HOME, else ~/.opengateway."""
        return cls(option or os.environ.get("OPENGATEWAY_HOME") or Path.home() / ".opengateway")

    def prepare(self) -> None:
        """Make the folders and prove that they can be written. Raises `SetupError`, `DiskFull`."""
        try:
            for folder in (self.path, self.models, self.logs):
                folder.mkdir(parents=True, exist_ok=True)
            self.run.mkdir(mode=0o700, exist_ok=True)
            # A full disk still makes empty files and folders: only bytes tell.
            proof = self.run / f".write-test.{os.getpid()}"
            try:
                proof.write_bytes(b"\0" * 4096)
            finally:
                proof.unlink(missing_ok=True)
        except OSError as error:
            raise cannot_write(self.path, error) from error

    @contextlib.contextmanager
    def hold(self) -> Iterator[None]:
        """Be the node of this home until the block ends; the same `Home` may hold it again inside.

        Prepares the folders and writes node.pid. Raises `HomeBusy` naming the process that has it.
        """
        if self._held:
            yield
            return
        self.prepare()
        fd = self._take_lock()
        self._held = fd
        try:
            self.node_json.unlink(missing_ok=True)  # of a killed node: it would name the wrong port
            write_atomically(self.pid_file, f"{os.getpid()}\n".encode())
            yield
        finally:
            with contextlib.suppress(OSError):
                self.node_json.unlink(missing_ok=True)
                self.pid_file.unlink(missing_ok=True)
            self._held = 0
            os.close(fd)

    def _take_lock(self) -> int:
        try:
            fd = os.open(self.lock, os.O_RDWR | os.O_CREAT, 0o600)
        except OSError as error:
            raise cannot_write(self.lock, error) from error
        for _ in range(LOCK_TRIES):
            if _flock(fd, fcntl.LOCK_EX):
                return fd
            time.sleep(LOCK_PAUSE_S)
        os.close(fd)
        pid = self._written_pid()
        who = f"process {pid}" if pid else "another process"
        raise HomeBusy(
            f"a node is already running from {self.path}: {who}",
            hint="look at it with `opengateway status`, or end it with `opengateway stop`",
        )

    def running_pid(self) -> int | None:
        """The process that holds the lock; None if none does. 0 if it has not said who it is yet."""
        try:
            fd = os.open(self.lock, os.O_RDWR)
        except OSError:
            return None
        try:
            if _flock(fd, fcntl.LOCK_SH):
                return None
        finally:
            os.close(fd)
        return self._written_pid()

    def _written_pid(self) -> int:
        try:
            return int(self.pid_file.read_text().strip())
        except (OSError, ValueError):
            return 0

    def new_control_token(self) -> str:
        """A fresh secret for /node/*, readable by the owner only. The old one is void."""
        token = secrets.token_urlsafe(TOKEN_BYTES)
        write_atomically(self.control_token, token.encode() + b"\n", mode=0o600)
        return token

    def read_control_token(self) -> str:
        """The running node's token; "" if there is none."""
        try:
            return self.control_token.read_text().strip()
        except OSError:
            return ""

    def announce(self, *, http: str, wire_port: int, node_id: str, version: str) -> None:
        """Write node.json: the node is ready. `http` is the base URL, `node_id` the whole base32 id."""
        facts = {
            "pid": os.getpid(),
            "http": http,
            "wire_port": wire_port,
            "node_id": node_id,
            "version": version,
        }
        write_atomically(self.node_json, json.dumps(facts).encode() + b"\n")

    def withdraw(self) -> None:
        """Remove node.json: the node no longer answers."""
        self.node_json.unlink(missing_ok=True)

    def announced(self) -> dict[str, Any] | None:
        """What the living node wrote into node.json; None if no node lives or it is not ready yet."""
        if self.running_pid() is None and not self._held:
            return None
        try:
            facts = json.loads(self.node_json.read_bytes())
        except (OSError, ValueError):
            return None
        return facts if isinstance(facts, dict) else None


def write_atomically(path: Path, content: bytes, *, mode: int = 0o644) -> None:
    """Replace `path` in one step: a reader sees the old bytes or the new, also after a power cut.

    Raises `SetupError` or `DiskFull`, and then leaves the old file as it was.
    """
    draft = path.with_name(f".{path.name}.{os.getpid()}.new")
    try:
        try:
            draft.unlink(missing_ok=True)
            with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            draft.replace(path)
        finally:
            draft.unlink(missing_ok=True)
    except OSError as error:
        raise cannot_write(path, error) from error


def cannot_write(path: Path, error: OSError) -> SetupError:
    """The error that an owner understands for an `OSError` met while writing at `path`."""
    if error.errno in FULL:
        return DiskFull(
            f"no space left on the disk of {path}",
            hint="free some space (at least 100 MB), or choose another disk with --home FOLDER",
        )
    return SetupError(
        f"cannot write to {path}: {(error.strerror or str(error)).lower()}",
        hint="make it writable for you, or choose another folder with --home FOLDER",
    )


def _flock(fd: int, kind: int) -> bool:
    try:
        fcntl.flock(fd, kind | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in (errno.EWOULDBLOCK, errno.EACCES):
            return False
        raise SetupError(
            f"this disk cannot lock files: {(error.strerror or str(error)).lower()}",
            hint="choose a folder on a local disk with --home FOLDER",
        ) from error
    return True
