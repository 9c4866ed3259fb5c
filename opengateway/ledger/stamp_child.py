"""The process that looks for an identity stamp; run by its path, imports nothing of ours.

A process of its own, and not a thread: a thread of low priority that holds the interpreter's lock when it is
put aside would hold up the whole node. The conversation with the parent:

    stdin    the challenge and the average number of tries, `hex number`; then silence, until the pipe closes:
             that is the parent's end, however it came about, and so it is ours.
    stdout   `tries/s` after the first 64, then the nonce in hex.

It begins at a random nonce. Every try wins with the same chance whatever came before, so a restart loses
nothing on average; beginning at 0 each time would repeat the tries that have failed.
"""

from __future__ import annotations

import contextlib
import os
import sys
import threading
import time

from nacl.bindings import crypto_pwhash_scryptsalsa208sha256_ll

_MEASURED = 64


def attempt(challenge: bytes, nonce: bytes) -> int:
    """One try, below 2^64. libsodium's scrypt is 1.4 times as fast here as OpenSSL's."""
    out: bytes = crypto_pwhash_scryptsalsa208sha256_ll(nonce, challenge, n=1024, r=8, p=1, dklen=8)
    return int.from_bytes(out, "big")


def search(challenge: bytes, tries: int) -> bytes:
    """The first nonce that stamps from a random one on; says how fast it goes on stdout."""
    nonce, began = int.from_bytes(os.urandom(8), "big"), time.monotonic()
    done = 0
    while attempt(challenge, found := nonce.to_bytes(8, "big")) * tries >= 1 << 64:
        nonce = (nonce + 1) & ((1 << 64) - 1)
        done += 1
        if done == _MEASURED:
            sys.stdout.write(f"{done / (time.monotonic() - began):.1f}\n")
            sys.stdout.flush()
    return found


def _leave_with_parent() -> None:
    sys.stdin.buffer.read()
    os._exit(0)


def main() -> None:
    with contextlib.suppress(OSError, AttributeError):
        os.nice(19)
    challenge, tries = sys.stdin.readline().split()
    threading.Thread(target=_leave_with_parent, daemon=True).start()
    sys.stdout.write(search(bytes.fromhex(challenge), int(tries)).hex() + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
