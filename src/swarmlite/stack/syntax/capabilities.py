"""Names of capabilities."""

from __future__ import annotations

from swarmlite.errors import InvalidSpec


def parse(text: str) -> str:
    """A capability's full name, CAP_ and upper case, or ALL. Raises InvalidSpec."""
    name = text.strip().upper()
    if not name:
        raise InvalidSpec("expected a capability such as NET_ADMIN")
    return name if name == "ALL" or name.startswith("CAP_") else f"CAP_{name}"
