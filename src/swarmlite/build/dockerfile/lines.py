"""A Dockerfile's lines put together: directives, comments, continuations, here-documents."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from swarmlite.build.dockerfile.problems import Problem

_DIRECTIVE = re.compile(r"#\s*([a-zA-Z][a-zA-Z0-9]*)\s*=\s*(.+?)\s*")
_HEREDOC = re.compile(r"(?<![<\w])(\d*)<<(-?)(['\"]?)([a-zA-Z_][\w.]*)\3(?!<)")
_KNOWN = ("syntax", "escape", "check")
WITH_DOCUMENTS = frozenset({"ADD", "COPY", "RUN"})
"""Instructions that may be followed by here-documents."""


@dataclass(frozen=True)
class Document:
    """A here-document; with `expand`, variables in it are replaced."""

    name: str
    text: str
    expand: bool
    descriptor: str = ""


@dataclass(frozen=True)
class Logical:
    """One instruction as it is written, its lines joined; lines are counted from 1."""

    line: int
    text: str
    documents: tuple[Document, ...] = ()


@dataclass
class Source:
    """What a file comes to."""

    escape: str = "\\"
    directives: dict[str, str] = field(default_factory=dict)
    lines: list[Logical] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)


def read(text: str) -> Source:
    """Put together what belongs together; what is wrong is in `problems`."""
    source = Source()
    raw = text.removeprefix("\ufeff").replace("\r\n", "\n").split("\n")
    start = _directives(raw, source)
    reading = _Reading(raw, start, source)
    for logical in reading:
        source.lines.append(logical)
    return source


def _directives(raw: list[str], source: Source) -> int:
    """Those at the top; how many lines they take."""
    for number, line in enumerate(raw):
        match = _DIRECTIVE.fullmatch(line.strip())
        name = match.group(1).lower() if match else ""
        if match is None or name not in _KNOWN:
            return number
        if name in source.directives:
            source.problems.append(Problem(number + 1, f"# {name}= is specified twice"))
        source.directives[name] = match.group(2)
        if name == "escape":
            if match.group(2) in ("\\", "`"):
                source.escape = match.group(2)
            else:
                source.problems.append(
                    Problem(number + 1, f"# escape={match.group(2)[:20]}: use \\ or `")
                )
    return len(raw)


class _Reading:
    def __init__(self, raw: list[str], position: int, source: Source) -> None:
        self._raw, self._position, self._source = raw, position, source
        escape = re.escape(source.escape)
        self._continued = re.compile(rf"(?<!{escape}){escape}[ \t]*$|^{escape}[ \t]*$")

    def __iter__(self) -> Iterator[Logical]:
        while self._position < len(self._raw):
            line = self._raw[self._position]
            if not line.strip() or line.lstrip().startswith("#"):
                self._position += 1
                continue
            yield self._logical()

    def _logical(self) -> Logical:
        first, text = self._position + 1, ""
        while self._position < len(self._raw):
            line = self._raw[self._position]
            self._position += 1
            if text and line.lstrip().startswith("#"):
                continue  # comments between the lines of an instruction
            if text and not line.strip():
                continue  # empty lines too, as Docker still takes them
            match = self._continued.search(line)
            text += line[: match.start()] if match else line
            if match is None:
                break
        text = text.strip()
        return Logical(first, text, tuple(self._documents(text, first)))

    def _documents(self, text: str, line: int) -> Iterator[Document]:
        if text.partition(" ")[0].upper() not in WITH_DOCUMENTS:
            return
        if text.partition(" ")[2].lstrip().startswith("["):
            return  # the exec form has none
        for descriptor, dash, quote, name in _HEREDOC.findall(text):
            body, ended = [], False
            while self._position < len(self._raw):
                row = self._raw[self._position]
                self._position += 1
                row = row.lstrip("\t") if dash else row
                if row == name:
                    ended = True
                    break
                body.append(row + "\n")
            if not ended:
                self._source.problems.append(
                    Problem(line, f"the here-document {name} has no end: a line {name} of its own")
                )
            yield Document(name, "".join(body), not quote, descriptor)
