"""`.env` as docker compose reads it."""

from __future__ import annotations

from pathlib import Path

import pytest

from swarmlite.cli.stack import files
from swarmlite.errors import InvalidSpec
from swarmlite.stack.syntax.dotenv import variables

OUTSIDE = {"HOME": "/h", "A": "outer"}


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("", {}),
        ("# nothing\n\n  \n", {}),
        ("X=1\r\nY = two words \r\n", {"X": "1", "Y": "two words"}),
        ("export X=1 # said\nY=a#b\nZ=#c\n", {"X": "1", "Y": "a#b", "Z": ""}),
        ("X='a $HOME \\n #b' # c\n", {"X": "a $HOME \\n #b"}),
        ('X="a\\n$HOME\\"\\$HOME"\n', {"X": 'a\n/h"$HOME'}),
        ('X="two\nlines"\nY=1', {"X": "two\nlines", "Y": "1"}),
        ("B=1\nX=${B}-${C:-d}-$A\n", {"B": "1", "X": "1-d-outer"}),
        ("HOME\nNOWHERE\n", {"HOME": "/h"}),
        ("X: 1\nX=\n", {"X": ""}),
        ("\ufeffX=1", {"X": "1"}),
    ],
)
def test_a_file_is_read_as_compose_reads_it(text: str, found: dict[str, str]) -> None:
    assert variables(text, OUTSIDE) == found


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("X=1\n=2\n", "line 2: expected NAME=value"),
        ("two words=1\n", "line 1: expected NAME=value"),
        ("X='1\n", "line 1: the quote ' is not closed"),
        ("X='1'2\n", "line 1: something follows the closing quote"),
        ("X=${A\n", "line 1: "),
    ],
)
def test_what_cannot_be_read_is_said_with_its_line(text: str, said: str) -> None:
    with pytest.raises(InvalidSpec, match=said.replace("$", r"\$")):
        variables(text, OUTSIDE)


def test_the_environment_goes_before_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / ".env").write_text("TAG=1\nPORT=80\n")
    monkeypatch.setenv("TAG", "2")
    compose = str(tmp_path / "c.yml")
    found = files.environment([compose])
    assert (found["TAG"], found["PORT"]) == ("2", "80")
    (tmp_path / ".env").write_text("TAG='")
    with pytest.raises(InvalidSpec, match=r"\.env: line 1: the quote ' is not closed"):
        files.environment([compose])
