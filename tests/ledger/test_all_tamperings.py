"""The 44 tamperings of the design are cases of their own, under their numbers."""

from __future__ import annotations

import re
from pathlib import Path

HERE = Path(__file__).parent


def test_each_of_the_44_tamperings_has_its_case() -> None:
    text = "".join(path.read_text() for path in sorted(HERE.glob("test_tampering*.py")))
    numbers = {int(number) for number in re.findall(r"^def test_(\d\d)[a-z]?_", text, re.MULTILINE)}
    assert numbers == set(range(1, 45))
