"""Instructions of a Dockerfile that change an image's configuration: `commit --change`, `import`.

Source: the Dockerfile reference; which ones are allowed, as in Docker's commit.
"""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Callable, Sequence
from typing import Any

from swarmlite.errors import InvalidSpec
from swarmlite.model.signals import signal_number
from swarmlite.model.units import parse_duration

Config = dict[str, Any]
DEFAULT_SHELL = ["/bin/sh", "-c"]
_VARIABLE = re.compile(r"\\(.)|\$(?:\{(\w+)(?:(:?[-+])([^}]*))?\}|(\w+))")
_PORTS = re.compile(r"\d+(-\d+)?(/(tcp|udp|sctp))?")


def apply(config: Config, changes: Sequence[str]) -> Config:
    """Docker's `config` after some instructions. Raises InvalidSpec that names the instruction."""
    changed = dict(config)
    for text in changes:
        for line in filter(None, map(str.strip, text.splitlines())):
            word, _, rest = line.partition(" ")
            handler = _HANDLERS.get(word.upper())
            if handler is None:
                known = ", ".join(sorted(_HANDLERS))
                raise InvalidSpec(f"{word[:40]!r} cannot change an image: expected one of {known}")
            try:
                handler(changed, rest.strip())
            except InvalidSpec as error:
                raise InvalidSpec(f"{word.upper()} {rest.strip()[:80]}: {error}") from error
    return changed


def _command(config: Config, rest: str) -> list[str]:
    """The exec form, or the shell form run by the image's shell."""
    if rest.startswith("["):
        try:
            words = json.loads(rest)
        except (ValueError, RecursionError):
            words = None
        if isinstance(words, list) and all(isinstance(word, str) for word in words):
            return words
    if not rest:
        return []
    return [*(config.get("Shell") or DEFAULT_SHELL), rest]


def _cmd(config: Config, rest: str) -> None:
    config["Cmd"] = _command(config, rest)


def _entrypoint(config: Config, rest: str) -> None:
    config["Entrypoint"] = _command(config, rest) or None


def _pairs(rest: str) -> dict[str, str]:
    """NAME=VALUE ..., or NAME VALUE."""
    name, space, value = rest.partition(" ")
    if "=" not in name:
        if not space or not name:
            raise InvalidSpec("expected NAME=VALUE")
        return {name: value.strip()}
    pairs = {}
    for word in _words(rest):
        name, equals, value = word.partition("=")
        if not equals or not name:
            raise InvalidSpec(f"expected NAME=VALUE, not {word[:40]!r}")
        pairs[name] = value
    return pairs


def _words(rest: str) -> list[str]:
    try:
        return shlex.split(rest)
    except ValueError as error:
        raise InvalidSpec(str(error).lower()) from error


def _env(config: Config, rest: str) -> None:
    variables = _variables(config)
    for name, value in _pairs(rest).items():
        variables[name] = expand(value, _variables(config))
    config["Env"] = [f"{name}={value}" for name, value in variables.items()]


def _variables(config: Config) -> dict[str, str]:
    found = {}
    for entry in config.get("Env") or ():
        name, _, value = entry.partition("=")
        found[name] = value
    return found


def expand(text: str, variables: dict[str, str]) -> str:
    """$NAME, ${NAME}, ${NAME:-word} and ${NAME:+word}; a backslash keeps what follows."""

    def value(match: re.Match[str]) -> str:
        kept, braced, operator, word, bare = match.groups()
        if kept is not None:
            return kept if kept == "$" else f"\\{kept}"
        found = variables.get(braced or bare)
        if operator is None:
            return found or ""
        there = bool(found) if operator.startswith(":") else found is not None
        if operator.endswith("+"):
            return word if there else ""
        return found if there and found is not None else word

    return _VARIABLE.sub(value, text)


def _expose(config: Config, rest: str) -> None:
    ports = dict(config.get("ExposedPorts") or {})
    for word in _words(expand(rest, _variables(config))):
        if not _PORTS.fullmatch(word.lower()):
            raise InvalidSpec(f"{word[:40]!r} is not PORT[-PORT][/tcp|udp|sctp]")
        numbers, _, protocol = word.lower().partition("/")
        first, _, last = numbers.partition("-")
        if not 0 < int(first) <= int(last or first) < 65536:
            raise InvalidSpec(f"{word[:40]!r} is not a port from 1 to 65535")
        for port in range(int(first), int(last or first) + 1):
            ports[f"{port}/{protocol or 'tcp'}"] = {}
    config["ExposedPorts"] = ports


def _label(config: Config, rest: str) -> None:
    config["Labels"] = {**(config.get("Labels") or {}), **_pairs(rest)}


def _onbuild(config: Config, rest: str) -> None:
    trigger = rest.partition(" ")[0].upper()
    if not trigger or trigger in ("ONBUILD", "FROM", "MAINTAINER"):
        raise InvalidSpec(f"{trigger or 'nothing'} is not allowed as a trigger")
    config["OnBuild"] = [*(config.get("OnBuild") or []), rest]


def _user(config: Config, rest: str) -> None:
    config["User"] = _required(expand(rest, _variables(config)), "USER[:GROUP]")


def _volume(config: Config, rest: str) -> None:
    words = _command({"Shell": []}, rest) if rest.startswith("[") else _words(rest)
    if not words or not all(words):
        raise InvalidSpec("expected a path")
    config["Volumes"] = {**(config.get("Volumes") or {}), **{word: {} for word in words}}


def _workdir(config: Config, rest: str) -> None:
    path = _required(expand(rest, _variables(config)), "a path")
    before = str(config.get("WorkingDir") or "/")
    config["WorkingDir"] = path if path.startswith("/") else f"{before.rstrip('/')}/{path}"


def _stopsignal(config: Config, rest: str) -> None:
    signal_number(_required(rest, "a signal"))
    config["StopSignal"] = rest


def _shell(config: Config, rest: str) -> None:
    words = _command({"Shell": []}, rest) if rest.startswith("[") else []
    if not words:
        raise InvalidSpec('expected a list, for example ["/bin/sh", "-c"]')
    config["Shell"] = words


_HEALTH_TIMES = {
    "--interval": "Interval", "--timeout": "Timeout", "--start-period": "StartPeriod",
    "--start-interval": "StartInterval",
}  # fmt: skip


def _healthcheck(config: Config, rest: str) -> None:
    check: Config = {}
    while rest.startswith("--"):
        option, _, rest = rest.partition(" ")
        name, _, value = option.partition("=")
        if name in _HEALTH_TIMES:
            check[_HEALTH_TIMES[name]] = parse_duration(value)
        elif name == "--retries" and value.isdecimal():
            check["Retries"] = int(value)
        else:
            raise InvalidSpec(f"unknown option {option[:40]}")
        rest = rest.strip()
    word, _, command = rest.partition(" ")
    if word.upper() == "NONE" and not command:
        check["Test"] = ["NONE"]
    elif word.upper() == "CMD" and command.strip():
        command = command.strip()
        words = _command({"Shell": []}, command)
        check["Test"] = ["CMD", *words] if command.startswith("[") else ["CMD-SHELL", command]
    else:
        raise InvalidSpec("expected NONE, or [OPTIONS] CMD command")
    config["Healthcheck"] = check


def _required(text: str, what: str) -> str:
    if not text:
        raise InvalidSpec(f"expected {what}")
    return text


_HANDLERS: dict[str, Callable[[Config, str], None]] = {
    "CMD": _cmd, "ENTRYPOINT": _entrypoint, "ENV": _env, "EXPOSE": _expose,
    "HEALTHCHECK": _healthcheck, "LABEL": _label, "ONBUILD": _onbuild, "SHELL": _shell,
    "STOPSIGNAL": _stopsignal, "USER": _user, "VOLUME": _volume, "WORKDIR": _workdir,
}  # fmt: skip
