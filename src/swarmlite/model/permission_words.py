"""The words for what a node allows its tasks to have of the host.

Apart from `permissions` because swarmlited, which checks its flags, loads no protobuf.
"""

from __future__ import annotations

from swarmlite.errors import InvalidSpec

PRIVILEGED, DEVICES, NAMESPACES = "privileged", "devices", "host-namespaces"
PERMISSIONS = (PRIVILEGED, DEVICES, NAMESPACES)


def parse(text: str) -> list[str]:
    """Words between commas. Raises InvalidSpec for an unknown one."""
    words = [word.strip() for word in text.split(",") if word.strip()]
    for word in words:
        check(word)
    return words


def check(word: str) -> None:
    """Raise InvalidSpec unless it is one of PERMISSIONS."""
    if word not in PERMISSIONS:
        raise InvalidSpec(f"{word[:40]!r}: expected {', '.join(PERMISSIONS)}")
