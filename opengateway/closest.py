"""The word that was probably meant."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

LIKENESS = 0.6
"""difflib's own default: "regoin" finds "region", "port" does not find "region"."""


def closest(text: str, known: Iterable[str]) -> str:
    """The nearest of `known`; "" if none is near.

    Swapped letters win: difflib alone takes "us-esat-1" for "us-west-1".
    """
    text = text.lower()
    near = difflib.get_close_matches(text, list(known), n=5, cutoff=LIKENESS)
    swapped = [word for word in near if sorted(word) == sorted(text)]
    return (swapped or near or [""])[0]
