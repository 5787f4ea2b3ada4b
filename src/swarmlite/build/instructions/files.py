"""COPY and ADD: files of a context, a stage, an image, the instruction itself, or a URL."""

from __future__ import annotations

import os
import stat as stat_module
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from swarmlite.build import remote
from swarmlite.build.archives import is_archive
from swarmlite.build.cache import key_of
from swarmlite.build.copying import Copying, Mode
from swarmlite.build.dockerfile import words
from swarmlite.build.dockerfile.instructions import Copy
from swarmlite.build.dockerfile.problems import Wrong
from swarmlite.build.instructions.metadata import workdir_of
from swarmlite.build.layers import layer
from swarmlite.build.origins import Origin, context_of, origin_of
from swarmlite.build.owners import mode_of, owner_of
from swarmlite.build.patterns import Excluded, is_pattern
from swarmlite.build.progress import Step
from swarmlite.build.sources import Source, digest, opened_file, select
from swarmlite.build.state import State
from swarmlite.build.trees import looked, opened, view, writable
from swarmlite.errors import FailedPrecondition, NotFound
from swarmlite.storage.images.flight import in_thread

if TYPE_CHECKING:
    from swarmlite.build.stage import StageBuild


_SEVERAL = "several "  # stands before the digest of what a pattern found, where that is several


@dataclass
class Taken:
    """Sources of one origin; archives among them are `unpacked`, by their place in `sources`."""

    origin: Origin
    sources: list[Source]
    owners: bool = False
    archives: list[int] = field(default_factory=list)
    unpacked: dict[int, Path] = field(default_factory=dict)


async def copy(stage: StageBuild, state: State, step: Copy, told: Step) -> bool:
    """Carry it out; whether the cache had it. Raises Wrong, NotFound, FailedPrecondition."""
    plan = _Plan(stage, state, step)
    taken: list[Taken] = []
    content = await plan.known()
    if not content:
        taken = await plan.take(told)
        content = await in_thread(plan.content, taken)
        await plan.remember(content)
    key = key_of(
        "ADD" if step.add else "COPY", state.top, content, plan.target, plan.into, plan.chown,
        plan.chmod, step.link, plan.exclude, stage.build.epoch,
    )  # fmt: skip

    async def work(name: str) -> None:
        found = taken or await plan.take(told)
        for one in found:
            await plan.unpack(one)
        await in_thread(plan.copy, name, found)

    return await layer(
        stage.build, state, key, plan.text, work, no_cache=stage.no_cache, alone=step.link
    )


class _Plan:
    """One instruction with its variables replaced."""

    def __init__(self, stage: StageBuild, state: State, step: Copy) -> None:
        """Raises Wrong."""
        self.stage, self.build, self.step = stage, stage.build, step
        self._state = state
        self._several = False

        def expanded(text: str) -> str:
            return words.expand(text, state.variables, stage.escape)

        self.sources = [expanded(source) for source in step.sources]
        target = expanded(step.target)
        if not target:
            raise Wrong("the destination comes to nothing: expected a path")
        count = len(self.sources) + len(step.documents)
        self.into = target.endswith("/") or target in (".", "..") or step.parents or count > 1
        if count > 1 and not (target.endswith("/") or target in (".", "..")):
            raise Wrong(f"with several sources the destination {target[:40]} must end with /")
        self.target = workdir_of(state, target)
        self.chown, self.chmod = expanded(step.chown), expanded(step.chmod)
        self.mode: Mode | None = mode_of(self.chmod) if self.chmod else None
        self.exclude = tuple(expanded(text) for text in step.exclude)
        self.excluded = Excluded(self.exclude)
        self.origin = expanded(step.origin)
        self.checksum = expanded(step.checksum)
        self.text = self._text(target)

    def _text(self, target: str) -> str:
        """Of the history."""
        flags = [f"--chown={self.chown}"] if self.chown else []
        flags += [f"--chmod={self.chmod}"] if self.chmod else []
        flags += ["--link"] if self.step.link else []
        flags += ["--parents"] if self.step.parents else []
        named = [*self.sources, *(f"<<{document.name}" for document in self.step.documents)]
        return " ".join(["ADD" if self.step.add else "COPY", *flags, *named, target])

    # what is taken
    async def take(self, told: Step) -> list[Taken]:
        """All sources. Raises NotFound, and what an origin raises."""
        taken: list[Taken] = []
        local = [word for word in self.sources if not self._is_remote(word)]
        if local:
            origin = await origin_of(
                self.build, self.origin, self.stage.stage.number, self._state.platform, told
            )
            found = await in_thread(self._select, origin, local)
            taken.append(found)
        for word in self.sources:
            if self._is_remote(word):
                taken.append(await self._fetched(word, told))
        if self.checksum and not any(self._is_remote(word) for word in self.sources):
            raise Wrong("--checksum is for a URL: the sources are local")
        if self.step.documents:
            taken.append(await in_thread(self._documents))
        return taken

    def _is_remote(self, word: str) -> bool:
        return self.step.add and remote.is_remote(word)

    async def _fetched(self, word: str, told: Step) -> Taken:
        folder = self.build.new()
        fetched = await remote.fetch(
            word,
            folder,
            checksum=self.checksum,
            keep_git_dir=self.step.keep_git_dir,
            status=told.status,
            proxies=self._state.arguments.proxies(),
        )
        if fetched.is_tree:
            return Taken(Origin(word, folder=folder), [Source("", "")], owners=False)
        if not fetched.name and self.into:
            raise FailedPrecondition(f"cannot determine a file name of {word} for {self.target}")
        source = Source(fetched.path, fetched.name or "download")
        taken = Taken(Origin(word, folder=folder), [source])
        if self.step.unpack:
            taken.archives.append(0)
        return taken

    def _documents(self) -> Taken:
        folder = self.build.new()
        folder.mkdir(mode=0o755)
        sources = []
        for number, document in enumerate(self.step.documents):
            text = document.text
            if document.expand:
                text = expanded_document(text, self._state, self.stage.escape)
            path = folder / str(number)
            path.write_text(text)
            path.chmod(0o644)
            sources.append(Source(str(number), document.name))
        return Taken(Origin("", folder=folder), sources)

    def _select(self, origin: Origin, local: Sequence[str]) -> Taken:
        with origin.opened(self.build) as root:
            sources: list[Source] = []
            for word in local:
                try:
                    sources += select(root, word, keep_parents=self.step.parents)
                except NotFound as error:
                    where = f" in {origin.name}" if origin.name else " in the build context"
                    raise NotFound(f"{error}{where}") from error
            taken = Taken(origin, sources, owners=origin.folder is None)
            if self.step.add and self.step.unpack is not False:
                taken.archives = [i for i, s in enumerate(sources) if _holds_archive(root, s)]
        if len(sources) > 1 and any(is_pattern(word) for word in local):
            self.into = self._several = True
        return taken

    # what it comes to
    async def known(self) -> str:
        """What `remember` was told of the same files of the same context; empty: not known."""
        key = await self._known_as()
        found = self.build.cache.content(key) if key else ""
        if found.startswith(_SEVERAL):
            self.into = True
        return found.removeprefix(_SEVERAL)

    async def remember(self, content: str) -> None:
        """All of it was found and comes to this."""
        key = await self._known_as()
        if key:
            several = _SEVERAL if self._several else ""
            self.build.cache.remember_content(key, f"{several}{content}")

    async def _known_as(self) -> str:
        """Empty where it is not of a context only."""
        if self.checksum or self.step.documents or any(map(self._is_remote, self.sources)):
            return ""
        context = await context_of(self.build, self.origin)
        step = self.step
        said = (self.sources, self.exclude, step.parents, step.add, step.unpack)
        return key_of("context", context, *said) if context else ""

    def content(self, taken: Sequence[Taken]) -> str:
        """A digest of all that is copied. Blocks."""
        found = []
        for one in taken:
            known = ""
            if one.origin.chain:
                names = [(source.path, source.name, source.parents) for source in one.sources]
                known = key_of("content", one.origin.chain[-1], names, self.exclude)
                if remembered := self.build.cache.content(known):
                    found.append(remembered)
                    continue
            with one.origin.opened(self.build) as root:
                digested = digest(root, one.sources, self.excluded, owners=one.owners)
            if known:
                self.build.cache.remember_content(known, digested)
            found.append(f"{digested}{one.archives or ''}")
        return key_of(*found)

    async def unpack(self, taken: Taken) -> None:
        """The archives of ADD."""
        for number in taken.archives:
            if number in taken.unpacked:
                continue
            source = taken.sources[number]
            assert taken.origin.folder is not None
            path = await in_thread(_real_path, taken.origin.folder, source.path)
            taken.unpacked[number] = await self.build.unpacked(path, source.name)

    def copy(self, name: str, taken: Sequence[Taken]) -> None:
        """All of it, into a snapshot. Blocks."""
        with writable(self.build.engine, name) as root:
            owner = self._owner(root)
            try:
                for one in taken:
                    self._copy(root, one, owner)
            except NotADirectoryError as error:
                where = error.filename or self.target
                raise FailedPrecondition(f"cannot copy to non-directory: {where}") from error

    def _owner(self, root: int) -> tuple[int, int] | None:
        if not self.chown:
            return None
        if self.step.link:  # the snapshot has nothing of what is below
            with view(self.build.engine, self._state.chain) as below:
                return owner_of(below, self.chown)
        return owner_of(root, self.chown)

    def _copy(self, root: int, taken: Taken, owner: tuple[int, int] | None) -> None:
        keeps = taken.owners
        copying = Copying(
            root,
            owner or (None if keeps else (0, 0)),
            self.mode,
            self.excluded,
            devices=keeps,
        )
        with taken.origin.opened(self.build) as origin:
            for number, source in enumerate(taken.sources):
                if number not in taken.unpacked:
                    copying.copy(origin, source, self.target, into=self.into)
                    continue
                # --chown is not of what was packed: that keeps its owners, as with Docker
                unpacked = Copying(root, None, devices=True, maker=owner)
                with opened(taken.unpacked[number]) as tree:
                    unpacked.tree(tree, self.target)


def _holds_archive(root: int, source: Source) -> bool:
    with looked(root, source.path) as fd:
        if not stat_module.S_ISREG(os.fstat(fd).st_mode):
            return False
        with opened_file(fd) as file:
            return is_archive(file)


def _real_path(folder: Path, path: str) -> Path:
    """Where a file of a folder lies, links of the folder followed inside it only."""
    with opened(folder) as root, looked(root, path) as fd:
        return Path(f"/proc/self/fd/{fd}").readlink()


def expanded_document(text: str, state: State, escape: str) -> str:
    """A here-document with its variables replaced; quotes stay as they are. Raises Wrong."""
    found = []
    for line in text.split("\n"):
        protected = line.replace("'", "\0q").replace('"', "\0d")
        expanded = words.expand(protected, state.variables, escape)
        found.append(expanded.replace("\0q", "'").replace("\0d", '"'))
    return "\n".join(found)
