"""Which paths a list of patterns leaves out: the rules of .dockerignore.

A pattern is Go's filepath.Match with `**` for any number of folders; `!` takes back what an earlier
one left out. What stands below a path that is left out is left out with it. Source: the reference
of .dockerignore, and what Docker's command was seen to send (tests/build/test_ignoring.py).
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterable
from dataclasses import dataclass

from swarmlite.errors import InvalidSpec

_SPECIAL = "*?[\\"


@dataclass(frozen=True)
class Verdict:
    """Of one path; `matches` is for what is below it."""

    excluded: bool
    matches: tuple[bool, ...]


@dataclass(frozen=True)
class _Pattern:
    text: str
    exception: bool
    regex: re.Pattern[str]


class Patterns:
    """An ordered list of them; the last that matches decides."""

    def __init__(self, texts: Iterable[str], source: str = ".dockerignore") -> None:
        """Raises InvalidSpec, which names `source` and the pattern."""
        self._patterns = [_compiled(text, source) for text in texts if text.strip()]
        self._exceptions = [one for one in self._patterns if one.exception]

    def __bool__(self) -> bool:
        return bool(self._patterns)

    def judge(self, path: str, above: Verdict | None = None) -> Verdict:
        """Of a path without a slash at its ends; `above`: of its folder, when that has one."""
        excluded, matches = False, []
        for number, pattern in enumerate(self._patterns):
            match = above is not None and above.matches[number]
            # A pattern that could change nothing is not tried, also for what is below.
            if not match and pattern.exception == excluded:
                match = pattern.regex.fullmatch(path) is not None
            if match:
                excluded = not pattern.exception
            matches.append(match)
        return Verdict(excluded, tuple(matches))

    def excludes(self, path: str) -> bool:
        """Whether a path, or what it is below of, is left out."""
        verdict, parts = None, path.split("/")
        for length in range(1, len(parts) + 1):
            verdict = self.judge("/".join(parts[:length]), verdict)
        return verdict is not None and verdict.excluded

    def may_take_back(self, folder: str) -> bool:
        """Whether something below a folder that is left out may be in again."""
        return any(_reaches(pattern.text, folder + "/") for pattern in self._exceptions)


def _reaches(pattern: str, folder: str) -> bool:
    """Whether a path that the pattern matches may begin with `folder`."""
    position = min((pattern.find(c) for c in _SPECIAL if c in pattern), default=-1)
    if position < 0:
        return (pattern + "/").startswith(folder)
    fixed = pattern[:position]
    return fixed.startswith(folder) or folder.startswith(fixed)


def read(text: bytes, source: str = ".dockerignore") -> Patterns:
    """The patterns of an ignore file. Raises InvalidSpec."""
    lines = text.removeprefix(b"\xef\xbb\xbf").decode("utf-8", "surrogateescape").split("\n")
    return Patterns([found for line in lines if (found := _of_line(line))], source)


def _of_line(line: str) -> str:
    """A line's pattern, below the context whatever it begins with; empty for none."""
    if line.startswith("#"):
        return ""
    text = line.strip()
    exception = text.startswith("!")
    path = text[1:].strip() if exception else text
    if path:
        path = _clean(path)
        path = path[1:] if len(path) > 1 and path.startswith("/") else path
    return ("!" if exception else "") + path


def _clean(path: str) -> str:
    cleaned = posixpath.normpath(path)
    return cleaned[1:] if cleaned.startswith("//") else cleaned


def _compiled(text: str, source: str) -> _Pattern:
    text = _clean(text.strip())
    exception = text.startswith("!")
    path = text[1:] if exception else text
    if not path:
        raise InvalidSpec(f"{source}: a ! without a pattern: expected !PATTERN")
    try:
        regex = compiled(path)
    except BadPattern as error:
        raise InvalidSpec(f"{source}: pattern {path[:60]!r}: {error}") from error
    return _Pattern(path, exception, regex)


class BadPattern(Exception):
    """What is wrong with a pattern."""


def compiled(pattern: str) -> re.Pattern[str]:
    """What matches the whole of a path. Raises BadPattern."""
    try:
        return re.compile(_translated(pattern), re.DOTALL)
    except re.error as error:
        raise BadPattern(str(error)) from error


def _translated(pattern: str) -> str:
    if pattern.startswith("**") and not any(c in pattern[2:] for c in _SPECIAL):
        rest = pattern[2:]  # of a path's end only, wherever that begins; **/x is x as well
        head = "(?:.*/)?" if rest.startswith("/") else ".*"
        return head + re.escape(rest.removeprefix("/"))
    found, at = "", 0
    while at < len(pattern):
        char = pattern[at]
        if pattern.startswith("**", at):
            at += 2
            at += pattern.startswith("/", at)
            found += "(?:.*/)?" if at < len(pattern) else ".*"
            continue
        if char == "[":
            part, at = _class(pattern, at)
            found += part
            continue
        if char == "\\":
            at += 1
            if at == len(pattern):
                raise BadPattern("a \\ at its end escapes nothing")
            char = pattern[at]
            found += re.escape(char)
        else:
            found += {"*": "[^/]*", "?": "[^/]"}.get(char) or re.escape(char)
        at += 1
    return found


def _class(pattern: str, start: int) -> tuple[str, int]:
    """[a-z], [^a] as a regular expression, and where it ends."""
    at, items = start + 1, ""
    negated = pattern.startswith("^", at)
    at += negated
    first = at
    while at == first or not pattern.startswith("]", at):
        low, at = _member(pattern, at)
        high = low
        if pattern.startswith("-", at):
            high, at = _member(pattern, at + 1)
        if low > high:
            raise BadPattern(f"the range {low}-{high} is empty")
        items += f"{re.escape(low)}-{re.escape(high)}"
    return f"[{'^' * negated}{items}]", at + 1


def _member(pattern: str, at: int) -> tuple[str, int]:
    escaped = pattern.startswith("\\", at)
    at += escaped
    if at >= len(pattern):
        raise BadPattern("a [ is not closed")
    if not escaped and pattern[at] in "-]":
        raise BadPattern(f"{pattern[at]} within [ ] needs a \\ before it")
    return pattern[at], at + 1
