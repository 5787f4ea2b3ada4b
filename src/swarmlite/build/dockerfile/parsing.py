"""A whole Dockerfile: what stands before the first stage, the stages, or every problem at once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from swarmlite.build.dockerfile import instructions as known
from swarmlite.build.dockerfile import lines, literals, words
from swarmlite.build.dockerfile.instructions import Copy, From, Instruction, Pairs, Run
from swarmlite.build.dockerfile.problems import BadDockerfile, Problem, Wrong

_MAX_BYTES = 4 << 20


@dataclass
class Stage:
    """One FROM and what follows it; `number` is what --from may name it by as well."""

    number: int
    begin: From
    steps: list[Instruction] = field(default_factory=list)

    @property
    def name(self) -> str:
        """As the file names it; empty where it does not."""
        return self.begin.name


@dataclass(frozen=True)
class Dockerfile:
    """`arguments` are the ARGs before the first FROM."""

    stages: tuple[Stage, ...]
    arguments: tuple[Pairs, ...] = ()
    directives: Mapping[str, str] = field(default_factory=dict)
    escape: str = "\\"

    def stage(self, target: str = "") -> Stage:
        """By name or number; the last where none is named. Raises KeyError."""
        if not target:
            return self.stages[-1]
        for stage in self.stages:
            if target.lower() == stage.name or target == str(stage.number):
                return stage
        raise KeyError(target)

    def needed(self, target: str = "") -> list[Stage]:
        """The stages that a target stands on, in their order: others are not built."""
        wanted, waiting = {}, [self.stage(target)]
        while waiting:
            stage = waiting.pop()
            if stage.number in wanted:
                continue
            wanted[stage.number] = stage
            waiting += [self.stages[number] for number in sorted(self.uses(stage))]
        return [wanted[number] for number in sorted(wanted)]

    def uses(self, stage: Stage) -> set[int]:
        """Numbers of the earlier stages that one takes something of."""
        origins = [stage.begin.image]
        for step in stage.steps:
            if isinstance(step, Copy):
                origins.append(step.origin)
            elif isinstance(step, Run):
                origins += [mount.options.get("from", "") for mount in step.mounts]
        found = (self._earlier(origin, stage.number) for origin in origins)
        return {number for number in found if number is not None}

    def _earlier(self, origin: str, before: int) -> int | None:
        for stage in reversed(self.stages[:before]):  # of two of one name, the nearer
            if origin and (origin.lower() == stage.name or origin == str(stage.number)):
                return stage.number
        return None


def parse(text: str, name: str = "Dockerfile") -> Dockerfile:
    """Raises BadDockerfile with every problem: line, instruction, what was expected."""
    if len(text) > _MAX_BYTES:
        raise BadDockerfile(name, [Problem(1, f"it is longer than {_MAX_BYTES} characters")])
    source = lines.read(text)
    problems, found = list(source.problems), []
    for logical in source.lines:
        try:
            step = _instruction(logical, source.escape)
            found.append(step)
            literals.check(step)
        except Wrong as error:
            problems.append(Problem(logical.line, str(error)))
    arguments, stages = _stages(found, problems)
    parsed = Dockerfile(tuple(stages), tuple(arguments), source.directives, source.escape)
    problems += _bad_origins(parsed)
    if problems:
        raise BadDockerfile(name, problems)
    if not stages:
        raise BadDockerfile(name, [Problem(1, "it has no FROM: expected FROM IMAGE first")])
    return parsed


def _instruction(logical: lines.Logical, escape: str) -> Instruction:
    keyword, _, rest = logical.text.partition(" ")
    if "\t" in keyword:
        keyword, _, rest = logical.text.partition("\t")
    flags, rest = words.split_flags(rest.strip())
    written = known.Written(
        logical.line, logical.text, rest.strip(), tuple(flags), logical.documents, escape
    )
    return known.read(keyword.upper(), written)


def _stages(found: list[Instruction], problems: list[Problem]) -> tuple[list[Pairs], list[Stage]]:
    arguments: list[Pairs] = []
    stages: list[Stage] = []
    for step in found:
        if isinstance(step, From):
            if step.name and any(stage.name == step.name for stage in stages):
                problems.append(Problem(step.line, f"stage {step.name} is specified twice"))
            stages.append(Stage(len(stages), step))
        elif stages:
            stages[-1].steps.append(step)
        elif isinstance(step, Pairs) and step.kind == "ARG":
            arguments.append(step)
        elif not problems:  # a FROM may be what was wrong
            text = step.text.partition(" ")[0].upper()
            problems.append(Problem(step.line, f"{text} before the first FROM: only ARG may be"))
    return arguments, stages


def _bad_origins(parsed: Dockerfile) -> list[Problem]:
    """Stages by a number that there is not, or by their own or a later one's name."""
    problems = []
    for stage in parsed.stages:
        later = {other.name for other in parsed.stages[stage.number :] if other.name}
        for step in stage.steps:
            origin = step.origin if isinstance(step, Copy) else ""
            if not origin or parsed._earlier(origin, stage.number) is not None:
                continue
            if origin.isdecimal() or origin.lower() in later:
                problems.append(Problem(step.line, f"--from={origin}: no earlier stage is that"))
    return problems
