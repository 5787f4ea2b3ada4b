"""How a device of the host is written: `/SOURCE[:/TARGET[:rwm]]`."""

from __future__ import annotations

from swarmlite.errors import InvalidSpec


def parse(text: str) -> tuple[str, str, str]:
    """Source, target and permissions. Raises InvalidSpec."""
    parts = text.split(":")
    source, target, access = parts[0], parts[0], "rwm"
    if len(parts) == 2 and _is_access(parts[1]):
        access = parts[1]
    elif len(parts) in (2, 3):
        target = parts[1] or source
        access = parts[2] if len(parts) == 3 else access
    good = source.startswith("/") and target.startswith("/") and text.isprintable()
    if len(parts) > 3 or not good:
        raise InvalidSpec(f"invalid device {text[:80]!r}: expected /SOURCE[:/TARGET[:rwm]]")
    if not _is_access(access):
        raise InvalidSpec(f"invalid device mode: {access[:20]}")
    return source, target, access


def checked(text: str) -> str:
    """`text` as it is. Raises InvalidSpec."""
    parse(text)
    return text


def target(text: str) -> str:
    """Where it is in the container: what one of several is known by. Raises InvalidSpec."""
    return parse(text)[1] if text.count(":") < 3 else text


def _is_access(text: str) -> bool:
    return bool(text) and not set(text) - set("rwm") and len(set(text)) == len(text)
