"""The page of docs/ that is made of the keys of compose files is as the code is."""

from __future__ import annotations

from pathlib import Path

from swarmlite.testing import reference

DOCS = Path(__file__).parents[2] / "docs"
AGAIN = "python -m swarmlite.testing.reference writes it again"


def test_the_page_of_compose_files_is_of_this_code() -> None:
    assert (DOCS / "compose.md").read_text() == reference.compose(), AGAIN
