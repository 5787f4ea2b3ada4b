"""docs/reference, made from the commands themselves: `python -m swarmlite.cli.reference FOLDER`.

A page for each noun and one for the commands without, each command with its usage, its examples and
its options as `--help` has them. `pages()` is the whole of it, so that a test can compare.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Iterator
from pathlib import Path

import click

from swarmlite.cli.root import root

INDEX = "README.md"
OTHERS = "commands.md"
FIRST = (
    "<!-- Made by `make reference` from the commands' own help: change that. -->\n\n"
    "# {title}\n\n{line}\n"
)


def pages() -> dict[str, str]:
    """File names to texts."""
    top = context(root, "swarmlite")
    made, index, others = {}, [], []
    for name, command in commands(top):
        line = command.get_short_help_str(200)
        if isinstance(command, click.Group):
            if command.name != name:
                continue  # another word for a noun that has its page
            ctx = context(command, name, top)
            parts = [_section(one, ctx, verb) for verb, one in commands(ctx)]
            first = FIRST.format(title=f"swarmlite {name}", line=_sentence(command.help or line))
            made[f"{name}.md"] = "\n".join([first, *parts])
            index.append(f"- [{name}]({name}.md): {line}")
        else:
            others.append((name, command))
    of_host = "Commands without a noun; those of containers are `swarmlite container VERB` too."
    parts = [_section(command, top, name) for name, command in others]
    made[OTHERS] = "\n".join([FIRST.format(title="swarmlite", line=of_host), *parts])
    index += [f"- [{name}]({OTHERS}#swarmlite-{name}): {_line(name)}" for name, _ in others]
    about = f"{_sentence(root.help or '')} See [cli.md](../cli.md) for what differs from Docker's."
    first = FIRST.format(title="The command line", line=about)
    made[INDEX] = "\n".join([first, *index, "", "## Global options", "", *_options(root, top), ""])
    return made


def context(
    command: click.Command, name: str, parent: click.Context | None = None
) -> click.Context:
    """A command's, as click makes it: it keeps the options that it is asked for first."""
    return click.Context(command, info_name=name, parent=parent, **command.context_settings)


def commands(ctx: click.Context) -> Iterator[tuple[str, click.Command]]:
    """A group's that are not hidden, by name."""
    group = ctx.command
    assert isinstance(group, click.Group)
    for name in group.list_commands(ctx):
        command = group.get_command(ctx, name)
        if command is not None and not command.hidden:
            yield name, command


def _line(name: str) -> str:
    return root._verbs[name][1]


def _section(command: click.Command, parent: click.Context, name: str) -> str:
    ctx = context(command, name, parent)
    usage = " ".join((ctx.command_path, *command.collect_usage_pieces(ctx)))
    parts = [f"## {ctx.command_path}", "", f"    {usage}", "", *_text(command.help or "")]
    if options := _options(command, ctx):
        parts += ["", *options]
    return "\n".join([*parts, ""])


def _text(help: str) -> list[str]:
    """Paragraphs; what is kept as it is, after click's mark, is indented."""
    lines = []
    for paragraph in inspect.cleandoc(help).split("\n\n"):
        if paragraph.startswith("\b\n"):
            title, *rest = paragraph.splitlines()[1:]
            lines += [title, "", *(f"    {line.strip()}" for line in rest), ""]
        else:
            lines += [*(line.strip() for line in paragraph.splitlines()), ""]
    return lines[:-1]


def _options(command: click.Command, ctx: click.Context) -> list[str]:
    """One line each, by their long names as --help has them; --help itself is on every command."""
    found = []
    for param in command.params:
        record = param.get_help_record(ctx) if isinstance(param, click.Option) else None
        if record is not None and record[0] != "--help":
            names, text = record
            said = " ".join(text.split())
            found.append((_key(names), f"- `{names}`: {said}" if said else f"- `{names}`"))
    return [line for _, line in sorted(found)]


def _key(names: str) -> str:
    words = names.replace(",", " ").split()
    return next((word for word in words if word.startswith("--")), words[0]).strip("-")


def _sentence(line: str) -> str:
    return line.strip().rstrip(".") + "."


def main(folder: Path) -> None:
    """Write the pages, and take away those of nouns that are gone."""
    folder.mkdir(parents=True, exist_ok=True)
    made = pages()
    for path in folder.glob("*.md"):
        if path.name not in made:
            path.unlink()
    for name, text in made.items():
        (folder / name).write_text(text)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
