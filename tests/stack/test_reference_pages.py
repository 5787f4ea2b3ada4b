"""The pages of docs/ that are made from the code are as the code is."""

from __future__ import annotations

import re
from pathlib import Path

from swarmlite.testing import reference

DOCS = Path(__file__).parents[2] / "docs"
AGAIN = "python -m swarmlite.testing.reference writes it again"


def test_the_page_of_compose_files_is_of_this_code() -> None:
    assert (DOCS / "compose.md").read_text() == reference.compose(), AGAIN


def test_the_page_of_commands_names_none_that_is_not_there() -> None:
    """A new one is on it once the page is written again, as their options are."""

    def named(text: str) -> set[str]:
        return set(re.findall(r"^## (swarmlite .*)$", text, re.MULTILINE))

    there = named(reference.commands())
    assert {"swarmlite run", "swarmlite stack deploy", "swarmlite ui open"} <= there
    assert named((DOCS / "commands.md").read_text()) <= there, AGAIN
