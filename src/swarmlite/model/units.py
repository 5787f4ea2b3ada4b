"""Durations, sizes and CPUs as users write and read them; shared by the CLI and compose files.

Durations are Go's ("1h30m", "100ms") and are nanoseconds as int inside; sizes are powers of 1024
("512m", "1.5GiB") and are bytes; CPUs are decimal ("0.5") and are 10**-9 of a CPU.
"""

from __future__ import annotations

import re
from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING

from swarmlite.errors import InvalidSpec

if TYPE_CHECKING:
    from google.protobuf.duration_pb2 import Duration

SECOND = 1_000_000_000
FOREVER_S = 10 * 365 * 24 * 3600
"""The longest that a container's stop may take, in a spec: it is never killed, -1 for clients."""
_NANOSECONDS = {
    "ns": 1,
    "us": 1_000,
    "µs": 1_000,
    "μs": 1_000,
    "ms": 1_000_000,
    "s": SECOND,
    "m": 60 * SECOND,
    "h": 3600 * SECOND,
}
_TERM = re.compile(r"(\d+(?:\.\d*)?|\.\d+)(ns|us|µs|μs|ms|s|m|h)", re.ASCII)
_SIZE = re.compile(r"(\d+(?:\.\d+)?|\.\d+) ?([kmgtp]?)(i?b?)", re.IGNORECASE | re.ASCII)
_CPUS = re.compile(r"\d+(\.\d*)?|\.\d+", re.ASCII)
_MAX = 2**63 - 1


def parse_duration(text: str) -> int:
    """Nanoseconds of a duration such as "1h30m", "1.5s", "-2ms" or "0". Raises InvalidSpec."""
    sign, rest = (-1, text[1:]) if text.startswith("-") else (1, text.removeprefix("+"))
    if rest == "0":
        return 0
    total, position = Decimal(0), 0
    while term := _TERM.match(rest, position):  # a search would try each digit as a beginning
        total += Decimal(term[1]) * _NANOSECONDS[term[2]]
        position = term.end()
    if not rest or position != len(rest) or not rest.isprintable():
        raise InvalidSpec(f"{text!r} is not a duration; write for example 10s, 1m30s, 100ms")
    if total > _MAX:
        raise InvalidSpec(f"{text!r} is too long a duration")
    return sign * int(total)


def format_duration(nanoseconds: int) -> str:
    """A duration as Go prints it: "1h30m0s", "1.5s", "100ms", "0s"."""
    if nanoseconds < 0:
        return "-" + format_duration(-nanoseconds)
    if nanoseconds == 0:
        return "0s"
    if nanoseconds < SECOND:
        unit = next(u for u in ("ms", "µs", "ns") if nanoseconds >= _NANOSECONDS[u])
        return _decimal(Decimal(nanoseconds) / _NANOSECONDS[unit]) + unit
    minutes, rest = divmod(nanoseconds, 60 * SECOND)
    text = _decimal(Decimal(rest) / SECOND) + "s"
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours}h{minutes}m{text}"
    return f"{minutes}m{text}" if minutes else text


def duration(nanoseconds: int) -> Duration:
    """The message of a number of nanoseconds."""
    from google.protobuf.duration_pb2 import (
        Duration,
    )  # not above: the daemon reads sizes, and has none

    message = Duration()
    message.FromNanoseconds(nanoseconds)
    return message


def seconds(message: Duration) -> float:
    """Seconds of a duration message; of one that is not set, 0."""
    return message.seconds + message.nanos / 1e9


def parse_bytes(text: str) -> int:
    """Bytes of a size: "512m", "1.5GiB", "64 MB", "1024" (powers of 1024). Raises InvalidSpec."""
    match = _SIZE.fullmatch(text.strip())
    if match is None or not text.isascii():
        raise InvalidSpec(f"{text!r} is not a size; write for example 512m, 1g, 64MiB")
    value = int(Decimal(match[1]) * 1024 ** (" kmgtp".index(match[2].lower() or " ")))
    if value > _MAX:
        raise InvalidSpec(f"{text!r} is too large a size")
    return value


def format_bytes(size: int) -> str:
    """A size in powers of 1024 with four digits: "512MiB", "1.5GiB"."""
    return _scaled(size, 1024, ("B", "KiB", "MiB", "GiB", "TiB", "PiB"), 4)


def format_size(size: int) -> str:
    """A size in powers of 1000 with three digits, as image lists print it: "4.26MB"."""
    return _scaled(size, 1000, ("B", "kB", "MB", "GB", "TB", "PB"), 3)


def parse_cpus(text: str) -> int:
    """Nano-CPUs of "0.5" or "2". Raises InvalidSpec, also when finer than 10**-9."""
    try:
        value = Decimal(text) * SECOND if _CPUS.fullmatch(text) else Decimal("NaN")
    except InvalidOperation:
        value = Decimal("NaN")
    if value.is_nan() or value != int(value) or value > _MAX:
        raise InvalidSpec(f"{text!r} is not a number of CPUs; write for example 0.5 or 2")
    return int(value)


def format_cpus(nano_cpus: int) -> str:
    """Nano-CPUs as users write them: "0.5"."""
    return _decimal(Decimal(nano_cpus) / SECOND)


def _decimal(value: Decimal) -> str:
    text = f"{value:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def _scaled(size: int, base: int, units: tuple[str, ...], digits: int) -> str:
    value, index = float(size), 0
    while value >= base and index < len(units) - 1:
        value /= base
        index += 1
    return f"{value:.{digits}g}{units[index]}"
