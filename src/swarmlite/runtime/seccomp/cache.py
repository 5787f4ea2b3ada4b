"""Compiled filters, once a profile (10 ms), for as long as the supervisor lives."""

from __future__ import annotations

from swarmlite.kernel.filters import FilterProgram
from swarmlite.kernel.libc import MACHINE
from swarmlite.kernel.processes import SIBLING_FLAGS
from swarmlite.runtime import lean
from swarmlite.runtime.seccomp import compile as compiler
from swarmlite.runtime.seccomp import profile as rules


class Filter:
    """A program ready to be installed in a child, and the flags it is installed with.

    `lets_fork`: a process under it may make a child; `lets_drop`: it may give up capabilities.
    """

    def __init__(self, profile: rules.Profile) -> None:
        self._program = FilterProgram(compiler.compile_profile(profile))
        self._flags = profile.flags
        self.lets_fork = profile.allows("clone", [SIBLING_FLAGS, 0, 0, 0, 0, 0])
        self.lets_drop = profile.allows("capset", [0] * 6)

    def install(self) -> None:
        """For this process, for ever; raises OSError."""
        self._program.install(self._flags)


class Cache:
    """Filters by profile, the 64 that were made last."""

    MAX = 64

    def __init__(self) -> None:
        self._filters: dict[str, Filter] = {}

    def default(self, caps: list[str]) -> Filter:
        """The built-in profile for a bounding set."""
        key = "default:" + ",".join(sorted(caps))
        found = self._filters.get(key)
        return found or self._add(key, rules.default_profile(caps, MACHINE))

    def oci(self, seccomp: dict[str, object]) -> Filter:
        """An OCI profile; raises InvalidSpec."""
        key = "oci:" + lean.dumps(seccomp)
        return self._filters.get(key) or self._add(key, rules.from_oci(seccomp, MACHINE))

    def _add(self, key: str, profile: rules.Profile) -> Filter:
        if len(self._filters) >= self.MAX:
            self._filters.pop(next(iter(self._filters)))
        made = self._filters[key] = Filter(profile)
        return made
