"""What the wire takes from strangers and friends, and why not more. PROTOCOL.md has the same table; a
test compares them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

FRAME_LIMIT: Final = 1 << 20
"""Bytes of one frame. A prompt of 128k tokens is about 600 kB of text; nothing larger is one message."""

MESSAGES_PER_FRAME: Final = 64
"""What a node says to a peer within one turn of its loop shares a frame: an answer of three messages, the
tokens of many streams. A full one takes 0.3 ms to read, so that nobody holds up the loop with one frame."""

HELLO_LIMIT: Final = 16 * 1024
"""Bytes of HELLO, WELCOME and REFUSAL. A node record is at most 8 KiB, the rest of a HELLO 300 bytes;
twice that is room to grow, and still small enough that a flood of them is cheap to refuse."""

RECORD_LIMIT: Final = 8 * 1024
"""Bytes of a signed node record: 50 models take 6 kB."""

STREAMS_PER_PEER: Final = 64
"""Open streams that one peer may have with us; kept by whoever serves streams. Twice the slots of the
largest worker that we have seen, and 64 * STREAM_WINDOW chunks is 330 kB in flight."""

CLOCK_WINDOW_MS: Final = 120_000
"""How old a HELLO may be by its receiver's clock. NTP keeps a home computer within 100 ms; a machine two
minutes off cannot date ledger entries either."""
SKEW_LIMIT_MS: Final = 24 * 3600 * 1000
"""How far apart the clocks of two peers may be. A computer that takes its clock's local time for UTC is up to
14 hours off; more is not a time zone but a dead battery, and certain to spoil whatever it dates."""
CLOCK_STEP_MS: Final = 1000
"""A clock that was set by more is told to all peers; NTP itself slews what is below 128 ms."""

PING_EVERY_S: Final = 2.0
"""By the end that dialled. The other hears these, and answers them."""
LISTEN_S: Final = 2.75
"""Silence after which the end that was dialled pings, too: three ticks after the other one should have.
If both pinged every 2 s, an idle session would cost twice as much."""
MEASURE_EVERY_S: Final = 10.0
"""Between Pings of the end that was dialled, which it sends for the round trip alone."""
SILENT_AFTER_S: Final = 6.0
"""Three pings lost: together with one tick a killed peer is noticed in 6.5 s, within the 10 s promised."""
UNANSWERED_AFTER_S: Final = 30.0
"""A peer that talks but never answers a ping. Longer than SILENT_AFTER_S because a Pong may wait behind
4 MiB of data on a slow uplink."""

REKEY_AFTER_S: Final = 3600.0
REKEY_AFTER_FRAMES: Final = 1 << 32
"""Far below what XSalsa20 could bear: forward secrecy within a long session is the reason."""

ACK_EVERY_BYTES: Final = 256 * 1024
"""An extra Ping after so many bytes: its Pong proves that everything before it has been read."""

REFUSALS_PER_SESSION: Final = 16
"""Forged or malformed frames from one session before we hang up."""

NONCES_KEPT: Final = 20_000
"""Nonces of HELLOs remembered, 3 MB. Should a flood push an old one out, its replay could do no more
than occupy a half-open place for 5 s: nobody can finish a handshake whose ephemeral key is not his."""

HELD_FRAMES: Final = 4096
"""Messages that may wait on one connection for the peer's Moved on another; see peer.py."""

FRAGMENT: Final = 64 * 1024
"""Bytes of a frame that a circuit carries in one piece: 50 ms at 10 Mbit/s, which others wait."""

CIRCUIT_WINDOW: Final = 256 * 1024
"""Bytes on the way on one hop of a circuit, in one direction. At 50 ms round trip that is 5 MB/s, more than
any answer needs, and all that a relay ever holds of it."""

CIRCUITS_IN: Final = 128
"""Circuits that one relay may open to us: as many as an honest one has."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Those that a deployment or a test may want different."""

    frame: int = FRAME_LIMIT
    hello: int = HELLO_LIMIT
    hellos_per_address_per_s: float = 10.0
    """A HELLO costs us 0.3 ms of CPU (one verification, one signature, two X25519): 10 a second from one
    address is 0.3 % of a core. A whole household behind one address restarts slower than that."""
    hellos_burst: int = 20
    hellos_per_s: float = 200.0
    """From everybody together: 6 % of a core, whoever floods from however many addresses."""
    half_open: int = 256
    """Handshakes that wait for their first sealed message, 1 kB + record each. One address can hold
    burst + 5 s * 10 = 70 of them at most, so it takes several to fill the table."""
    half_open_s: float = 5.0
    sessions: int = 1024
    """File descriptors: the usual soft limit is 1,024, and start raises it where it can."""
    queued_bytes: int = 4 << 20
    """Sent to one peer and not yet known to be read. At 100 ms round trip that still carries 40 MB/s,
    and a peer that never reads costs us no more than this."""
    dial_s: float = 5.0
    """Until a dialled endpoint counts as not answering: two TCP retransmissions on a bad link."""
    relayed_dial_s: float = 10.0
    """The same through a relay, with which there may have to be a session first."""
