"""Types of flags' values that several nouns share."""

from __future__ import annotations

from swarmlite.cli.lazy import parsed
from swarmlite.errors import InvalidSpec
from swarmlite.model import units
from swarmlite.model.numerals import decimal
from swarmlite.model.signals import signal_number


def _duration(text: str) -> int:
    value = units.parse_duration(text)
    if value < 0:
        raise InvalidSpec("a duration must not be negative")
    return value


def _swap(text: str) -> int:
    return -1 if text == "-1" else units.parse_bytes(text)


def _swappiness(text: str) -> int:
    if (percent := decimal(text, 0, 100)) is None:
        raise InvalidSpec("expected a whole number from 0 to 100")
    return percent


def _timeout(text: str) -> int:
    try:
        value = int(text)
    except ValueError:
        value = -2
    if not -1 <= value <= units.FOREVER_S:
        raise InvalidSpec("expected a whole number of seconds, or -1 to wait forever")
    return value


def _signal(name: str) -> str:
    signal_number(name)
    return name


DURATION = parsed(_duration, "duration")
"""Nanoseconds, not negative."""
BYTES = parsed(units.parse_bytes, "bytes")
SWAP = parsed(_swap, "bytes")
"""Bytes, or -1 for no limit."""
SWAPPINESS = parsed(_swappiness, "int")
CPUS = parsed(units.parse_cpus, "decimal")
"""Nano-CPUs."""
TIMEOUT = parsed(_timeout, "int")
"""Whole seconds, or -1 to wait forever."""
SIGNAL = parsed(_signal)
"""A signal's name or number, as it is written."""
