"""Links and settings in the documents: a document that names what is not there is wrong."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from opengateway.config import KEYS

ROOT = Path(__file__).resolve().parents[1]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")])
GUIDES = ("README", "GETTING_STARTED", "OPERATING", "PRIVACY", "FAQ", "RECIPES", "HOW_IT_WORKS")


def prose(page: Path) -> str:
    """Without blocks of code."""
    return re.sub(r"^```.*?^```", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)


def links(page: Path) -> Iterator[str]:
    yield from re.findall(r"\]\(([^)\s]+)\)", prose(page))


def anchors(page: Path) -> set[str]:
    titles = re.findall(r"^#+ (.+)$", page.read_text(), flags=re.MULTILINE)
    return {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_leads_somewhere(page: Path) -> None:
    for link in links(page):
        if link.startswith(("http:", "https:", "mailto:")):
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), f"{page.name} links to {link}"
        if anchor and target.suffix == ".md":
            assert anchor in anchors(target), f"{page.name} links to {link}"


def test_the_index_names_every_document() -> None:
    index = (ROOT / "docs/README.md").read_text()
    left_out = [page.name for page in (ROOT / "docs").glob("*.md") if page.name not in index]
    assert left_out == [], "add them to docs/README.md"


@pytest.mark.parametrize("name", GUIDES)
def test_the_guides_name_settings_that_there_are(name: str) -> None:
    for page in PAGES:
        if page.stem != name:
            continue
        sections = "|".join(sorted({key.partition(".")[0] for key in KEYS if "." in key}))
        named = set(re.findall(rf"`((?:{sections})\.[a-z_]+)\b", page.read_text()))
        named -= {setting for setting in named if setting.endswith((".db", ".json", ".key", ".py", ".nodes"))}
        assert named <= set(KEYS), f"{page.name}: {sorted(named - set(KEYS))}"
