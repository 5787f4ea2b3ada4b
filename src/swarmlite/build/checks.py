"""What is allowed in a Dockerfile and better otherwise: warnings, by the names of Docker's rules.

`# check=skip=RULE,RULE;error=true`: skip=all takes none, error=true makes each an error.
Source: docs.docker.com/reference/build-checks.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from swarmlite.build.dockerfile.instructions import (
    From,
    Healthcheck,
    Instruction,
    Pairs,
    Process,
    Words,
)
from swarmlite.build.dockerfile.parsing import Dockerfile, Stage

_SECRET = re.compile(
    r"(?:^|_)(?:api_?key|auth|credential|password|pword|passwd|secret|token|pwd)s?(?:_|$)",
    re.IGNORECASE,
)
_PUBLIC = re.compile(r"(?:^|_)(?:public|file|version)(?:_|$)", re.IGNORECASE)
_RESERVED = ("context", "scratch")


@dataclass(frozen=True)
class Warned:
    """One warning."""

    line: int
    rule: str
    text: str


@dataclass(frozen=True)
class Checks:
    """What the directive asks for."""

    skipped: frozenset[str]
    as_errors: bool

    @classmethod
    def of(cls, directive: str) -> Checks:
        """From the value of # check=."""
        skipped: set[str] = set()
        as_errors = False
        for part in directive.split(";"):
            name, _, value = part.strip().partition("=")
            if name.strip() == "skip":
                skipped.update(word.strip().lower() for word in value.split(","))
            elif name.strip() == "error":
                as_errors = value.strip().lower() == "true"
        return cls(frozenset(skipped), as_errors)


def warnings(dockerfile: Dockerfile) -> list[Warned]:
    """All that the file's own directive does not skip, by line."""
    checks = Checks.of(dockerfile.directives.get("check", ""))
    if "all" in checks.skipped:
        return []
    found = [warned for stage in dockerfile.stages for warned in _stage(stage)]
    return sorted(
        (warned for warned in found if warned.rule.lower() not in checks.skipped),
        key=lambda warned: warned.line,
    )


def _stage(stage: Stage) -> Iterator[Warned]:
    yield from _begin(stage.begin)
    only: dict[str, Instruction] = {}
    absolute = False
    for step in stage.steps:
        yield from _step(step)
        if isinstance(step, Words) and step.kind == "WORKDIR":
            path = step.words[0]
            if not absolute and not path.startswith(("/", "$", '"/', "'/")):
                yield Warned(
                    step.line,
                    "WorkdirRelativePath",
                    f"Relative workdir {path!r} can have unexpected results if the base image "
                    "changes",
                )
            absolute = True
        kind = "HEALTHCHECK" if isinstance(step, Healthcheck) else getattr(step, "kind", "")
        if kind in ("CMD", "ENTRYPOINT", "HEALTHCHECK"):
            if kind in only:
                yield Warned(
                    only[kind].line,
                    "MultipleInstructionsDisallowed",
                    f"Multiple {kind} instructions should not be used in the same stage because "
                    "only the last one will be used",
                )
            only[kind] = step


def _begin(begin: From) -> Iterator[Warned]:
    if begin.name in _RESERVED:
        yield Warned(
            begin.line,
            "ReservedStageName",
            f"Stage name should not use the same name as reserved stage {begin.name!r}",
        )
    if begin.platform.strip("{}$\"'") == "TARGETPLATFORM":
        yield Warned(
            begin.line,
            "RedundantTargetPlatform",
            f"Setting platform to predefined {begin.platform} in FROM is redundant as this is the "
            "default behavior",
        )
    words = begin.text.split()
    if begin.name and words[0].isupper() != words[-2].isupper():
        yield Warned(
            begin.line,
            "FromAsCasing",
            f"'{words[-2]}' and '{words[0]}' keywords' casing do not match",
        )
    if begin.name and words[-1] != begin.name:
        yield Warned(begin.line, "StageNameCasing", f"Stage name {words[-1]!r} should be lowercase")


def _step(step: Instruction) -> Iterator[Warned]:
    if isinstance(step, Words) and step.kind == "MAINTAINER":
        yield Warned(
            step.line,
            "MaintainerDeprecated",
            "Maintainer instruction is deprecated in favor of using label",
        )
    elif isinstance(step, Process) and step.command.shell:
        yield Warned(
            step.line,
            "JSONArgsRecommended",
            f"JSON arguments recommended for {step.kind} to prevent unintended behavior related "
            "to OS signals",
        )
    elif isinstance(step, Pairs):
        yield from _pairs(step)


def _pairs(step: Pairs) -> Iterator[Warned]:
    first = step.text.split()[1] if len(step.text.split()) > 1 else ""
    if step.kind == "ENV" and "=" not in first:
        yield Warned(
            step.line,
            "LegacyKeyValueFormat",
            '"ENV key=value" should be used instead of legacy "ENV key value" format',
        )
    if step.kind in ("ENV", "ARG"):
        for name, _ in step.pairs:
            if _SECRET.search(name) and not _PUBLIC.search(name):
                yield Warned(
                    step.line,
                    "SecretsUsedInArgOrEnv",
                    f"Do not use ARG or ENV instructions for sensitive data ({step.kind} {name!r})",
                )
