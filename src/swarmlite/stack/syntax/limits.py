"""Numbers that limit a process or a container, as flags and compose files write them."""

from __future__ import annotations

import re

from swarmlite.errors import InvalidSpec
from swarmlite.model import units

_CPUSET = re.compile(r"\d{1,6}(-\d{1,6})?(,\d{1,6}(-\d{1,6})?)*", re.ASCII)


def whole(text: str, least: int, most: int) -> int:
    """A whole number within bounds. Raises InvalidSpec."""
    try:
        value = int(text) if text.isascii() else least - 1
    except ValueError:
        value = least - 1
    if not least <= value <= most:
        raise InvalidSpec(f"expected a whole number from {least} to {most}")
    return value


def oom_score(text: str) -> int:
    """-1000 to 1000."""
    return whole(text, -1000, 1000)


def blkio_weight(text: str) -> int:
    """10 to 1000, or 0 for none."""
    value = whole(text, 0, 1000)
    if 0 < value < 10:
        raise InvalidSpec("expected a whole number from 10 to 1000, or 0 for none")
    return value


def cpuset(text: str) -> str:
    """ "0-3,6": processors or memory nodes."""
    ends = [part.split("-") for part in text.split(",")]
    if not _CPUSET.fullmatch(text) or any(int(end[0]) > int(end[-1]) for end in ends):
        raise InvalidSpec(f"{text!r} is not a list such as 0-3 or 0,1")
    return text


def device_rate(text: str) -> tuple[str, int]:
    """ "/dev/sda:1mb" in bytes a second."""
    path, value = _device(text, "/dev/sda:1mb")
    return path, units.parse_bytes(value)


def device_count(text: str) -> tuple[str, int]:
    """ "/dev/sda:1000" operations a second."""
    path, value = _device(text, "/dev/sda:1000")
    return path, whole(value, 0, 2**63 - 1)


def device_weight(text: str) -> tuple[str, int]:
    """ "/dev/sda:500"."""
    path, value = _device(text, "/dev/sda:500")
    return path, blkio_weight(value)


def _device(text: str, example: str) -> tuple[str, str]:
    path, colon, value = text.rpartition(":")
    if not colon or not path.startswith("/dev/") or not value:
        raise InvalidSpec(f"expected a device and its limit, for example {example}")
    return path, value
