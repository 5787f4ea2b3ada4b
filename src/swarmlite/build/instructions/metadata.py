"""Instructions that change the configuration and no file: functions of the state only."""

from __future__ import annotations

import posixpath
from collections.abc import Callable
from typing import Any

from swarmlite.build.dockerfile import literals, words
from swarmlite.build.dockerfile.instructions import (
    Healthcheck,
    Instruction,
    Onbuild,
    Pairs,
    Process,
    Words,
)
from swarmlite.build.dockerfile.problems import Wrong
from swarmlite.build.state import State

_TIMES = {
    "interval": "Interval", "timeout": "Timeout", "start-period": "StartPeriod",
    "start-interval": "StartInterval",
}  # fmt: skip


def apply(state: State, step: Instruction, escape: str) -> bool:
    """Carry it out; false for an instruction that is none of these. Raises Wrong."""
    if isinstance(step, Pairs):
        _PAIRS[step.kind](state, step, escape)
    elif isinstance(step, Words) and step.kind in _WORDS:
        _WORDS[step.kind](state, step, escape)
    elif isinstance(step, Process):
        _process(state, step)
    elif isinstance(step, Healthcheck):
        _healthcheck(state, step)
    elif isinstance(step, Onbuild):
        text = step.text.partition(" ")[2].strip()
        state.config["OnBuild"] = [*(state.config.get("OnBuild") or ()), text]
        state.said(f"ONBUILD {text}")
    else:
        return False
    return True


def _expanded(state: State, step: Pairs, escape: str) -> list[tuple[str, str | None]]:
    """All by the variables from before the instruction."""
    variables = state.variables
    return [
        (
            words.expand(name, variables, escape),
            None if value is None else words.expand(value, variables, escape),
        )
        for name, value in step.pairs
    ]


def _env(state: State, step: Pairs, escape: str) -> None:
    pairs = _expanded(state, step, escape)
    environment = state.environment
    environment.update((name, value or "") for name, value in pairs)
    state.config["Env"] = [f"{name}={value}" for name, value in environment.items()]
    state.said("ENV " + " ".join(f"{name}={value}" for name, value in pairs))


def _label(state: State, step: Pairs, escape: str) -> None:
    pairs = _expanded(state, step, escape)
    labels = dict(state.config.get("Labels") or {})
    labels.update((name, value or "") for name, value in pairs)
    state.config["Labels"] = labels
    state.said("LABEL " + " ".join(f"{name}={value}" for name, value in pairs))


def _arg(state: State, step: Pairs, escape: str) -> None:
    said = []
    for name, default in step.pairs:
        variables = state.variables  # an ARG sees those before it on its line too
        name = words.expand(name, variables, escape)
        value = state.arguments.declare(
            name, None if default is None else words.expand(default, variables, escape)
        )
        said.append(name if value is None else f"{name}={value}")
    state.said("ARG " + " ".join(said))


def _words(state: State, step: Words, escape: str) -> list[str]:
    return [words.expand(word, state.variables, escape) for word in step.words]


def _expose(state: State, step: Words, escape: str) -> None:
    ports = dict(state.config.get("ExposedPorts") or {})
    said = []
    for word in (part for text in _words(state, step, escape) for part in text.split()):
        found = literals.ports(word)
        for port in range(found.first, found.last + 1):
            ports[f"{port}/{found.protocol}"] = {}
            said.append(f"{port}/{found.protocol}")
    state.config["ExposedPorts"] = ports
    state.said(f"EXPOSE [{' '.join(said)}]")


def _volume(state: State, step: Words, escape: str) -> None:
    volumes = dict(state.config.get("Volumes") or {})
    paths = [path.strip() for path in _words(state, step, escape)]
    if not all(paths):
        raise Wrong("VOLUME with an empty path")
    volumes.update({path: {} for path in paths})
    state.config["Volumes"] = volumes
    state.said(f"VOLUME [{' '.join(paths)}]")


def _user(state: State, step: Words, escape: str) -> None:
    user = " ".join(_words(state, step, escape)).strip()
    if not user:
        raise Wrong("USER comes to nothing: expected USER[:GROUP]")
    state.config["User"] = user
    state.said(f"USER {user}")


def _stopsignal(state: State, step: Words, escape: str) -> None:
    signal = " ".join(_words(state, step, escape)).strip()
    literals.signal(signal)
    state.config["StopSignal"] = signal
    state.said(f"STOPSIGNAL {signal}")


def _shell(state: State, step: Words, escape: str) -> None:
    state.config["Shell"] = list(step.words)
    state.said(f"SHELL [{' '.join(step.words)}]")


def _maintainer(state: State, step: Words, escape: str) -> None:
    state.outer["author"] = step.words[0]
    state.said(f"MAINTAINER {step.words[0]}")


def _process(state: State, step: Process) -> None:
    command = step.command
    if command.words:
        argv = list(command.words)
    else:
        argv = [*state.shell, command.shell] if command.shell else []
    key = "Cmd" if step.kind == "CMD" else "Entrypoint"
    state.config[key] = argv
    if key == "Cmd":
        state.has_command = True
    elif not state.has_command:
        state.config.pop("Cmd", None)
    state.said(f"{step.kind} [{' '.join(_quoted(word) for word in argv)}]")


def _quoted(word: str) -> str:
    escaped = word.replace("\\", "\\\\").replace('"', '\\"')
    return '"' + escaped.replace("\n", "\\n").replace("\t", "\\t") + '"'


def _healthcheck(state: State, step: Healthcheck) -> None:
    check: dict[str, Any]
    if step.command is None:
        check = {"Test": ["NONE"]}
    elif step.command.words:
        check = {"Test": ["CMD", *step.command.words]}
    else:
        check = {"Test": ["CMD-SHELL", step.command.shell]}
    check |= {_TIMES[name]: value for name, value in step.times.items() if value}
    if step.retries:
        check["Retries"] = step.retries
    state.config["Healthcheck"] = check
    state.said(step.text)


def workdir_of(state: State, path: str) -> str:
    """The directory that WORKDIR leads to."""
    before = str(state.config.get("WorkingDir") or "/")
    return posixpath.normpath("/" + posixpath.join(before, path).lstrip("/"))


_PAIRS: dict[str, Callable[[State, Pairs, str], None]] = {
    "ENV": _env, "LABEL": _label, "ARG": _arg,
}  # fmt: skip
_WORDS: dict[str, Callable[[State, Words, str], None]] = {
    "EXPOSE": _expose, "VOLUME": _volume, "USER": _user, "STOPSIGNAL": _stopsignal,
    "SHELL": _shell, "MAINTAINER": _maintainer,
}  # fmt: skip
