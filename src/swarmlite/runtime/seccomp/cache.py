"""Compiled filters, once a profile (10 ms), for as long as the supervisor lives, or on the disk."""

from __future__ import annotations

from swarmlite.kernel.filters import FilterProgram
from swarmlite.kernel.libc import MACHINE
from swarmlite.kernel.processes import SIBLING_FLAGS, SPAWN_FLAGS
from swarmlite.runtime.seccomp import kept

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from swarmlite.runtime.seccomp.profile import Profile


SPAWN_CALLS = (
    "close", "execve", "exit_group", "mmap", "munmap", "rt_sigaction", "rt_sigprocmask", "setsid",
    "wait4",
)  # fmt: skip
"""What posix_spawn takes beside clone."""
_ENOSYS = 0x00050026


class Filter:
    """A program ready to be installed in a child, and the flags it is installed with.

    `lets_fork`: a process under it may make a child; `lets_drop`: it may give up capabilities;
    `lets_spawn`: libc's posix_spawn works under it.
    """

    def __init__(
        self, code: bytes, flags: int, lets_fork: bool, lets_drop: bool, lets_spawn: bool
    ) -> None:
        self.code, self.flags = code, flags
        self.lets_fork, self.lets_drop, self.lets_spawn = lets_fork, lets_drop, lets_spawn
        self._program = FilterProgram(code)

    def install(self) -> None:
        """For this process, for ever; raises OSError."""
        self._program.install(self.flags)


class Cache:
    """Filters by profile, the 64 that were made last; `on_disk` for who does not live long."""

    MAX = 64

    def __init__(self, *, on_disk: bool = False) -> None:
        self._filters: dict[str, Filter] = {}
        self._on_disk = on_disk

    def default(self, caps: list[str]) -> Filter:
        """The built-in profile for a bounding set."""

        def make() -> Profile:
            from swarmlite.runtime.seccomp import profile

            return profile.default_profile(caps, MACHINE)

        return self._find("default:" + ",".join(sorted(caps)), make)

    def oci(self, seccomp: dict[str, object]) -> Filter:
        """An OCI profile; raises InvalidSpec."""

        def make() -> Profile:
            from swarmlite.runtime.seccomp import profile

            return profile.from_oci(seccomp, MACHINE)

        return self._find(f"oci:{seccomp!r}", make)

    def _find(self, key: str, make: Callable[[], Profile]) -> Filter:
        found = self._filters.get(key)
        if found is None:
            parts = kept.read(key) if self._on_disk else None
            if parts is None:
                parts = _compile(make())
                if self._on_disk:
                    kept.write(key, parts)
            if len(self._filters) >= self.MAX:
                self._filters.pop(next(iter(self._filters)))
            found = self._filters[key] = Filter(*parts)
        return found


def _compile(profile: Profile) -> kept.Parts:
    from swarmlite.runtime.seccomp import compile as compiler

    lets_fork = profile.allows("clone", [SIBLING_FLAGS, 0, 0, 0, 0, 0])
    lets_drop = profile.allows("capset", [0] * 6)
    lets_spawn = _lets_spawn(profile)
    code = compiler.compile_profile(profile)
    return code, profile.flags, lets_fork, lets_drop, lets_spawn


def _lets_spawn(profile: Profile) -> bool:
    """libc tries clone3 first, and takes only ENOSYS for a hint to clone."""
    others = all(profile.allows(name, [0] * 6) for name in SPAWN_CALLS)
    falls_back = profile.always.get("clone3") == _ENOSYS and "clone3" not in profile.when
    return (
        others
        and profile.allows("clone", [SPAWN_FLAGS, 0, 0, 0, 0, 0])
        and (falls_back or profile.allows("clone3", [0] * 6))
    )
