"""`.env` beside a compose file, as docker compose reads it.

A line is NAME=VALUE, `export` before it or not, # comments between. In single quotes a value is as
it is written; in double quotes it has escapes and variables, and may go over lines; without any it
has variables and ends before " #".
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from swarmlite.errors import InvalidSpec
from swarmlite.stack.interpolate import substitute

_LINE = re.compile(r"[ \t]*(?:export[ \t]+)?([A-Za-z_][A-Za-z0-9_.-]*)[ \t]*[=:][ \t]*")
_SKIPPED = re.compile(r"[ \t\r]*(?:#[^\n]*)?(?:\n|$)")
_BARE = re.compile(r"[ \t]*(?:export[ \t]+)?([A-Za-z_][A-Za-z0-9_.-]*)[ \t\r]*(?:\n|$)")
_SINGLE = re.compile(r"'([^']*)'")
_DOUBLE = re.compile(r'"((?:[^"\\]|\\.)*)"', re.DOTALL)
_ESCAPES = {"n": "\n", "r": "\r", "t": "\t", '"': '"', "\\": "\\", "$": "$$"}


def variables(text: str, environment: Mapping[str, str]) -> dict[str, str]:
    """What the file says; variables in it are its earlier ones, and the environment's before them.

    Raises InvalidSpec with the line.
    """
    found: dict[str, str] = {}
    position, text = 0, text.removeprefix("\ufeff")
    while position < len(text):
        if skipped := _SKIPPED.match(text, position):
            position = max(skipped.end(), position + 1)
            continue
        number = text.count("\n", 0, position) + 1
        if bare := _BARE.match(text, position):  # as it is outside
            if bare[1] in environment:
                found[bare[1]] = environment[bare[1]]
            position = bare.end()
            continue
        named = _LINE.match(text, position)
        if named is None:
            raise InvalidSpec(f"line {number}: expected NAME=value")
        try:
            value, position = _value(text, named.end(), {**found, **environment})
        except InvalidSpec as error:
            raise InvalidSpec(f"line {number}: {error}") from error
        found[named[1]] = value
    return found


def _value(text: str, start: int, known: Mapping[str, str]) -> tuple[str, int]:
    """The value that begins at `start`, and where the next line does."""
    quote = text[start : start + 1]
    if quote in ("'", '"') and quote:
        match = (_SINGLE if quote == "'" else _DOUBLE).match(text, start)
        if match is None:
            raise InvalidSpec(f"the quote {quote} is not closed")
        rest = _SKIPPED.match(text, match.end())
        if rest is None:
            raise InvalidSpec("something follows the closing quote")
        value = match[1]
        if quote == '"':
            value = re.sub(r"\\(.)", lambda m: _ESCAPES.get(m[1], m[0]), value, flags=re.DOTALL)
            value = substitute(value, known, set())
        return value, rest.end()
    end = text.find("\n", start)
    end = len(text) if end < 0 else end
    bare = text[start:end].removesuffix("\r")
    bare = re.split(r"(?:^|[ \t])#", bare, maxsplit=1)[0].strip(" \t")
    return substitute(bare, known, set()), end + 1
