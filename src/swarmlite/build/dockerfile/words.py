"""An instruction's text taken apart: flags, quoted words, variables."""

from __future__ import annotations

import fnmatch
import json
import re
from collections.abc import Mapping
from typing import Any

from swarmlite.build.dockerfile.problems import Wrong

_FLAG = re.compile(r"--([a-z][a-z0-9-]*)(?:=((?:\"(?:[^\"\\]|\\.)*\"|'[^']*'|\S)*))?(?:\s+|$)")
_MAX_DEPTH = 50
_NAME = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")


def split_flags(text: str) -> tuple[list[tuple[str, str | None]], str]:
    """--NAME and --NAME=VALUE at the beginning, and what follows them."""
    flags: list[tuple[str, str | None]] = []
    while match := _FLAG.match(text):
        flags.append((match.group(1), match.group(2)))
        text = text[match.end() :]
        if match.group(0).strip() == "--":
            break
    return flags, text


def exec_form(text: str) -> list[str] | None:
    """The words of ["a", "b"]; None for what is another text: a shell's."""
    if not text.startswith("["):
        return None
    try:
        words = json.loads(text)
    except ValueError:
        return None
    if isinstance(words, list) and all(isinstance(word, str) for word in words):
        return words
    return None


def split(text: str, escape: str) -> list[str]:
    """Words as they are written, quotes and escapes still in them. Raises Wrong."""
    words: list[str] = []
    word, quote, position, begun = "", "", 0, False
    while position < len(text):
        char = text[position]
        if char == escape and quote != "'" and position + 1 < len(text):
            word, position, begun = word + text[position : position + 2], position + 2, True
            continue
        if quote:
            quote = "" if char == quote else quote
            word += char
        elif char in "\"'":
            quote, word, begun = char, word + char, True
        elif char.isspace():
            if begun:
                words.append(word)
            word, begun = "", False
        else:
            word, begun = word + char, True
        position += 1
    if quote:
        raise Wrong(f"a quote {quote} is not closed")
    return [*words, word] if begun else words


def expand(text: str, variables: Mapping[str, str], escape: str = "\\", depth: int = 0) -> str:
    """Variables replaced, quotes and escapes taken away. Raises Wrong.

    ${NAME}, with :- - :+ + :? ? and a word, # ## % %% and a pattern, / // and PATTERN/TEXT.
    """
    if depth > _MAX_DEPTH:
        raise Wrong(f"variables within variables more than {_MAX_DEPTH} deep")
    return _Expansion(text, variables, escape, depth).run()


class _Expansion:
    def __init__(self, text: str, variables: Mapping[str, str], escape: str, depth: int) -> None:
        self._text, self._variables, self._escape = text, variables, escape
        self._depth = depth
        self._at = 0

    def run(self) -> str:
        found, quote = "", ""
        while self._at < len(self._text):
            char = self._text[self._at]
            if quote == "'":
                quote, found = ("", found) if char == "'" else (quote, found + char)
            elif char == self._escape:
                found += self._escaped(quote)
            elif char == '"':
                quote = "" if quote else '"'
            elif char == "'" and not quote:
                quote = "'"
            elif char == "$":
                found += self._variable()
                continue
            else:
                found += char
            self._at += 1
        return found

    def _escaped(self, quote: str) -> str:
        following = self._text[self._at + 1 : self._at + 2]
        if not following:
            return self._escape
        self._at += 1
        if quote and following not in f'"${self._escape}':
            return self._escape + following
        return following

    def _variable(self) -> str:
        self._at += 1
        if self._text[self._at : self._at + 1] == "{":
            return self._braced()
        match = _NAME.match(self._text, self._at)
        if match is None:
            return "$"
        self._at = match.end()
        return self._variables.get(match.group(), "")

    def _braced(self) -> str:
        end = _closing(self._text, self._at)
        inner, self._at = self._text[self._at + 1 : end], end + 1
        match = _NAME.match(inner)
        if match is None:
            raise Wrong(f"${{{inner[:40]}}} names no variable")
        name, rest = match.group(), inner[match.end() :]
        value = self._variables.get(name)
        if not rest:
            return value or ""
        operator = re.match(r":?[-+?]|##?|%%?|//?", rest)
        if operator is None:
            raise Wrong(f"${{{inner[:40]}}}: unknown modifier {rest[:10]!r}")
        argument = rest[operator.end() :]
        return self._modified(name, value, operator.group(), argument)

    def _modified(self, name: str, value: str | None, operator: str, argument: str) -> str:
        kind = operator.removeprefix(":")
        if kind in "-+?":
            there = bool(value) if operator.startswith(":") else value is not None
            if kind == "?":
                if not there:
                    raise Wrong(f"{name}: {argument or 'it is not set'}")
                return value or ""
            if there == (kind == "-"):
                return value or ""
            return self._inner(argument) if there or kind == "-" else ""
        pattern = self._inner(argument)
        if kind.startswith("/"):
            wanted, _, instead = pattern.partition("/")
            return _replaced(value or "", wanted, instead, everywhere=kind == "//")
        return _trimmed(value or "", pattern, kind)

    def _inner(self, text: str) -> str:
        return expand(text, self._variables, self._escape, self._depth + 1)


def _closing(text: str, start: int) -> int:
    depth = 0
    for position in range(start, len(text)):
        depth += {"{": 1, "}": -1}.get(text[position], 0)
        if not depth:
            return position
    raise Wrong(f"{text[start - 1 : start + 30]!r}: a brace is not closed")


def _trimmed(value: str, pattern: str, kind: str) -> str:
    """Without the shortest (# %) or longest (## %%) match at the beginning or end."""
    ends = range(len(value) + 1)
    order = ends if len(kind) == 1 else reversed(ends)
    for length in order:
        part = value[:length] if kind[0] == "#" else value[len(value) - length :]
        if fnmatch.fnmatchcase(part, pattern):
            return value[length:] if kind[0] == "#" else value[: len(value) - length]
    return value


def _replaced(value: str, wanted: str, instead: str, *, everywhere: bool) -> str:
    if not wanted:
        return value
    pattern = fnmatch.translate(wanted).removesuffix(r"\Z").removesuffix(r"\z")
    replacement: Any = lambda _: instead  # noqa: E731 - no backslashes of a template
    return re.sub(pattern, replacement, value, count=0 if everywhere else 1)
