"""Every error that a user can meet.

The message says what happened and what it means, `hint` what to do next. `code` is stable: programs
and peers go by it (it travels on the wire), and `status` is what HTTP answers with.

    OpenGatewayError
     +-- SetupError             before the node runs: exit code 1, one sentence
     |    +-- ConfigInvalid, UnknownRegion, HomeBusy, NotRunning, PortTaken, DiskFull, IdentityUnreadable,
     |         LedgerMismatch
     +-- RequestError           one request fails, the node goes on
     |    +-- BadRequest (Unsupported), Unauthorized, UnknownModel, UnknownRequest, ContextTooLong,
     |    |    NotEnoughCredit, LedgerRefused, LedgerReadOnly, VoucherMissing, StampMissing, HeadMissing
     |    |    (OfferOutdated is a LedgerRefused)
     |    +-- AllBusy, DeadlinePassed, EngineUnavailable, EngineFailed, WorkerLost, AnswerBrokenOff,
     |         Cancelled
     +-- PeerError              one peer fails or misbehaves, the node goes on
          +-- PeerUnknown, PeerUnreachable
"""

from __future__ import annotations

from typing import ClassVar


class OpenGatewayError(Exception):
    """Something went wrong that has a name."""

    code: ClassVar[str] = "internal_error"
    status: ClassVar[int] = 500

    def __init__(self, message: str = "", *, hint: str = "", retry_after: float | None = None) -> None:
        super().__init__(message or (type(self).__doc__ or "").strip())
        self.hint = hint
        self.retry_after = retry_after
        """Seconds after which trying again makes sense; None where it does not."""

    @property
    def message(self) -> str:
        return str(self.args[0])


class SetupError(OpenGatewayError):
    """The node cannot start."""

    code = "setup_error"


class ConfigInvalid(SetupError):
    """The configuration cannot be used."""

    code = "config_invalid"


class UnknownRegion(ConfigInvalid):
    """No such region."""

    code = "unknown_region"


class HomeBusy(SetupError):
    """Another node is running from this home folder."""

    code = "home_busy"


class NotRunning(SetupError):
    """No node is running here."""

    code = "not_running"


class PortTaken(SetupError):
    """The port is in use by another program."""

    code = "port_taken"


class DiskFull(SetupError):
    """The disk is full, so nothing can be kept."""

    code = "disk_full"
    status = 507


class LedgerMismatch(SetupError):
    """The ledger in this home belongs to another key or another network."""

    code = "ledger_mismatch"


class IdentityUnreadable(SetupError):
    """This node's key cannot be read."""

    code = "identity_unreadable"


class RequestError(OpenGatewayError):
    """This request failed; the next one may not."""

    code = "request_failed"


class BadRequest(RequestError):
    """The request is not one that can be answered. `param` is the field that is wrong, as OpenAI names it."""

    code = "invalid_request"
    status = 400

    def __init__(
        self, message: str = "", *, param: str = "", hint: str = "", retry_after: float | None = None
    ) -> None:
        super().__init__(message, hint=hint, retry_after=retry_after)
        self.param = param


class Unsupported(BadRequest):
    """A field of the request cannot be honoured by anybody in reach."""

    code = "unsupported_parameter"


class Unauthorized(RequestError):
    """The request carries no valid key."""

    code = "unauthorized"
    status = 401


class NotEnoughCredit(RequestError):
    """The node that was asked wants credit first."""

    code = "insufficient_credit"
    status = 402
    missing: int = 0
    """ucr that would have been enough."""


class LedgerRefused(RequestError):
    """A ledger entry cannot be accepted. `reason` is a short name, counted in the metrics."""

    code = "ledger_refused"
    status = 402

    def __init__(
        self, message: str = "", *, reason: str = "", hint: str = "", retry_after: float | None = None
    ) -> None:
        super().__init__(message, hint=hint, retry_after=retry_after)
        self.reason = reason


class OfferOutdated(LedgerRefused):
    """The price has changed since the offer that this request goes by."""

    code = "offer_outdated"


class VoucherMissing(RequestError):
    """The answer was broken off because the asking node stopped paying."""

    code = "voucher_missing"
    status = 402


class TabClosed(RequestError):
    """The node that was asked knows no such tab: the request is to come with a hold of its own."""

    code = "tab_closed"
    status = 409


class StampMissing(RequestError):
    """The node that was asked wants to see this node's identity stamp first."""

    code = "stamp_missing"
    status = 402


class HeadMissing(RequestError):
    """The node that was asked wants to see this node's ledger, cosigned by whom it trusts, first."""

    code = "head_missing"
    status = 402
    anchors = b""
    """Whose cosignatures it wants: ids, one after the other."""
    known = 0
    """One more than the place of the highest entry of ours that it has seen; 0: none."""


class LedgerReadOnly(RequestError):
    """This node's ledger may have lost entries, so nothing is signed until it is repaired."""

    code = "ledger_read_only"
    status = 503


class UnknownModel(RequestError):
    """Nobody that can be reached serves this model."""

    code = "model_not_found"
    status = 404


class UnknownRequest(RequestError):
    """No such request is remembered."""

    code = "request_unknown"
    status = 404


class ContextTooLong(RequestError):
    """The prompt and the answer do not fit into the model's context."""

    code = "context_length_exceeded"
    status = 400


class Cancelled(RequestError):
    """The caller went away."""

    code = "cancelled"
    status = 499


class EngineFailed(RequestError):
    """The engine broke while it was answering."""

    code = "engine_failed"
    status = 502


class WorkerLost(RequestError):
    """The node that was answering is gone."""

    code = "worker_lost"
    status = 502


class AnswerBrokenOff(RequestError):
    """The answer broke off, and nobody could go on with it."""

    code = "answer_broken_off"
    status = 502


class AllBusy(RequestError):
    """Everyone who serves this model is busy."""

    code = "all_busy"
    status = 503


class EngineUnavailable(RequestError):
    """The engine is not running."""

    code = "engine_unavailable"
    status = 503


class DeadlinePassed(RequestError):
    """The request was not answered in time."""

    code = "deadline_passed"
    status = 504


class PeerError(OpenGatewayError):
    """Something is wrong with one peer."""

    code = "peer_error"
    status = 502


class PeerUnknown(PeerError):
    """No such peer."""

    code = "peer_unknown"
    status = 404


class PeerUnreachable(PeerError):
    """The peer does not answer."""

    code = "peer_unreachable"


def _leaves(kind: type[OpenGatewayError]) -> dict[str, type[OpenGatewayError]]:
    """By code; where a part of the node has its own error with the same code, the one above is meant."""
    found = {kind.code: kind}
    for child in kind.__subclasses__():
        found = _leaves(child) | found
    return found


def from_code(
    code: str, message: str, *, hint: str = "", retry_after: float | None = None
) -> OpenGatewayError:
    """The error that a peer meant. An unknown code is still an error, with the peer's words."""
    kind = _leaves(OpenGatewayError).get(code, RequestError)
    return kind(message, hint=hint, retry_after=retry_after)
