"""Every flag of `service create` and `service update` with values that nobody should type.

What is refused gets one printable line that names the flag, or what it stands for, and nothing is
stored; what is taken is shown again without an error.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import click
import pytest

from swarmlite.cli.app import LONGEST_WORD
from swarmlite.cli.service import create, update

VALUES = ("", "0", "-1", "4294967296", "9" * 5000, "a\n\u202eb=,:", "{{x")
OF_LISTS = ("", "a\n\u202eb=,:", "9" * 5000)
"""For --X-add and --X-rm: values are read as create's."""
LEFT_OUT = {"help", "detach", "quiet", "no_resolve_image", "with_registry_auth", "rollback", "name"}
WORDS = {
    "--env": "variable", "--image": "image", "--publish": "port",
    "--label": "label", "--mode": "mode", "--constraint": "constraint", "--secret": "secret",
    "--config": "config", "--network": "network",
}  # fmt: skip
"""What a message may say in place of the flag: the words of Docker's own."""


def flags_of(command: click.Command) -> Iterator[str]:
    """The long name of each flag that takes a value."""
    for param in command.params:
        takes = isinstance(param, click.Option) and not param.is_flag
        if takes and param.name not in LEFT_OUT:
            yield max(param.opts, key=len)


def fault(err: str, flag: str) -> str:
    """What is wrong with a refusal; empty for nothing."""
    line = err.removesuffix("\n")
    of = flag.removesuffix("-add").removesuffix("-rm")
    if not line.isprintable() or len(line) > 4 * LONGEST_WORD or "unexpected" in line:
        return f"{line[:300]!r}"
    return "" if of in line or WORDS.get(of, of) in line.lower() else f"not named in {line[:300]!r}"


def faults(
    run: Any, world: Any, line: Sequence[str], flag: str, values: Sequence[str]
) -> list[str]:
    """Run the line with each of the values: what is wrong with the answers."""
    found = []
    for value in values:
        before = [service.SerializeToString() for service in world.store.view.services]
        done = run(*line, f"{flag}={value}", "web")
        after = [service.SerializeToString() for service in world.store.view.services]
        if done.status == 0:
            shown = run("service", "inspect", "--pretty", "web")
            assert shown.status == 0, (value, shown.err)
            continue
        assert after == before, (value, done.err)
        if wrong := fault(done.err, flag):
            found.append(f"{value[:20]!r}: {wrong}")
    return found


@pytest.mark.parametrize("flag", [*flags_of(create.command)])
def test_create_refuses_in_one_line_and_stores_nothing_or_takes_it(
    run: Any, world: Any, flag: str
) -> None:
    line = ("service", "create", "-d", "--no-resolve-image")
    for value in VALUES:
        assert faults(run, world, (*line, "--name", "web"), flag, [value]) == []
        run("service", "rm", "web")


@pytest.mark.parametrize("flag", [*flags_of(update.command)])
def test_update_refuses_in_one_line_and_changes_nothing_or_takes_it(
    run: Any, world: Any, flag: str
) -> None:
    assert run("service", "create", "-d", "--no-resolve-image", "--name", "web", "x").status == 0
    values = OF_LISTS if flag.endswith(("-add", "-rm")) else VALUES[-3:]
    line = ("service", "update", "-d", "--no-resolve-image")
    assert faults(run, world, line, flag, values) == []
