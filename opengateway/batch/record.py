"""Batches that programs have given to a node, as OpenAI's Batch API has them. One small file each, in the
home.

validating -> in_progress -> finalizing -> completed
    |             |-> cancelling -> cancelled
    v             `-> expired
  failed
"""

from __future__ import annotations

import secrets
import time
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Final

import orjson

from opengateway.batch.lines import ROUTES
from opengateway.batch.shelf import is_id
from opengateway.errors import BadRequest, OpenGatewayError, Unsupported
from opengateway.home import cannot_write, write_atomically

WINDOW_S: Final = 24 * 3600
"""OpenAI's only completion window."""
MOST_BATCHES: Final = 1000
MOST_UNDER_WAY: Final = 8
MOST_METADATA: Final = 16
OVER: Final = frozenset({"completed", "failed", "cancelled", "expired"})


class NoSuchBatch(OpenGatewayError):
    """There is no such batch here."""

    code = "not_found"
    status = 404


class TooManyBatches(OpenGatewayError):
    """This node has as many batches as it keeps."""

    code = "too_many_batches"
    status = 429


@dataclass(frozen=True, slots=True)
class Batch:
    id: str
    endpoint: str
    input_file_id: str
    completion_window: str
    created_at: int
    expires_at: int
    metadata: dict[str, str] | None = None
    status: str = "validating"
    output_file_id: str | None = None
    error_file_id: str | None = None
    errors: list[dict[str, Any]] = field(default_factory=list)
    total: int = 0
    done: int = 0
    failed: int = 0
    times: dict[str, int] = field(default_factory=dict)
    """When it came into a state, by the state's name."""
    owner: str = ""
    """The id of the API key that has given it; empty: the node's owner."""

    @property
    def over(self) -> bool:
        return self.status in OVER

    def now(self, status: str, **more: Any) -> Batch:
        return replace(self, status=status, times={**self.times, status: int(time.time())}, **more)

    def as_json(self) -> dict[str, Any]:
        """OpenAI's batch object."""
        states = ("in_progress", "finalizing", "completed", "failed", "expired", "cancelling", "cancelled")
        return {
            "id": self.id,
            "object": "batch",
            "endpoint": self.endpoint,
            "errors": {"object": "list", "data": self.errors} if self.errors else None,
            "input_file_id": self.input_file_id,
            "completion_window": self.completion_window,
            "status": self.status,
            "output_file_id": self.output_file_id,
            "error_file_id": self.error_file_id,
            "created_at": self.created_at,
            "expires_at": self.expires_at,
            **{f"{state}_at": self.times.get(state) for state in states},
            "request_counts": {
                "total": self.total,
                "completed": self.done - self.failed,
                "failed": self.failed,
            },
            "metadata": self.metadata,
        }


class Batches:
    """All of them, on the disk."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def new(self, asked: dict[str, Any], owner: str = "") -> Batch:
        """Not kept yet. Raises `BadRequest` that names the field, `TooManyBatches`."""
        endpoint, window = asked.get("endpoint"), asked.get("completion_window")
        if endpoint not in ROUTES:
            raise BadRequest(f"`endpoint` must be one of {', '.join(ROUTES)}", param="endpoint")
        if window != "24h":
            raise BadRequest("`completion_window` must be 24h", param="completion_window")
        if not isinstance(asked.get("input_file_id"), str):
            raise BadRequest(
                "`input_file_id` must be the id of a file: POST /v1/files gives one", param="input_file_id"
            )
        unknown = set(asked) - {
            "endpoint",
            "completion_window",
            "input_file_id",
            "metadata",
            "output_expires_after",
        }
        if unknown:
            raise BadRequest(f"`{min(unknown)[:60]}` is no field of a batch", param=min(unknown)[:60])
        if asked.get("output_expires_after") is not None:
            raise Unsupported(
                "`output_expires_after` is not done here: delete the files when you are done",
                param="output_expires_after",
            )
        metadata = _metadata(asked.get("metadata"))
        known = self.list()
        if len(known) >= MOST_BATCHES:
            raise TooManyBatches(hint=f"remove old ones from {self._folder}")
        if sum(1 for batch in known if not batch.over) >= MOST_UNDER_WAY:
            raise TooManyBatches(
                f"{MOST_UNDER_WAY} batches are under way", hint="wait for one, or cancel one"
            )
        now = int(time.time())
        return Batch(
            f"batch_{secrets.token_hex(12)}", str(endpoint), str(asked["input_file_id"]), "24h", now,
            now + WINDOW_S, metadata, owner=owner,
        )  # fmt: skip

    def save(self, batch: Batch) -> None:
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise cannot_write(self._folder, error) from error
        write_atomically(self._folder / f"{batch.id}.json", orjson.dumps(asdict(batch)), mode=0o600)

    def get(self, name: str, owner: str = "") -> Batch:
        """Raises `NoSuchBatch`, also for one of another key."""
        found = self._read(name)
        if found is None or owner not in ("", found.owner):
            raise NoSuchBatch(f"there is no batch {name[:80]!r}", hint="GET /v1/batches lists them")
        return found

    def list(self, owner: str = "") -> list[Batch]:
        """Newest first. `owner`: only what came with this key; empty: all."""
        if not self._folder.is_dir():
            return []
        found = [self._read(path.name.removesuffix(".json")) for path in self._folder.glob("batch_*.json")]
        mine = (one for one in found if one is not None and owner in ("", one.owner))
        return sorted(mine, key=lambda one: (-one.created_at, one.id))

    def work(self, batch: Batch) -> Path:
        """Where its answers gather while it is under way."""
        return self._folder / f"{batch.id}.work.jsonl"

    def _read(self, name: str) -> Batch | None:
        if not is_id(name, "batch_"):
            return None
        try:
            return Batch(**orjson.loads((self._folder / f"{name}.json").read_bytes()))
        except (OSError, ValueError, TypeError):
            return None


def _metadata(given: Any) -> dict[str, str] | None:
    if given is None:
        return None
    fine = (
        isinstance(given, dict)
        and len(given) <= MOST_METADATA
        and all(isinstance(v, str) and len(k) <= 64 and len(v) <= 512 for k, v in given.items())
    )
    if not fine:
        raise BadRequest(
            f"`metadata` must be an object of at most {MOST_METADATA} short texts", param="metadata"
        )
    return dict(given)
