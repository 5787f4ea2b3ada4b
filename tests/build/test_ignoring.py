"""What .dockerignore leaves out: a table, and Docker's own command on the same table."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

import pytest
from docker_sender import programs, sender

from swarmlite.build.context.packing import packed
from swarmlite.build.context.patterns import Patterns, read
from swarmlite.errors import InvalidSpec

TREE = (
    *("README.md", "notes.md", "docs/README.md", "docs/a/guide.md", "docs/a/b/deep.md"),
    *("src/main.c", "src/main.o", "src/lib/x.o", "node_modules/m/index.js", "temp", "tempa/x"),
    *("a b", "star*", "#hash", "[x]", "x", "é"),
)
GONE: list[tuple[str, str]] = [  # a file, and what of TREE is left out by it
    ("", ""),
    ("*.md", "README.md, notes.md"),
    ("*.md\n!README.md\n", "notes.md"),
    ("**/*.md", "README.md, notes.md, docs/README.md, docs/a/guide.md, docs/a/b/deep.md"),
    ("**/*.md\n!docs/README.md", "README.md, notes.md, docs/a/guide.md, docs/a/b/deep.md"),
    ("docs\n!docs/a\n", "docs/README.md"),
    ("docs\n!docs/a\ndocs/a/b", "docs/README.md, docs/a/b/deep.md"),
    ("docs/**", "docs/README.md, docs/a/guide.md, docs/a/b/deep.md"),
    ("**/lib", "src/lib/x.o"),
    ("src/**/*.o", "src/main.o, src/lib/x.o"),
    ("src/*.o", "src/main.o"),
    ("temp?", "tempa/x"),
    ("temp*", "temp, tempa/x"),
    (
        "/docs/\n./src\n",
        "docs/README.md, docs/a/guide.md, docs/a/b/deep.md, src/main.c, src/main.o, src/lib/x.o",
    ),
    ("docs/../src", "src/main.c, src/main.o, src/lib/x.o"),
    ("# README.md\n #hash\n\n", "#hash"),
    ("\\#hash", "#hash"),
    ("  temp  \nx\t\r\n", "temp, x"),
    ("\ufeffnotes.md\n", "notes.md"),
    ("star\\*", "star*"),
    ("\\[x]", "[x]"),
    ("[x]", "x"),
    ("[^a-w]", "x, é"),
    ("t[a-f]mp", "temp"),
    ("*\n!src\n", "only: src/main.c, src/main.o, src/lib/x.o"),
    ("*\n!src/*.c\n", "only: src/main.c"),
    ("*\n!src\nsrc/*.o", "only: src/main.c, src/lib/x.o"),
    ("! temp\n", ""),
    ("temp\n! temp\n", ""),
    ("a b", "a b"),
    ("é", "é"),
    ("no/such/thing", ""),
    ("**", "only:"),
    ("**\n!temp", "only: temp"),
]


def left(gone: str) -> set[str]:
    listed = {name for name in gone.removeprefix("only:").strip().split(", ") if name}
    return listed if gone.startswith("only:") else set(TREE) - listed


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("context")
    for name in TREE:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(name)
    (root / "Dockerfile").write_text("FROM scratch\n")
    return root


def names(tree: Path, text: str) -> set[str]:
    data = b"".join(packed(tree, read(text.encode()), print))
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        return {member.name for member in tar} - {".dockerignore", "Dockerfile"}


def sent(tree: Path, text: str) -> set[str]:
    return names(tree, text) & set(TREE)


@pytest.mark.parametrize(("text", "gone"), GONE, ids=[repr(text) for text, _ in GONE])
def test_an_ignore_file_leaves_out_what_it_names(tree: Path, text: str, gone: str) -> None:
    assert sent(tree, text) == left(gone)


def test_docker_s_own_command_leaves_out_the_same(tree: Path, tmp_path: Path) -> None:
    if not programs():
        pytest.skip("no docker command (apt install docker.io, or docker-cli)")
    with sender(tmp_path, programs()[0]) as send:
        for text, gone in GONE:
            (tree / ".dockerignore").write_text(text)
            assert send(tree) & set(TREE) == left(gone), text
    (tree / ".dockerignore").unlink()


def test_exceptions_with_wildcards_reach_into_folders_that_are_left_out(tree: Path) -> None:
    # As BuildKit does; Docker's classic builder does not walk into them.
    assert sent(tree, "*\n!**/*.md") == {name for name in TREE if name.endswith(".md")}
    assert sent(tree, "docs\n!d*/a/*.md") == set(TREE) - {"docs/README.md", "docs/a/b/deep.md"}


def test_folders_of_what_is_taken_back_come_along_and_no_others(tree: Path) -> None:
    assert names(tree, "*\n!docs/a/guide.md") == {"docs", "docs/a", "docs/a/guide.md"}


def test_an_escaped_letter_is_that_letter(tree: Path) -> None:
    assert sent(tree, "te\\mp\n") == set(TREE) - {"temp"}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("!", ".dockerignore: a ! without a pattern: expected !PATTERN"),
        ("a[", "pattern 'a[': a [ is not closed"),
        ("[]", "pattern '[]': ] within [ ] needs a \\ before it"),
        ("[z-a]", "pattern '[z-a]': the range z-a is empty"),
        ("a\\", "pattern 'a\\\\': a \\ at its end escapes nothing"),
    ],
)
def test_a_bad_pattern_is_said_with_its_file(text: str, expected: str) -> None:
    with pytest.raises(InvalidSpec) as error:
        read(text.encode())
    assert str(error.value).endswith(expected)


def test_one_path_is_judged_with_what_is_above_it() -> None:
    patterns = Patterns(["docs", "!docs/a/*.md"])
    assert patterns.excludes("docs/b/c") and not patterns.excludes("docs/a/x.md")
    assert not patterns.excludes("other")
