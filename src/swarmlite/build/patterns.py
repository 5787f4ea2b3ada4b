"""Patterns of file names, as COPY and --exclude take them.

Source: Go's filepath.Match, and the Dockerfile reference for `**`.
"""

from __future__ import annotations

import functools
import re

from swarmlite.build.dockerfile.problems import Wrong


def is_pattern(text: str) -> bool:
    """Whether it has anything but a plain name."""
    return any(character in text for character in "*?[\\")


@functools.lru_cache(1024)
def part(pattern: str) -> re.Pattern[str]:
    """Of one name. Raises Wrong."""
    return _compiled(pattern, "[^/]")


@functools.lru_cache(1024)
def path(pattern: str) -> re.Pattern[str]:
    """Of a whole path, in which `**` is any number of names. Raises Wrong."""
    cleaned = "/".join(piece for piece in pattern.split("/") if piece not in ("", "."))
    return _compiled(cleaned, "[^/]")


def _compiled(pattern: str, single: str) -> re.Pattern[str]:
    found, index = "", 0
    while index < len(pattern):
        character = pattern[index]
        if pattern.startswith("**/", index) and (index == 0 or pattern[index - 1] == "/"):
            found, index = f"{found}(?:.*/)?", index + 3
            continue
        if pattern.startswith("**", index):
            found, index = f"{found}.*", index + 2
            continue
        if character == "[":
            text, index = _class(pattern, index)
            found += text
            continue
        if character == "\\" and index + 1 < len(pattern):
            index += 1
            found += re.escape(pattern[index])
        else:
            found += {"*": f"{single}*", "?": single}.get(character) or re.escape(character)
        index += 1
    try:
        return re.compile(found, re.DOTALL)
    except re.error as error:
        raise Wrong(f"{pattern[:60]!r} is no pattern of file names: {error}") from error


def _class(pattern: str, start: int) -> tuple[str, int]:
    end = start + 1
    while end < len(pattern) and (pattern[end] != "]" or end == start + 1):
        end += 2 if pattern[end] == "\\" else 1
    if end >= len(pattern):
        raise Wrong(f"{pattern[:60]!r} is no pattern of file names: a [ is not closed")
    inner = pattern[start + 1 : end]
    if inner.startswith("!"):
        inner = "\\" + inner  # only ^ negates in Go
    return f"[{inner}]", end + 1


class Excluded:
    """--exclude: what of a source is left out. A later `!` pattern brings back."""

    def __init__(self, texts: tuple[str, ...]) -> None:
        """Raises Wrong."""
        self._rules = [(path(text.removeprefix("!")), text.startswith("!")) for text in texts]
        self.brings_back = any(back for _, back in self._rules)

    def __bool__(self) -> bool:
        return bool(self._rules)

    def __call__(self, name: str) -> bool:
        """Whether a path below the source is left out: itself, or what it lies in."""
        left_out = False
        for rule, back in self._rules:
            if back == left_out and _matches(rule, name):
                left_out = not back
        return left_out


def _matches(rule: re.Pattern[str], name: str) -> bool:
    while name:
        if rule.fullmatch(name):
            return True
        name = name.rpartition("/")[0]
    return False
