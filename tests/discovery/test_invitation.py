"""Invitations: one line, and what is said about one that is no good."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from opengateway.discovery.invitation import (
    PREFIX,
    Invitation,
    InvitationRefused,
    looks_like_one,
    read,
    write,
)
from opengateway.identity import Identity, base32

NOW = 1_780_000_000_000
NODE = Identity(bytes(range(32))).node_id
INVITATION = Invitation(
    "family", "correct horse battery staple", NOW + 1, ((NODE, "tcp://8.8.4.4:11436"),), ("8.8.4.4:11437",)
)


def refusal(line: str, now_ms: int = NOW) -> InvitationRefused:
    with pytest.raises(InvitationRefused) as caught:
        read(line, now_ms=now_ms)
    assert caught.value.hint
    assert "horse" not in f"{caught.value} {caught.value.hint}"
    return caught.value


def test_a_line_brings_everything_that_is_needed_to_join() -> None:
    found = read(write(INVITATION), now_ms=NOW)
    assert found == INVITATION
    assert found.bootstrap == (f"{base32(NODE)}@8.8.4.4:11436",)


@pytest.mark.parametrize(
    "where", ["tcp://home.example.org:11436", "tcp://nas:1", "tcp://8.8.4.4:65535", "tcp://[2606:4700::1]:9"]
)
def test_an_entrance_is_an_address_or_a_name_that_outlives_one(where: str) -> None:
    found = read(write(replace(INVITATION, entries=((NODE, where),))), now_ms=NOW)
    assert found.bootstrap == (f"{base32(NODE)}@{where.removeprefix('tcp://')}",)


@pytest.mark.parametrize(
    "where",
    [
        "tcp://Home.example.org:1",
        "tcp://a b:1",
        "tcp://-x:1",
        "tcp://x..y:1",
        "tcp://nas",
        "tcp://nas:0",
        "tcp://nas:70000",
        "ipc://nas:1",
        "tcp://8.8.4:1",
        "tcp://0.0.0.0:1",
        f"tcp://{'x' * 80}:1",
    ],
)
def test_what_is_neither_is_refused(where: str) -> None:
    assert "another version" in refusal(write(replace(INVITATION, entries=((NODE, where),)))).message


def test_case_spaces_and_line_breaks_do_not_matter() -> None:
    line = write(INVITATION)
    assert read(f"  {line.upper()[:40]}\r\n  {line[40:]} \n", now_ms=NOW) == INVITATION


@given(
    st.text(st.characters(codec="utf-8", exclude_categories=["Z", "C"]), min_size=1, max_size=40),
    st.text(st.characters(exclude_categories=["Cs"]), max_size=60),
    st.integers(NOW + 1, (1 << 53) - 1),
)
def test_any_name_and_secret_come_back_as_they_were(name: str, secret: str, expires_ms: int) -> None:
    invitation = Invitation(name, secret, expires_ms, (), ())
    assert read(write(invitation), now_ms=NOW) == invitation


@given(st.data())
def test_a_line_with_one_wrong_character_is_never_taken(draw: st.DataObject) -> None:
    line = write(INVITATION)
    at = draw.draw(st.integers(len(PREFIX), len(line) - 1))
    wrong = draw.draw(st.sampled_from([c for c in "abcdefghijklmnopqrstuvwxyz234567" if c != line[at]]))
    try:
        assert read(line[:at] + wrong + line[at + 1 :], now_ms=NOW) == INVITATION
    except InvitationRefused:
        return
    # The last character may hold bits that mean nothing.
    assert at == len(line) - 1


@given(st.text(max_size=200))
def test_arbitrary_text_is_refused_and_never_anything_else(text: str) -> None:
    for line in (text, PREFIX + text):
        with pytest.raises(InvitationRefused):
            read(line, now_ms=NOW)


def test_what_is_wrong_is_said_in_one_sentence() -> None:
    line = write(INVITATION)
    assert "damaged" in str(refusal(line[:-3]))
    assert "damaged" in str(refusal(line[:50] + line[51:]))
    assert "begins with ogw1" in str(refusal("hello"))
    assert "begins with ogw1" in str(refusal(base32(NODE)))
    assert "expired" in str(refusal(line, now_ms=NOW + 1))


def test_no_node_id_looks_like_an_invitation() -> None:
    assert looks_like_one(write(INVITATION))
    assert not any(looks_like_one(base32(Identity.generate().node_id)) for _ in range(50))


def test_the_secret_is_in_no_text_that_ends_up_in_a_log() -> None:
    assert "horse" not in repr(INVITATION)
    assert "horse" not in str(INVITATION)
