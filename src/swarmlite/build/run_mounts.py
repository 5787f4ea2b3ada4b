"""RUN --mount: what a command sees for its time."""

from __future__ import annotations

import contextlib
import json
import posixpath
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from swarmlite.build.dockerfile import words
from swarmlite.build.dockerfile.instructions import Run
from swarmlite.build.dockerfile.mounts import RunMount
from swarmlite.build.dockerfile.problems import Wrong
from swarmlite.build.instructions.metadata import workdir_of
from swarmlite.build.origins import Origin, origin_of
from swarmlite.build.patterns import Excluded
from swarmlite.build.progress import Step
from swarmlite.build.sources import Source, digest
from swarmlite.build.state import State
from swarmlite.errors import NotFound
from swarmlite.storage.images.flight import in_thread

if TYPE_CHECKING:
    from swarmlite.build.building import Build
    from swarmlite.build.stage import StageBuild

SECRETS = "/run/secrets"
OCIMount = dict[str, Any]


@dataclass(frozen=True)
class Wanted:
    """One mount, its variables replaced; `origin` where it shows files."""

    kind: str
    target: str
    options: dict[str, str]
    origin: Origin | None = None
    content: str = ""

    def truth(self, name: str) -> bool:
        """Of an option."""
        return self.options.get(name, "").lower() in ("true", "1")

    def number(self, name: str, default: int) -> int:
        """Of an option."""
        text = self.options.get(name)
        return default if text is None else int(text, 8 if name == "mode" else 10)

    @property
    def writable(self) -> bool:
        """Whether the command may write there."""
        if self.kind in ("cache", "tmpfs"):
            return not self.truth("readonly")
        return self.truth("readwrite") or self.options.get("readonly", "") in ("false", "0")


@dataclass
class Provided:
    """What is mounted, and what the environment says of it."""

    mounts: list[OCIMount] = field(default_factory=list)
    environment: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Mounts:
    """All of one RUN; `key` is what the cache knows of them."""

    wanted: tuple[Wanted, ...]
    key: str

    @contextlib.asynccontextmanager
    async def provided(self, build: Build) -> AsyncIterator[Provided]:
        """Made, for as long as the block lasts. Raises NotFound, FailedPrecondition."""
        from swarmlite.build import mount_kinds

        provided = Provided()
        async with contextlib.AsyncExitStack() as stack:
            for number, wanted in enumerate(self.wanted):
                maker = mount_kinds.MAKERS[wanted.kind]
                await stack.enter_async_context(maker(build, wanted, provided, number))
            yield provided


class RunMounts:
    """The planning of one RUN's."""

    def __init__(self, stage: StageBuild, state: State, step: Run, told: Step) -> None:
        self._stage, self._state, self._step, self._told = stage, state, step, told

    async def plan(self) -> Mounts:
        """Raises Wrong, NotFound."""
        wanted = [await self._one(mount) for mount in self._step.mounts]
        known = [(w.kind, w.target, w.options, w.content) for w in wanted]
        return Mounts(tuple(wanted), json.dumps(known, sort_keys=True) if known else "")

    async def _one(self, mount: RunMount) -> Wanted:
        variables = self._state.variables
        options = {
            name: words.expand(value, variables, self._stage.escape)
            for name, value in mount.options.items()
        }
        self._check(options)
        target = options.get("target", "")
        if not target:
            target = self._default(mount.kind, options)
        place = workdir_of(self._state, target) if target else ""
        if mount.kind not in ("bind", "cache") or (
            mount.kind == "cache" and "from" not in options and "source" not in options
        ):
            return Wanted(mount.kind, place, options)
        if mount.kind == "cache" and "from" not in options:
            raise Wrong("--mount type=cache: source= needs from=")
        origin = await origin_of(
            self._stage.build,
            options.get("from", ""),
            self._stage.stage.number,
            self._state.platform,
            self._told,
        )
        content = ""
        if mount.kind == "bind":
            content = await in_thread(self._content, origin, options.get("source", "/"))
        return Wanted(mount.kind, place, options, origin, content)

    def _default(self, kind: str, options: dict[str, str]) -> str:
        if kind == "secret" and not options.get("env"):
            name = options.get("id") or posixpath.basename(options.get("source", ""))
            if not name:
                raise Wrong("--mount type=secret needs id=ID, target=PATH or env=NAME")
            return f"{SECRETS}/{name}"
        return ""

    def _check(self, options: dict[str, str]) -> None:
        for name in ("uid", "gid"):
            if name in options and not options[name].isdecimal():
                raise Wrong(f"--mount: {name}={options[name][:40]}: expected a number")
        mode = options.get("mode", "0")
        if not mode or not set(mode) <= set("01234567"):
            raise Wrong(f"--mount: mode={mode[:40]}: expected octal digits")

    def _content(self, origin: Origin, path: str) -> str:
        """A digest of what a bind shows. Blocks."""
        if origin.chain and path in ("", "/"):
            return origin.chain[-1]
        build = self._stage.build
        known = (origin.folder or origin.chain, path)
        if known in build.digests:
            return build.digests[known]
        with origin.opened(build) as root:
            try:
                source = Source(path.lstrip("/"), "")
                found = digest(root, [source], Excluded(()), owners=origin.folder is None)
                build.digests[known] = found
                return found
            except (FileNotFoundError, NotADirectoryError) as error:
                raise NotFound(
                    f"--mount type=bind: {path}: not found in {_named(origin)}"
                ) from error


def _named(origin: Origin) -> str:
    return origin.name or "the build context"
