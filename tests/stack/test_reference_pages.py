"""The pages of docs/ that are made from the code are as the code is."""

from __future__ import annotations

import re
from pathlib import Path

from swarmlite.testing import reference

DOCS = Path(__file__).parents[2] / "docs"
AGAIN = "python -m swarmlite.testing.reference writes it again"


def test_the_page_of_compose_files_is_of_this_code() -> None:
    assert (DOCS / "compose.md").read_text() == reference.compose(), AGAIN


def test_the_page_of_commands_has_every_command_and_no_other() -> None:
    """Their options are written whenever the page is."""

    def named(text: str) -> list[str]:
        return re.findall(r"^## (swarmlite .*)$", text, re.MULTILINE)

    assert named((DOCS / "commands.md").read_text()) == named(reference.commands()), AGAIN
