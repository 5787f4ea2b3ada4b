"""Commands that the documents show are commands that are there, with flags that are there."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from swarmlite.cli.root import root

CLONE = Path(__file__).parents[2]
DOCUMENTS = [CLONE / "README.md", *sorted((CLONE / "docs").rglob("*.md"))]
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```", re.M | re.S)
CALL = re.compile(r"(?:[#$] )?(?:sudo )?swarmlite (.*)")


def commands(document: Path) -> Iterator[list[str]]:
    """The words of each line of a block that calls swarmlite, behind that name."""
    for language, block in BLOCK.findall(document.read_text()):
        for line in block.splitlines() if language in ("", "console") else ():
            if call := CALL.match(line):
                yield shlex.split(call[1], comments=True)


def parse(command: click.Command, name: str, args: list[str], parent: click.Context | None) -> None:
    """Let click read a command line to its end without running it."""
    with command.make_context(name, args, parent) as context:
        if isinstance(command, click.Group):
            rest = [*context._protected_args, *context.args]
            found_name, found, rest = command.resolve_command(context, rest)
            assert found is not None and found_name is not None
            parse(found, found_name, rest, context)


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(CLONE)))
def test_the_commands_that_a_document_shows_are_understood(document: Path) -> None:
    for words in commands(document):
        try:
            parse(root, "swarmlite", list(words), None)
        except click.ClickException as error:
            pytest.fail(f"swarmlite {shlex.join(words)}: {error.format_message()}")


def test_there_are_commands_to_look_at() -> None:
    assert sum(1 for document in DOCUMENTS for _ in commands(document)) > 50


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(CLONE)))
def test_the_links_of_a_document_lead_to_files_and_headings(document: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", document.read_text()):
        path, _, heading = target.partition("#")
        if "://" in target:
            continue
        file = (document.parent / path).resolve() if path else document
        assert file.exists(), target
        if heading:
            assert heading in headings(file), target


def headings(document: Path) -> set[str]:
    """The anchors of a document's headings, as forges make them."""
    lines = re.findall(r"^#+ (.*)$", document.read_text(), re.M)
    return {re.sub(r"[^\w\- ]", "", line.lower()).replace(" ", "-") for line in lines}
