"""Lists of key=value separated by commas, with CSV's quotes: the long notation of many flags."""

from __future__ import annotations

import csv
import difflib
from collections.abc import Iterable, Mapping

from swarmlite.errors import InvalidSpec
from swarmlite.model.wording import any_of

_TRUE, _FALSE = ("1", "true"), ("0", "false")


def split(text: str) -> list[tuple[str, str | None]]:
    """Keys (lower case) and values of "a=1,b,c=2"; None for a key without `=`."""
    if not text or "\n" in text or "\0" in text:
        raise InvalidSpec("expected key=value pairs separated by commas")
    try:
        cells = next(csv.reader([text], strict=True))
    except csv.Error as error:
        raise InvalidSpec(f"badly quoted: {error}") from error
    pairs: list[tuple[str, str | None]] = []
    for cell in cells:
        key, equals, value = cell.partition("=")
        if not key.strip():
            raise InvalidSpec(f"empty field in {text!r}")
        pairs.append((key.strip().lower(), value if equals else None))
    return pairs


def required(key: str, value: str | None) -> str:
    """The value of a key that must have one."""
    if not value:
        raise InvalidSpec(f"{key} needs a value: {key}=...")
    return value


def boolean(key: str, value: str | None) -> bool:
    """A key that is true by standing there, or says true or false."""
    if value is None or value.lower() in _TRUE:
        return True
    if value.lower() in _FALSE:
        return False
    raise InvalidSpec(f"{key} is true or false, not {value!r}")


def number(key: str, text: str, *, least: int = 0, most: int = 2**63 - 1, base: int = 10) -> int:
    """A whole number within bounds."""
    try:
        value = int(text, base) if text.isascii() else least - 1
    except ValueError:
        value = least - 1
    if not least <= value <= most:
        bounds = f"from {least} to {most}" if most < 2**62 else f"of at least {least}"
        kind = "an octal number" if base == 8 else "a whole number"
        raise InvalidSpec(f"{key} is {kind} {bounds}, not {text!r}")
    return value


def pair(text: str) -> tuple[str, str]:
    """Name and value of "name=value" or "name" (then the value is empty)."""
    name, _, value = text.partition("=")
    if not name.strip() or "\0" in text:
        raise InvalidSpec("expected NAME=VALUE")
    return name.strip(), value


def unknown(key: str, known: Iterable[str]) -> InvalidSpec:
    """The error of a key that nobody knows, with the one that may have been meant."""
    keys = list(known)
    near = difflib.get_close_matches(key, keys, 1, 0.7)
    hint = f"did you mean {near[0]!r}?" if near else f"known: {', '.join(keys)}"
    return InvalidSpec(f"unknown key {key!r}; {hint}")


def word(key: str, text: str, words: Mapping[str, int]) -> int:
    """What one of a few words stands for."""
    found = words.get(text)
    if found is None:
        raise InvalidSpec(f"{key} is {any_of(words)}, not {text!r}")
    return found
