"""Mounts what a volume's options name: here, or in a process of its own that can be given up.

A file system of another host may keep whoever mounts it waiting for ever; a process can be killed,
where a thread could not. As a program it reads a MountCall and the target as JSON and prints
{"errno": N} or {}; it starts with `python -I -S`.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

if __name__ == "__main__":
    sys.path.append(str(Path(__file__).resolve().parents[3]))

from swarmlite.kernel import mounting

TIMEOUT_S = 60.0
_MS_REMOUNT, _MS_BIND = 32, 4096
_UMOUNT_NOFOLLOW = 8


def mount(call: dict[str, Any], target: str) -> None:
    """Do it here. Raises OSError."""
    place = os.fsencode(target)
    mounting.mount(
        os.fsencode(call["source"]), place, os.fsencode(call["kind"]), call["flags"],
        os.fsencode(call["data"]),
    )  # fmt: skip
    try:
        if call["remount"]:
            mounting.mount(None, place, None, _MS_REMOUNT | _MS_BIND | call["remount"])
        if call["propagation"]:
            mounting.mount(None, place, None, call["propagation"])
    except OSError:
        mounting.umount(place, mounting.MNT_DETACH | _UMOUNT_NOFOLLOW)
        raise


def mount_elsewhere(call: dict[str, Any], target: str, timeout_s: float = TIMEOUT_S) -> None:
    """Do it in a process of its own. Raises OSError, TimeoutError."""
    job = json.dumps({"call": call, "target": target}).encode()
    try:
        ended = subprocess.run(
            [sys.executable, "-I", "-S", __file__],
            input=job, capture_output=True, timeout=timeout_s, check=False, env={}, cwd="/",
        )  # fmt: skip
    except subprocess.TimeoutExpired as error:
        raise TimeoutError(f"no answer within {timeout_s:g} s") from error
    try:
        number = json.loads(ended.stdout).get("errno", 0)
    except ValueError:
        lines = ended.stderr.decode(errors="replace").strip().splitlines() or ["no message"]
        raise OSError(0, lines[-1]) from None
    if number:
        raise OSError(number, os.strerror(number))


def umount(target: str, *, detach: bool = False) -> None:
    """With `detach` nothing waits for a host that may be gone. Raises OSError."""
    flags = _UMOUNT_NOFOLLOW | (mounting.MNT_DETACH if detach else 0)
    mounting.umount(os.fsencode(target), flags)


def main() -> None:
    """The process of its own."""
    job = json.load(sys.stdin)
    try:
        mount(job["call"], job["target"])
    except OSError as error:
        print(json.dumps({"errno": error.errno}))
    else:
        print("{}")


if __name__ == "__main__":
    main()
