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
DOCUMENTS = [
    *sorted(CLONE.glob("*.md")),
    *(file for folder in ("docs", "deploy") for file in sorted((CLONE / folder).rglob("*.md"))),
]
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```", re.M | re.S)
CALL = re.compile(r"(?:[#$] )?(?:sudo )?swarmlite (.*)")
SAID = re.compile(r"`(swarmlite |)([^`]*)`")
OPEN = re.compile(r"[\[<|…]|\.\.\.|NAME=|NOUN|VERB")
"""What is in the place of words, not words."""


def mentioned(document: Path) -> Iterator[list[str]]:
    """The words of each command that a sentence names, with or without `swarmlite`."""
    for name, said in SAID.findall(BLOCK.sub("", document.read_text())):
        words = said.split()
        if OPEN.search(said) or not words or not (name or is_command(words)):
            continue
        yield shlex.split(said)


def is_command(words: list[str]) -> bool:
    """Whether these begin as `service update` does."""
    with click.Context(root) as context:
        group = root.get_command(context, words[0])
        if len(words) < 2 or not isinstance(group, click.Group):
            return False
        return group.get_command(context, words[1]) is not None or words[1].startswith("-")


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


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(CLONE)))
def test_the_commands_that_a_document_mentions_are_there(document: Path) -> None:
    """With the flags that are said; the rest of their words may be left out."""
    for words in mentioned(document):
        try:
            parse(root, "swarmlite", list(words), None)
        except (click.exceptions.Exit, click.MissingParameter):
            continue  # it asks for help, or is not whole
        except click.BadParameter as error:
            assert any(word.isupper() for word in words), f"{shlex.join(words)}: {error}"
        except click.UsageError as error:
            assert "argument" in error.format_message(), f"{shlex.join(words)}: {error}"


def test_there_are_commands_to_look_at() -> None:
    assert sum(1 for document in DOCUMENTS for _ in commands(document)) > 50
    assert sum(1 for document in DOCUMENTS for _ in mentioned(document)) > 100


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
