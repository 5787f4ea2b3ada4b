"""Whether this host runs programs of another platform: its kernel must know who runs them.

Source: Documentation/admin-guide/binfmt-misc.rst; e_machine of ELF, elf.h.
"""

from __future__ import annotations

from pathlib import Path

from swarmlite.errors import FailedPrecondition
from swarmlite.storage.images.types import Platform

_BINFMT = Path("/proc/sys/fs/binfmt_misc")
_MACHINES = {
    "386": 3, "amd64": 62, "arm": 40, "arm64": 183, "mips64le": 8, "ppc64le": 21, "riscv64": 243,
    "s390x": 22, "loong64": 258,
}  # fmt: skip
_NATIVE = {"amd64": ("386",)}  # what a kernel for one runs besides


def check(platform: Platform, host: Platform, binfmt: Path = _BINFMT) -> None:
    """Raises FailedPrecondition, with what would help, where RUN of a platform cannot work here."""
    if platform.os != "linux":
        raise FailedPrecondition(f"RUN for {platform}: this host runs linux only")
    wanted = platform.architecture
    if wanted == host.architecture or wanted in _NATIVE.get(host.architecture, ()):
        return
    machine = _MACHINES.get(wanted)
    if machine is not None and any(_runs(entry, machine) for entry in _entries(binfmt)):
        return
    raise FailedPrecondition(
        f"RUN for {platform}: this host is {host}, and its kernel has no emulator of {wanted}: "
        "install qemu-user-static (binfmt_misc, with its flag F), or do this in a stage with "
        "FROM --platform=$BUILDPLATFORM and COPY --from it"
    )


def _entries(binfmt: Path) -> list[str]:
    """What each handler says of itself; none where nobody has mounted binfmt_misc."""
    try:
        paths = [path for path in binfmt.iterdir() if path.name not in ("register", "status")]
        return [path.read_text() for path in paths]
    except OSError:
        return []


def _runs(entry: str, machine: int) -> bool:
    """Whether it is enabled, for that machine, and opened before a container is entered (F)."""
    fields = {line.partition(" ")[0]: line.partition(" ")[2] for line in entry.splitlines()}
    magic = bytes.fromhex(fields.get("magic", ""))
    return (
        "enabled" in fields
        and "F" in fields.get("flags:", "")
        and fields.get("offset") == "0"
        and int.from_bytes(magic[18:20], "big" if magic[5:6] == b"\2" else "little") == machine
    )
