"""Devices of a container: "/dev/fuse", "/dev/sda:/dev/xvda:rwm"; rules: "c 1:3 rwm"."""

from __future__ import annotations

import re

from swarmlite.errors import InvalidSpec

_RULE = re.compile(r"[acb] (\d+|\*):(\d+|\*) [rwm]{1,3}", re.ASCII)


def parse(text: str) -> str:
    """SOURCE[:TARGET][:PERMISSIONS], as it is written. Raises InvalidSpec."""
    parts = text.split(":")
    if not parts[0].startswith("/"):
        if "=" in parts[0]:
            raise InvalidSpec(f"{text!r}: devices by CDI names are not supported yet")
        raise InvalidSpec(f"{text!r} is not an absolute path such as /dev/fuse")
    permissions = parts[-1] if len(parts) > 1 and not parts[-1].startswith("/") else "rwm"
    paths = parts[:-1] if permissions is parts[-1] else parts
    if not 1 <= len(paths) <= 2 or not all(path.startswith("/") for path in paths):
        raise InvalidSpec("expected SOURCE[:TARGET][:rwm], for example /dev/sda:/dev/xvda:r")
    if not permissions or set(permissions) - set("rwm") or len(permissions) > 3:
        raise InvalidSpec(f"{text!r}: permissions are of r, w and m, not {permissions!r}")
    return text


def parse_rule(text: str) -> str:
    """A rule of the cgroup's devices. Raises InvalidSpec."""
    if not _RULE.fullmatch(text):
        raise InvalidSpec(f"invalid device cgroup format {text!r}: expected for example c 1:3 rwm")
    return text
