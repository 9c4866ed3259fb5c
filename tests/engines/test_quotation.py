"""Signed quotes: what one signs the other reads, and nothing else passes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from opengateway.engines.quotation import MOST_HOLD_MS, Terms, open_quote, sign_quote
from opengateway.identity import Identity, network_id
from opengateway.wire.envelope import QUOTE, REFUSAL, EnvelopeRefused, sign_envelope

WORKER, ASKER, OTHER = Identity(b"w" * 32), Identity(b"a" * 32), Identity(b"o" * 32)
NET = network_id("quotes")
TERMS = Terms(b"\x0c" * 32, 875, 7000, 12, 4, 2, 2000, 1, 1500, 300_000, 45_500)


def signed(terms: Terms = TERMS, stream: int = 7) -> bytes:
    return sign_quote(WORKER, NET, ASKER.node_id, stream, terms, now_ms=1_700_000_000_000)


def read(data: bytes, stream: int = 7) -> Terms:
    return open_quote(data, NET, WORKER.node_id, ASKER.node_id, stream)


def test_what_is_signed_is_read() -> None:
    assert read(signed()) == TERMS


@given(st.lists(st.integers(0, 1 << 70), min_size=10, max_size=10))
def test_whatever_we_sign_is_within_the_bounds_that_others_read(numbers: list[int]) -> None:
    terms = read(signed(Terms(b"", *numbers)))
    assert terms.hold_ms <= MOST_HOLD_MS


def test_a_quote_for_another_or_by_another_or_for_another_stream_is_refused() -> None:
    data = signed()
    for peer, own, stream in (
        (OTHER.node_id, ASKER.node_id, 7),
        (WORKER.node_id, OTHER.node_id, 7),
        (WORKER.node_id, ASKER.node_id, 8),
    ):
        with pytest.raises(EnvelopeRefused):
            open_quote(data, NET, peer, own, stream)


@pytest.mark.parametrize(
    "body",
    [
        [],
        [7],
        [7, b"", *[0] * 9],
        [7, b"", *[0] * 11],
        [7, b"short", *[0] * 10],
        [7, "text", *[0] * 10],
        [7, b"", *[0] * 9, True],
        [7, b"", *[0] * 5, MOST_HOLD_MS + 1, *[0] * 4],
        [7, b"", *[0] * 9, "fast"],
    ],
)
def test_a_signed_body_of_another_shape_is_refused(body: list[object]) -> None:
    data = sign_envelope(WORKER, NET, QUOTE, body, t_ms=1, recipient=ASKER.node_id)
    with pytest.raises(EnvelopeRefused):
        read(data)


def test_a_refusal_is_no_quote() -> None:
    body = [7, b"", *[0] * 10]
    data = sign_envelope(WORKER, NET, REFUSAL, body, t_ms=1, recipient=ASKER.node_id)
    with pytest.raises(EnvelopeRefused):
        read(data)
