"""Click with the habits of Docker's command line, and without loading what is not called.

`Group` finds a verb's module when the verb is called; `Command` understands `--flag=false`;
`parsed()` makes an option's type of a function that raises InvalidSpec.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import click

from swarmlite.errors import InvalidSpec
from swarmlite.model.wording import any_of

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


class Failed(click.ClickException):
    """A line for standard error, and the status that the process ends with."""

    def __init__(self, line: str, status: int) -> None:
        super().__init__(line)
        self.status = status


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
            raise InvalidSpec(f"expected {any_of(table)}")
        return table[text]

    return parsed(parse)


class _WithFlags(click.Command):
    """Understands `--flag=true` and `--flag=false` of its options."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """As click, after `--flag=true` and `--flag=false` became what click knows."""
        return super().parse_args(ctx, self._without_values(ctx, args))

    def _without_values(self, ctx: click.Context, args: Sequence[str]) -> list[str]:
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
                result += self._flag(ctx, option, name, value)
                continue
            waiting = not waiting and not equals and option is not None and not option.is_flag
            result.append(arg)
        return result

    @staticmethod
    def _flag(ctx: click.Context, option: click.Option, name: str, value: str) -> list[str]:
        if value in _TRUE:
            return [name]
        if value not in _FALSE:
            raise BadFlag(value, "expected true or false", ctx, option)
        return [option.secondary_opts[0]] if option.secondary_opts else []


class Command(_WithFlags):
    """One verb. Options may follow its arguments unless `swallow` (a command for a container)."""

    def __init__(self, *args: Any, swallow: bool = False, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        # Where -h is an option of the command's own (run -h HOSTNAME), click leaves it to that.
        self.context_settings.setdefault("help_option_names", ["--help", "-h"])
        self.context_settings.setdefault("max_content_width", 100)
        if swallow:
            self.allow_interspersed_args = False

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[Any]:
        """As click; of arguments that name something, those that are there."""
        return [item for item in super().shell_complete(ctx, incomplete) if not _is_no(item.value)]

    def make_context(self, *args: Any, **kwargs: Any) -> click.Context:
        """As click; for a shell that completes, arguments and options know what they name."""
        if kwargs.get("resilient_parsing"):
            self._name_arguments()
        return super().make_context(*args, **kwargs)

    def _name_arguments(self) -> None:
        from swarmlite.cli import completing

        def complete_as(kind: str) -> Callable[[click.Context, str], list[Any]]:
            return lambda ctx, begun: completing.complete(ctx, kind, begun)

        for param in self.params:
            if kind := completing.kind_of(param):
                param.shell_complete = complete_as(kind)  # type: ignore[method-assign, assignment]

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The options by their long names."""
        records = [
            p.get_help_record(ctx) for p in self.get_params(ctx) if isinstance(p, click.Option)
        ]
        _write_options([record for record in records if record is not None], formatter)


def _is_no(word: Any) -> bool:
    """click's word for --FLAG=false, which is not advertised."""
    return isinstance(word, str) and word.startswith("--no-") and word not in _REAL


_REAL = frozenset({"--no-resolve", "--no-trunc", "--no-healthcheck", "--no-resolve-image",
                   "--no-cache", "--no-stream", "--no-task-ids", "--no-cache-filter",
                   "--no-prune", "--no-stdin"})  # fmt: skip
"""Flags that are called so."""


def _write_options(records: list[tuple[str, str]], formatter: click.HelpFormatter) -> None:
    """A section of options, sorted by what follows the dashes of the long name."""

    def long_name(record: tuple[str, str]) -> str:
        words = record[0].replace(",", " ").split()
        return next((word for word in words if word.startswith("--")), words[0]).strip("-")

    with formatter.section("Options"):
        formatter.write_dl(sorted(records, key=long_name))


class Flag(click.Option):
    """A boolean that shows no --no- form, though `--flag=false` is understood."""

    def get_help_record(self, ctx: click.Context) -> tuple[str, str] | None:
        """Without the --no- form."""
        secondary, self.secondary_opts = self.secondary_opts, []
        try:
            return super().get_help_record(ctx)
        finally:
            self.secondary_opts = secondary


def flag(*names: str, default: bool = False, help: str, **kwargs: Any) -> Callable[[Any], Any]:
    """A boolean option: `--name`, `--name=true` or `--name=false`."""
    long = next(name for name in names if name.startswith("--"))
    declared = [f"{long}/--no-{long[2:]}" if name == long else name for name in names]
    return click.option(*declared, cls=Flag, default=default, help=help, **kwargs)


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


class Group(_WithFlags, click.Group):
    """Verbs by name, each a module with a `command`, or a Group; imported when called.

    `aliases` are other names of verbs; `elsewhere` are words of Docker's that are none here, each
    with what to type. Without a verb it prints its help.
    """

    def __init__(
        self,
        name: str,
        help: str,
        verbs: dict[str, tuple[str | click.Command, str]],
        *,
        aliases: Mapping[str, str] | None = None,
        elsewhere: Mapping[str, str] | None = None,
    ) -> None:
        settings = {"help_option_names": ["--help", "-h"], "max_content_width": 100}
        super().__init__(
            name,
            help=help,
            context_settings=settings,
            no_args_is_help=False,
            invoke_without_command=True,
        )
        self._verbs = verbs
        self._aliases = dict(aliases or {})
        self._elsewhere = dict(elsewhere or {})

    def list_commands(self, ctx: click.Context) -> list[str]:
        """All verbs by name."""
        return sorted(self._verbs)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The verb's command; its module is imported here."""
        found, _ = self._verbs.get(self._aliases.get(cmd_name, cmd_name), (None, ""))
        if isinstance(found, str):
            command: click.Command = importlib.import_module(found).command
            return command
        return found

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """As click; a word of Docker's that is none here says what to type in its place."""
        if args and args[0] in self._elsewhere and self.get_command(ctx, args[0]) is None:
            path = f"{ctx.command_path} {args[0]}"
            raise Misplaced(f"{path}: {self._elsewhere[args[0]]}", ctx=ctx)
        return super().resolve_command(ctx, args)

    def invoke(self, ctx: click.Context) -> Any:
        """Run the verb; without one, print the help."""
        if not (getattr(ctx, "_protected_args", None) or ctx.args):
            click.echo(ctx.get_help())
            return 0
        return super().invoke(ctx)

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The options by their long names, then the verbs."""
        records = [
            p.get_help_record(ctx) for p in self.get_params(ctx) if isinstance(p, click.Option)
        ]
        _write_options([record for record in records if record is not None], formatter)
        self.format_commands(ctx, formatter)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The list of verbs with their lines, without importing any."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, self._verbs[name][1]) for name in sorted(self._verbs)])


class Misplaced(click.UsageError):
    """A word of Docker's that is no command here, with what to type in its place."""
