"""Signals as users name them: one rule for specs, images, and commands."""

from __future__ import annotations

import re
import signal

from swarmlite.errors import InvalidSpec

_REAL_TIME = re.compile(r"RTM(IN|AX)(?:([+-])(\d{1,2}))?", re.ASCII)


def signal_number(text: str, where: str = "signal") -> int:
    """The number of "SIGTERM", "term", "15", "RTMIN+3" or "RTMAX-3"; `where` begins the error.

    Raises InvalidSpec for anything else.
    """
    name = text.strip().upper().removeprefix("SIG")
    if name.isascii() and name.isdecimal() and len(name) < 4 and 0 < int(name) < signal.NSIG:
        return int(name)
    real_time = _REAL_TIME.fullmatch(name)
    number = _real_time(real_time) if real_time else _named(name)
    if number is None:
        raise InvalidSpec(
            f"{where} {text[:40]!r}: unknown signal; expected a name such as SIGTERM, a number"
            f" from 1 to {signal.NSIG - 1}, RTMIN+N or RTMAX-N"
        )
    return number


def _named(name: str) -> int | None:
    found = signal.Signals.__members__.get(f"SIG{name}")
    return None if found is None else int(found)


def _real_time(match: re.Match[str]) -> int | None:
    """RTMIN and what is above it, RTMAX and what is below it, as kill(1) names them."""
    end, sign, offset = match[1], match[2], int(match[3] or 0)
    if sign == ("-" if end == "IN" else "+"):
        return None
    low, high = int(signal.SIGRTMIN), int(signal.SIGRTMAX)
    number = low + offset if end == "IN" else high - offset
    return number if low <= number <= high else None
