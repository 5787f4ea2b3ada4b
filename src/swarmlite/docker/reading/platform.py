"""A platform as newer clients say it: JSON of the OCI's object, in the query."""

from __future__ import annotations

import json

from swarmlite.errors import InvalidSpec

MOST = 200
"""Characters; those of real platforms have fewer, and JSON that is nested deep has more."""


def platform_object(text: str) -> dict[str, str]:
    """`os`, `architecture` and `variant`, empty where it does not say. Raises InvalidSpec."""
    if len(text) > MOST:
        raise InvalidSpec(
            f"failed to parse platform: {text[:60]!r}... has {len(text)} characters, {MOST} at most"
        )
    try:
        found = json.loads(text)
        return {key: str(found.get(key) or "") for key in ("os", "architecture", "variant")}
    except (ValueError, AttributeError) as error:
        raise InvalidSpec(
            f"failed to parse platform: {text[:60]!r} is not JSON of a platform, such as"
            ' {"os": "linux", "architecture": "amd64"}'
        ) from error
