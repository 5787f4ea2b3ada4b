"""Patterns of file names, as COPY and --exclude take them: read as those of .dockerignore are.

Source: Go's filepath.Match, and the Dockerfile reference for `**`.
"""

from __future__ import annotations

import functools
import re

from swarmlite.build.context.patterns import BadPattern, compiled
from swarmlite.build.dockerfile.problems import Wrong

_STARS = re.compile(r"(\\.)|\*+", re.DOTALL)


def is_pattern(text: str) -> bool:
    """Whether it has anything but a plain name."""
    return any(character in text for character in "*?[\\")


@functools.lru_cache(1024)
def part(pattern: str) -> re.Pattern[str]:
    """Of one name, in which several `*` are one. Raises Wrong."""
    return _compiled(_STARS.sub(lambda found: found[1] or "*", pattern))


@functools.lru_cache(1024)
def path(pattern: str) -> re.Pattern[str]:
    """Of a whole path, in which `**` is any number of names. Raises Wrong."""
    return _compiled("/".join(piece for piece in pattern.split("/") if piece not in ("", ".")))


def _compiled(pattern: str) -> re.Pattern[str]:
    try:
        return compiled(pattern)
    except BadPattern as error:
        raise Wrong(f"{pattern[:60]!r} is no pattern of file names: {error}") from error


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
