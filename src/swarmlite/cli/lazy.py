"""Click with the habits of Docker's command line, and without loading what is not called.

`Group` finds a verb's module when the verb is called; `Command` understands `--flag=false`;
`parsed()` makes an option's type of a function that raises InvalidSpec.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import click

from swarmlite.errors import InvalidSpec

_TRUE, _FALSE = ("1", "t", "true", "T", "True", "TRUE"), ("0", "f", "false", "F", "False", "FALSE")


class BadFlag(click.BadParameter):
    """A flag's or an argument's value that does not parse."""

    def __init__(self, value: str, reason: str, ctx: click.Context | None, param: Any) -> None:
        super().__init__(reason, ctx=ctx, param=param)
        self.value = value

    def line(self) -> str:
        """Docker's sentence: the value, the flag, and what would be right."""
        if isinstance(self.param, click.Option):
            flags = ", ".join(sorted(self.param.opts, key=len))
            return f'invalid argument "{self.value}" for "{flags}" flag: {self.message}'
        return f'invalid argument "{self.value}": {self.message}'


if TYPE_CHECKING:
    _Type = click.ParamType[Any]
else:
    _Type = click.ParamType  # generic in newer releases only


class _Parsed(_Type):
    def __init__(self, parse: Callable[[str], Any], name: str) -> None:
        self.name, self._parse = name, parse

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if not isinstance(value, str):
            return value
        try:
            return self._parse(value)
        except InvalidSpec as error:
            raise BadFlag(value, str(error), ctx, param) from error


def parsed(parse: Callable[[str], Any], name: str = "string") -> click.ParamType[Any]:
    """The type of an option whose value is what `parse` makes of the text."""
    return _Parsed(parse, name)


def integer(text: str) -> int:
    """An int of decimal digits. Raises InvalidSpec."""
    try:
        return int(text) if text.isascii() else int("x")
    except ValueError as error:
        raise InvalidSpec("expected a whole number") from error


def count(text: str) -> int:
    """A number of things: an int from 0 to 2**63 - 1. Raises InvalidSpec."""
    value = integer(text)
    if not 0 <= value < 2**63:
        raise InvalidSpec("expected a whole number, 0 or more")
    return value


INTEGER = parsed(integer, "int")
COUNT = parsed(count, "uint")


def one_of(**words: Any) -> click.ParamType[Any]:
    """A type of a few words; a keyword's `_` stands for `-`."""
    table = {word.replace("_", "-"): value for word, value in words.items()}

    def parse(text: str) -> Any:
        if text not in table:
            raise InvalidSpec(f"expected {' or '.join(table)}")
        return table[text]

    return parsed(parse)


class Command(click.Command):
    """One verb. Options may follow its arguments unless `swallow` (a command for a container)."""

    def __init__(self, *args: Any, swallow: bool = False, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.context_settings.setdefault("help_option_names", ["--help"])
        self.context_settings.setdefault("max_content_width", 100)
        if swallow:
            self.allow_interspersed_args = False

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """As click, after `--flag=true` and `--flag=false` became what click knows."""
        return super().parse_args(ctx, self._without_values(args))

    def _without_values(self, args: Sequence[str]) -> list[str]:
        options = {name: p for p in self.params if isinstance(p, click.Option) for name in p.opts}
        result: list[str] = []
        waiting = False  # whether the next word is the value of the option before it
        for index, arg in enumerate(args):
            name, equals, value = arg.partition("=")
            option = options.get(name)
            if not waiting and (
                arg == "--" or (not arg.startswith("-") and not self.allow_interspersed_args)
            ):
                return [*result, *args[index:]]
            if not waiting and equals and option is not None and option.is_flag:
                result += self._flag(option, name, value)
                continue
            waiting = not waiting and not equals and option is not None and not option.is_flag
            result.append(arg)
        return result

    @staticmethod
    def _flag(option: click.Option, name: str, value: str) -> list[str]:
        if value in _TRUE:
            return [name]
        if value not in _FALSE:
            raise BadFlag(value, "expected true or false", None, option)
        return [option.secondary_opts[0]] if option.secondary_opts else []


class _Flag(click.Option):
    """A boolean that shows no --no- form, though `--flag=false` is understood."""

    def get_help_record(self, ctx: click.Context) -> tuple[str, str] | None:
        secondary, self.secondary_opts = self.secondary_opts, []
        try:
            return super().get_help_record(ctx)
        finally:
            self.secondary_opts = secondary


def flag(*names: str, default: bool = False, help: str, **kwargs: Any) -> Callable[[Any], Any]:
    """A boolean option: `--name`, `--name=true` or `--name=false`."""
    long = next(name for name in names if name.startswith("--"))
    declared = [f"{long}/--no-{long[2:]}" if name == long else name for name in names]
    return click.option(*declared, cls=_Flag, default=default, help=help, **kwargs)


def refused(*names: str) -> Callable[[Any], Any]:
    """Docker's options that take a value and are not honoured: each is refused by its name."""

    def refuse(ctx: click.Context, param: click.Parameter, value: object) -> None:
        if value is not None:
            raise InvalidSpec(f"{param.opts[0]}: not supported yet")

    def decorate(command: Any) -> Any:
        for name in names:
            option = click.option(name, callback=refuse, hidden=True, expose_value=False)
            command = option(command)
        return command

    return decorate


class Group(click.Group):
    """Verbs by name, each a module with a `command`, or a Group; imported when called."""

    def __init__(self, name: str, help: str, verbs: dict[str, tuple[str | click.Command, str]]):
        super().__init__(name, help=help, context_settings={"help_option_names": ["--help"]})
        self._verbs = verbs

    def list_commands(self, ctx: click.Context) -> list[str]:
        """All verbs, in the order that Docker's help has."""
        return list(self._verbs)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The verb's command; its module is imported here."""
        found, _ = self._verbs.get(cmd_name, (None, ""))
        if isinstance(found, str):
            command: click.Command = importlib.import_module(found).command
            return command
        return found

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The list of verbs with their lines, without importing any."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, line) for name, (_, line) in self._verbs.items()])
