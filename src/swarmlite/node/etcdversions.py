"""Which versions of etcd are good, and what is known of the others. The standard library only."""

from __future__ import annotations

import re
import subprocess

PROBE_TIMEOUT_S = 10
Version = tuple[int, int, int]

OLDEST: Version = (3, 4, 0)
"""The first with learners."""
REFUSED = {(3, 5, 0), (3, 5, 1), (3, 5, 2)}
"""Can lose acknowledged writes when killed under load."""
GOOD: dict[tuple[int, int], int] = {(3, 4): 45, (3, 5): 33, (3, 6): 14, (3, 7): 1}
"""By series, the first release without a fault that is known to matter here."""
FAULTS: tuple[tuple[Version, str], ...] = (
    ((3, 4, 25), "a watch that goes back in time"),
    ((3, 4, 31), "watch events lost after a compaction"),
    ((3, 4, 31), "leases that are revoked wrongly"),
    ((3, 4, 36), "a missing event of a removal"),
    ((3, 4, 38), "leases that are renewed after their revocation"),
    ((3, 4, 38), "corruption where a snapshot and a defragmentation meet"),
)
"""What the 3.4 series' own change log names, and the release that mends it."""


def of_binary(binary: str) -> Version | None:
    """What `binary --version` says; None when it does not answer as etcd does."""
    try:
        shown = subprocess.run(
            [binary, "--version"], capture_output=True, text=True, timeout=PROBE_TIMEOUT_S
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return parsed(shown.stdout.partition("etcd Version: ")[2])


def parsed(shown: str) -> Version | None:
    """Of "3.5.16" and what may follow it; None for what is none."""
    found = re.match(r"(\d+)\.(\d+)\.(\d+)", shown)
    return None if found is None else (int(found[1]), int(found[2]), int(found[3]))


def wrong(version: Version) -> str | None:
    """Why a version is refused, or None."""
    if version in REFUSED:
        return f"etcd {text(version)} can lose data when it is killed: use {good()}"
    if version < OLDEST:
        return f"etcd {text(version)} is too old: 3.4 or later is needed (learners)"
    return None


def known_faults(version: Version) -> str | None:
    """One line on what is known of a version that works, or None for a good one."""
    series, patch = version[:2], version[2]
    if series > max(GOOD) or patch >= GOOD.get(series, 10**6):
        return None
    faults = [f"{what} (until {text(fixed)})" for fixed, what in FAULTS
              if fixed[:2] == series and version < fixed]  # fmt: skip
    named = (
        f" has known faults: {', '.join(faults)};"
        if faults
        else " is not the latest of its series;"
    )
    return (
        f"etcd {text(version)}{named} managers check what they read and fence what they write, but"
        f" {good()} are better"
    )


def good() -> str:
    """The versions to use, in words."""
    listed = [f"{major}.{minor}.{patch}" for (major, minor), patch in sorted(GOOD.items())]
    return f"{', '.join(listed[:-1])} or {listed[-1]} and later"


def text(version: Version) -> str:
    """As etcd writes it."""
    return ".".join(str(part) for part in version)
