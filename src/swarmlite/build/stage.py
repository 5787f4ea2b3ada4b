"""One stage, instruction by instruction."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator, Mapping
from typing import TYPE_CHECKING

from swarmlite.build.dockerfile import literals, words
from swarmlite.build.dockerfile.instructions import Copy, From, Instruction, Pairs, Run, Words
from swarmlite.build.dockerfile.parsing import Stage, parse
from swarmlite.build.dockerfile.problems import BadDockerfile, Problem, Wrong
from swarmlite.build.failures import StepFailed, failed_by
from swarmlite.build.instructions import files, metadata, running, workdir
from swarmlite.build.origins import Origin, origin_of
from swarmlite.build.progress import Step
from swarmlite.build.state import State, of_image, of_scratch
from swarmlite.build.variables import OF_THE_BUILDER, PROXIES, Arguments, platform_arguments
from swarmlite.errors import InvalidSpec, SwarmliteError
from swarmlite.storage.images.types import Platform

if TYPE_CHECKING:
    from swarmlite.build.building import Build

_FILES = (Run, Copy)


def changes_files(step: Instruction) -> bool:
    """Whether it makes a layer."""
    return isinstance(step, _FILES) or (isinstance(step, Words) and step.kind == "WORKDIR")


class StageBuild:
    """The building of one stage."""

    def __init__(self, build: Build, stage: Stage) -> None:
        self.build, self.stage = build, stage
        self.escape = build.dockerfile.escape
        self._number = 1
        self._total = 1
        self._done: list[int] = []

    @property
    def no_cache(self) -> bool:
        """Whether its steps are done whatever the cache knows."""
        options = self.build.options
        return options.no_cache or self.stage.name in options.no_cache_filter

    @property
    def title(self) -> str:
        """As progress names it: its name, or its number where there are several."""
        if self.stage.name:
            return self.stage.name
        several = len(self.build.dockerfile.stages) > 1
        return f"stage-{self.stage.number}" if several else ""

    async def run(self) -> State:
        """What it comes to. Raises BadDockerfile, StepFailed, SwarmliteError."""
        self._total += sum(changes_files(step) for step in self.stage.steps)
        state = await self._begin()
        steps = [*self._triggers(state), *self.stage.steps]
        for step in steps:
            with self._located(step.line):
                await self._step(state, step)
        return state

    # FROM
    async def _begin(self) -> State:
        begin = self.stage.begin
        with self._located(begin.line):
            name = words.expand(begin.image, self.build.before, self.escape)
            platform = self._platform(begin)
            if not name:
                raise Wrong(f"base name ({begin.image}) should not be blank")
            number = self._earlier(name)
            if number is not None and self.build.named_context(name) is None:
                earlier = await self.build.stage(number)
                arguments = self._arguments(platform)
                arguments.declared.update(earlier.arguments.declared)  # as today's builders do
                return self._entered(earlier.on_top(arguments, platform))
            return await self._from_image(name, platform)

    def _earlier(self, name: str) -> int | None:
        for stage in reversed(self.build.dockerfile.stages[: self.stage.number]):
            if name.lower() == stage.name:
                return stage.number
        return None

    async def _from_image(self, name: str, platform: Platform) -> State:
        async with self._told(f"FROM {name}", self.stage.begin, number=1) as step:
            arguments = self._arguments(platform)
            if name == "scratch" and self.build.named_context(name) is None:
                state = of_scratch(platform, arguments)
            else:
                origin = await origin_of(self.build, name, self.stage.number, platform, step)
                state = await self._of_origin(origin, platform, arguments)
            state = self._entered(state)
            step.done(layer=state.top, cached=not state.chain)
            return state

    async def _of_origin(self, origin: Origin, platform: Platform, arguments: Arguments) -> State:
        if origin.image is not None:
            return of_image(origin.image, platform, arguments)
        raise InvalidSpec(f"{origin.name}: a context of files is no base of a stage")

    def _entered(self, state: State) -> State:
        self.build.pins.add(*state.chain)
        return state

    def _platform(self, begin: From) -> Platform:
        if not begin.platform:
            return self.build.platform
        text = words.expand(begin.platform, self.build.before, self.escape)
        return platform_of(text) if text else self.build.platform

    def _arguments(self, platform: Platform) -> Arguments:
        build = self.build
        name = self.stage.name or f"stage-{self.stage.number}"
        before = {**build.before, **platform_arguments(build.host, platform, name)}
        return Arguments(build.arguments, before)

    def _triggers(self, state: State) -> list[Instruction]:
        """ONBUILD of the base, now this stage's."""
        if not state.triggers:
            return []
        text = "FROM scratch\n" + "\n".join(state.triggers)
        steps = parse(text, "ONBUILD").stages[0].steps
        self._total += sum(changes_files(step) for step in steps)
        return steps

    # the others
    async def _step(self, state: State, step: Instruction) -> None:
        if isinstance(step, Pairs) and step.kind == "ARG":
            self.build.used_arguments.update(name for name, _ in step.pairs)
        if metadata.apply(state, step, self.escape):
            with self._telling(step.text, step, number=0) as told:
                told.done(layer=state.top)
            return
        self._number += 1
        async with self._told(step.text, step, number=self._number) as told:
            if isinstance(step, Run):
                cached = await running.run(self, state, step, told)
            elif isinstance(step, Copy):
                cached = await files.copy(self, state, step, told)
            elif isinstance(step, Words):
                cached = await workdir.change(self, state, step)
            else:
                raise Wrong(f"{step.text.split()[0]} cannot be built")
            told.done(layer=state.top, cached=cached)

    @contextlib.contextmanager
    def _located(self, line: int) -> Iterator[None]:
        try:
            yield
        except Wrong as error:
            raise BadDockerfile(self.build.file_name, [Problem(line, str(error))]) from error

    @contextlib.contextmanager
    def _telling(self, text: str, step: Instruction, *, number: int) -> Iterator[Step]:
        parts = (self.build.label, self.title, f"{number}/{self._total}")
        place = " ".join(part for part in parts if part)
        told = self.build.begin(
            name=f"[{place}] {_one_line(text)}" if number else _one_line(text),
            stage=self.stage.name or str(self.stage.number),
            number=number,
            total=self._total,
            instruction=text,
            line=step.line,
            inputs=self._done[-1:],
        )
        self._done.append(told.id)
        yield told

    @contextlib.asynccontextmanager
    async def _told(self, text: str, step: Instruction, *, number: int) -> AsyncIterator[Step]:
        with self._telling(text, step, number=number) as told:
            try:
                yield told
            except StepFailed as error:
                told.done(error=str(error), exit_code=error.exit_code)
                raise
            except asyncio.CancelledError:
                told.done(error="canceled", canceled=True)
                raise
            except (SwarmliteError, Wrong) as error:
                told.done(error=str(error))
                raise
            except OSError as error:
                failure = failed_by(error, self.build.folder.parent)
                told.done(error=str(failure))
                raise failure from error


def _one_line(text: str) -> str:
    return " ".join(text.split())


def platform_of(text: str) -> Platform:
    """OS[/ARCHITECTURE[/VARIANT]], or an architecture. Raises Wrong."""
    parts = literals.platform(text)
    if len(parts) == 1:
        if parts[0] == "local":
            return Platform.of_host()
        return Platform("linux", parts[0])
    return Platform(*parts)


def arguments_before(build: Build, given: Mapping[str, str]) -> dict[str, str]:
    """The ARGs before the first FROM, with the platform's. Raises BadDockerfile."""
    found = dict(given)
    for step in build.dockerfile.arguments:
        for name, default in step.pairs:
            build.used_arguments.add(name)
            try:
                value = build.arguments.get(name)
                if value is None and default is not None:
                    value = words.expand(default, found, build.dockerfile.escape)
            except Wrong as error:
                raise BadDockerfile(build.file_name, [Problem(step.line, str(error))]) from error
            if value is not None:
                found[name] = value
    return found


def unused(build: Build) -> list[str]:
    """Build arguments that no ARG of what was built names."""
    known = {*build.used_arguments, *PROXIES, *OF_THE_BUILDER}
    return sorted(name for name in build.arguments if name not in known)
