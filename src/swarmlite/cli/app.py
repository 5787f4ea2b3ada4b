"""Runs one command line and turns every way to fail into one line and a status.

1: the command was understood and failed, or there is no such command, or it has too few or too many
arguments; 125: a flag was not understood; 130: interrupted. A traceback is shown only with -D.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

import click

from swarmlite.cli.lazy import BadFlag, Failed, Misplaced
from swarmlite.cli.root import root
from swarmlite.errors import SwarmliteError
from swarmlite.model.wording import one_line
from swarmlite.stack.problems import Several

FAILED, MISUSED, INTERRUPTED = 1, 125, 130
LONGEST_WORD = 300


def run(args: Sequence[str]) -> int:
    """Run `swarmlite ARGS...`; the exit status. Writes what went wrong to standard error."""
    debug = any(arg in ("-D", "--debug") for arg in args)
    try:
        status = root.main(args=list(args), prog_name="swarmlite", standalone_mode=False)
        sys.stdout.flush()
    except click.UsageError as error:
        return _fail(usage_line(error), _status(error))
    except Failed as error:
        return _fail(error.format_message(), error.status)
    except click.ClickException as error:
        return _fail(error.format_message(), FAILED)
    except (click.Abort, KeyboardInterrupt):
        return INTERRUPTED
    except BrokenPipeError:
        # The reader (head, less) has gone; what the interpreter flushes at exit has nowhere to go.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILED
    except Several as error:
        for line in error.lines:
            _fail(line, FAILED)
        return FAILED
    except SwarmliteError as error:
        if debug:
            raise
        return _fail(str(error), FAILED)
    except OSError as error:
        if debug:
            raise
        from swarmlite.kernel import durable  # in which what is written elsewhere gets a name

        name = error.filename or ("standard output" if durable.is_full(error) else "")
        where = f"{name}: " if name else ""
        return _fail(f"{where}{error.strerror or error}", FAILED)
    except Exception as error:
        if debug:
            raise
        return _fail(f"unexpected {type(error).__name__}: {error} (-D shows where)", FAILED)
    return status if isinstance(status, int) else 0


def usage_line(error: click.UsageError) -> str:
    """What was wrong with a command line, in Docker's words, and where the help is."""
    if isinstance(error, Misplaced):
        return error.format_message()
    path = error.ctx.command_path if error.ctx else "swarmlite"
    see = f"See '{path} --help'."
    if isinstance(error, click.NoSuchOption):
        kind = "flag" if error.option_name.startswith("--") else "shorthand flag"
        # --no-FLAG is how click spells --FLAG=false; it is not advertised.
        close = [name for name in error.possibilities or () if name not in _hidden(error.ctx)]
        near = f" (did you mean {', '.join(close)}?)" if close else ""
        return f"unknown {kind}: {error.option_name}{near}. {see}"
    if isinstance(error, BadFlag):
        return f"{error.line()}. {see}"
    if isinstance(error, click.MissingParameter) and isinstance(error.param, click.Argument):
        return f'"{path}" requires {_wanted(error.ctx)}. {see}'
    if error.message.startswith("Got unexpected extra argument"):
        return f'"{path}" requires {_wanted(error.ctx)}. {see}'
    if error.message.startswith("No such command"):
        word = error.message.partition("'")[2].partition("'")[0]
        near = _near(word, error.ctx)
        return f"unknown command: {path} {word}{near}. {see}"
    return f"{error.format_message().rstrip('.')}. {see}"


def _near(word: str, ctx: click.Context | None) -> str:
    """The command that may have been meant, in parentheses."""
    if ctx is None or not isinstance(ctx.command, click.Group):
        return ""
    import difflib  # slow to load, for who has mistyped only

    close = difflib.get_close_matches(word, ctx.command.list_commands(ctx), 1)
    return f" (did you mean {close[0]}?)" if close else ""


def _status(error: click.UsageError) -> int:
    """Docker's: 125 for a flag, 1 for words that are missing, too many or unknown."""
    argument = isinstance(error, click.BadParameter) and isinstance(error.param, click.Argument)
    of_words = ("Got unexpected extra argument", "No such command")
    if argument or isinstance(error, Misplaced) or error.message.startswith(of_words):
        return FAILED
    return MISUSED


def _hidden(ctx: click.Context | None) -> set[str]:
    options = [p for p in ctx.command.params if isinstance(p, click.Option)] if ctx else []
    return {name for option in options for name in option.secondary_opts}


def _wanted(ctx: click.Context | None) -> str:
    arguments = [p for p in ctx.command.params if isinstance(p, click.Argument)] if ctx else []
    least = sum(1 for p in arguments if p.required)
    if not arguments:
        return "no arguments"
    counted = f"{least} argument{'' if least == 1 else 's'}"
    exact = all(p.required and p.nargs == 1 for p in arguments)
    most = sum(p.nargs for p in arguments)
    if exact:
        return f"exactly {counted}"
    if least == 0 and all(p.nargs > 0 for p in arguments):
        return f"at most {most} argument{'' if most == 1 else 's'}"
    return f"at least {counted}"


def _fail(line: str, status: int) -> int:
    """One line: whatever a user or a file said is in it as text, and no longer than can be read."""
    words = (w if len(w) <= LONGEST_WORD else f"{w[:100]}...{w[-100:]}" for w in line.split())
    click.echo(one_line(" ".join(words)), err=True)
    return status
