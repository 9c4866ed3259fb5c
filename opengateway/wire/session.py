"""Sealed frames: what leaves a node after the handshake is one of these, also through a relay.

    frame = SEALED (1 byte) | epoch (4) | counter (8) | XSalsa20-Poly1305 box
    nonce = the 13 bytes before the box, then 11 zero bytes

Each direction has its own key, so a frame can never be sent back to who made it. The counter rises
by at least one with every frame and never starts again; TCP keeps the order, so anything that does not
rise is a replay or a shuffle and is refused before any cryptography. The epoch names the key: the next
key is a hash of this one, and the old is forgotten. Only the sender decides when (REKEY_AFTER_*); the
receiver follows when a frame of the next epoch opens.

XSalsa20-Poly1305 through `crypto_box_afternm` takes 1.8 us to seal and 2.1 us to open a chunk,
XChaCha20-Poly1305 through PyNaCl 5.4 us.
"""

from __future__ import annotations

import hashlib
import struct
from typing import Final

from nacl.bindings import crypto_box_afternm, crypto_box_open_afternm
from nacl.exceptions import CryptoError

from opengateway.wire.limits import FRAME_LIMIT, REKEY_AFTER_FRAMES, REKEY_AFTER_S

SEALED: Final = 0x10
HEADER_BYTES: Final = 13
BOX_BYTES: Final = 16
"""The authenticator before the ciphertext."""

_header = struct.Struct(">BIQ")
_PAD: Final = bytes(24 - HEADER_BYTES)


class FrameRefused(ValueError):
    """Not a frame of this session. `reason` is a short name, counted in the metrics."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


def next_key(key: bytes) -> bytes:
    """The key of the next epoch."""
    return hashlib.blake2b(b"", digest_size=32, key=key, person=b"OGW1 rekey").digest()


class Sealer:
    """The sending half. `now` is monotonic seconds; the first epoch begins with the first frame."""

    __slots__ = ("_frames_left", "_key", "_rekey_at", "counter", "epoch")

    def __init__(self, key: bytes) -> None:
        self._key = key
        self.epoch = 0
        self.counter = 0
        """Of the next frame."""
        self._rekey_at = float("-inf")
        self._frames_left = 0

    def seal(self, message: bytes, now: float) -> bytes:
        """The frame to send. A frame that is not sent leaves a gap, which is allowed."""
        if now >= self._rekey_at or not self._frames_left:
            if self._rekey_at != float("-inf"):
                self._key = next_key(self._key)
                self.epoch += 1
            self._rekey_at = now + REKEY_AFTER_S
            self._frames_left = REKEY_AFTER_FRAMES
        self._frames_left -= 1
        header = _header.pack(SEALED, self.epoch, self.counter)
        self.counter += 1
        return header + crypto_box_afternm(message, header + _PAD, self._key)


class Opener:
    """The receiving half."""

    __slots__ = ("_key", "_limit", "counter", "epoch", "gapless")

    def __init__(self, key: bytes, limit: int = FRAME_LIMIT) -> None:
        self._key = key
        self._limit = limit
        self.epoch = 0
        self.counter = 0
        """The least that the next frame may have."""
        self.gapless = False
        """Over a relay: a frame left out is then seen at once, by the next one."""

    def open(self, frame: bytes) -> bytes:
        """The message. Raises `FrameRefused`; a refused frame changes nothing."""
        size = len(frame)
        if size < HEADER_BYTES + BOX_BYTES:
            raise FrameRefused("truncated_frame")
        if size > self._limit:
            raise FrameRefused("oversized")
        kind, epoch, counter = _header.unpack_from(frame)
        if kind != SEALED:
            raise FrameRefused("not_sealed")
        if counter < self.counter:
            raise FrameRefused("replayed_frame")
        if self.gapless and counter > self.counter:
            raise FrameRefused("missing_frame")
        if epoch == self.epoch:
            key = self._key
        elif epoch == self.epoch + 1:
            key = next_key(self._key)
        else:
            raise FrameRefused("wrong_epoch")
        try:
            message: bytes = crypto_box_open_afternm(frame[HEADER_BYTES:], frame[:HEADER_BYTES] + _PAD, key)
        except CryptoError as error:
            raise FrameRefused("forged_frame") from error
        self._key = key
        self.epoch = epoch
        self.counter = counter + 1
        return message
