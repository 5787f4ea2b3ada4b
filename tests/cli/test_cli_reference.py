"""docs/reference is what the commands themselves say; examples of --help are command lines."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import click
import pytest

from swarmlite.cli import reference
from swarmlite.cli.root import root

FOLDER = Path(__file__).parents[2] / "docs" / "reference"
MOST_USED = [
    *(
        f"service {verb}"
        for verb in ("create", "update", "ls", "ps", "logs", "scale", "rollback", "inspect", "rm")
    ),
    *(f"stack {verb}" for verb in ("deploy", "diff", "config", "rm", "ps")),
    *("swarm init", "swarm join", "swarm join-token", "node ls", "node update", "node ps"),
    *("network create", "secret create", "secret rotate", "config create", "volume create"),
    *("run", "exec", "ps", "logs", "cp", "stats", "top", "build", "pull", "push", "events"),
]


def test_the_reference_is_up_to_date() -> None:
    made = reference.pages()
    kept = {path.name: path.read_text() for path in FOLDER.iterdir()}
    stale = sorted(name for name in made.keys() | kept.keys() if made.get(name) != kept.get(name))
    assert stale == [], "run `make reference`"


def commands() -> dict[str, tuple[click.Command, click.Context]]:
    found = {}
    top = reference.context(root, "swarmlite")
    for name, command in reference.commands(top):
        if isinstance(command, click.Group):
            ctx = reference.context(command, name, top)
            for verb, one in reference.commands(ctx):
                found[f"{name} {verb}"] = one, ctx
        else:
            found[name] = command, top
    return found


def examples(command: click.Command) -> list[str]:
    lines = (command.help or "").partition("\b\n")[2].splitlines()[1:]
    return [line.strip() for line in lines if line.strip()]


def test_commands_that_people_use_most_have_examples() -> None:
    there = commands()
    assert [name for name in MOST_USED if not examples(there[name][0])] == []


def typed() -> list[str]:
    return sorted({line for command, _ in commands().values() for line in examples(command)})


@pytest.mark.parametrize("line", typed())
def test_an_example_is_a_command_line_that_parses(
    line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every flag is there and takes its value; files that it names are not read yet."""
    monkeypatch.chdir(tmp_path)
    parts = [part for part in re.split(r" \| |<\(|\)$", line) if "swarmlite" in part]
    assert parts
    for part in parts:
        words = shlex.split(part.rpartition("swarmlite ")[2])
        parse(root, reference.context(root, "swarmlite"), words)


def parse(group: click.Group, ctx: click.Context, words: list[str]) -> None:
    name, command, rest = group.resolve_command(ctx, words)
    assert command is not None, words
    if isinstance(command, click.Group):
        parse(command, reference.context(command, str(name), ctx), rest)
    else:
        command.make_context(name, list(rest), parent=ctx)
