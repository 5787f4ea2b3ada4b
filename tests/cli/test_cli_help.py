"""Help is printed as help, by -h too; words that are not there say what to type."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import pytest

from swarmlite import cli
from swarmlite.cli import app, kepthelp
from swarmlite.cli.root import root

NOUNS = sorted(name for name, (found, _) in root._verbs.items() if not isinstance(found, str))


@pytest.mark.parametrize("noun", ["", *NOUNS])
def test_a_noun_without_a_verb_prints_its_help(run: Any, noun: str) -> None:
    for words in ([noun] if noun else [], [*([noun] if noun else []), "-h"]):
        result = run(*words)
        assert result.status == 0
        assert result.err == ""
        assert result.out.startswith(f"Usage: swarmlite {noun}".rstrip())
        assert max(map(len, result.out.splitlines())) <= 100
    commands = result.out.partition("Commands:\n")[2].splitlines()
    names = [line.split()[0] for line in commands if line.startswith("  ") and line[2] != " "]
    assert names == sorted(names)
    assert names


def every_command() -> list[tuple[str, ...]]:
    found: list[tuple[str, ...]] = []
    for name, (command, _) in root._verbs.items():
        if isinstance(command, str):
            found.append((name,))
        else:
            found += [(name, verb) for verb in command._verbs]  # type: ignore[attr-defined]
    return found


@pytest.mark.parametrize("words", every_command(), ids=" ".join)
def test_every_command_has_help_with_its_options_by_name(run: Any, words: tuple[str, ...]) -> None:
    """Each module is there and loads; --help lists options by their long names."""
    result = run(*words, "--help")
    assert (result.status, result.err) == (0, "")
    leading = []
    for line in result.out.partition("Options:\n")[2].splitlines():
        if line.startswith("  -"):
            leading.append(next(w.rstrip(",") for w in line.split() if w.startswith("--")))
    assert leading == sorted(leading)
    assert "--help" in leading


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("search x", "search on the registry's own site"),
        ("compose up", "use `swarmlite stack deploy -c FILE STACK`"),
        ("tasks", "use `swarmlite service ps SERVICE`"),
        ("image manifest x", "use `swarmlite image inspect`"),
        ("containr ls", "unknown command: swarmlite containr (did you mean container?). See"),
    ],
)
def test_words_that_are_not_there_say_what_to_type(run: Any, line: str, said: str) -> None:
    result = run(*line.split())
    assert said in result.err
    assert result.err.count("\n") == 1
    assert result.status == 1


@pytest.mark.parametrize(
    "words",
    [
        ("service", "list"),
        ("node", "list"),
        ("secret", "list"),
        ("config", "list"),
        ("stack", "list"),
        ("network", "list"),
        ("service", "remove", "nope"),
        ("secret", "remove", "nope"),
        ("stack", "down", "nope"),
    ],
)
def test_docker_s_other_names_of_verbs(run: Any, world: Any, words: tuple[str, ...]) -> None:
    result = run(*words)
    assert "unknown command" not in result.err


def test_inspect_finds_objects_of_any_kind(run: Any, world: Any) -> None:
    """By name or id; --type asks for one kind only."""
    import json

    run("service", "create", "-d", "--no-resolve-image", "--name", "web", "x")
    data = "/proc/version"
    assert run("secret", "create", "--label", "a=b", "key", data).status in (0, 1)
    node = json.loads(run("inspect", "--type", "node", "alpha").out)[0]
    assert node["Description"]["Hostname"] == "alpha"
    assert run("inspect", "--type", "service", "-f", "{{.Spec.Name}}", "web").out == "web\n"
    assert run("inspect", "--type", "nothing", "web").status == 1
    missing = run("inspect", "--type", "service", "nope")
    assert (missing.status, missing.out) == (1, "[]\n")
    assert missing.err == "no such service: nope\n"


def test_the_first_help_is_kept_for_the_next_one_while_its_sources_are_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The same text as click's, at each width; what is damaged is made again."""
    monkeypatch.setattr(kepthelp, "_path", lambda: str(tmp_path / f"help-{kepthelp.width()}"))
    monkeypatch.setattr(sys, "dont_write_bytecode", False)
    monkeypatch.setattr(os, "_exit", sys.exit)  # its way out when there is nothing to take down

    def shown(*words: str) -> str:
        monkeypatch.setattr(sys, "argv", ["swarmlite", *words])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        assert ended.value.code == 0
        return capsys.readouterr().out

    for columns in ("60", "100", "300", ""):
        monkeypatch.setenv("COLUMNS", columns)
        assert app.run(["--help"]) == 0
        rendered = capsys.readouterr().out
        assert shown("--help") == shown("-h") == rendered
        file = tmp_path / f"help-{kepthelp.width()}"
        kept = file.read_bytes()
        file.write_bytes(kept[:100])
        assert shown("--help") == rendered
        assert file.read_bytes() == kept
    kepthelp.write("of before")
    assert shown("--help") == "of before\n"
    monkeypatch.setattr(kepthelp, "_stamps", lambda: [(1, 2)])
    assert shown("--help") == rendered
