"""RUN --mount: what a command sees for its time, and what is not in the image afterwards."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from swarmlite.build.dockerfile.problems import Wrong

_ALIASES = {
    "destination": "target", "dst": "target", "src": "source", "ro": "readonly",
    "rw": "readwrite",
}  # fmt: skip
_COMMON = ("type", "target", "readonly", "readwrite")
_OPTIONS = {
    "bind": (*_COMMON, "source", "from"),
    "cache": (*_COMMON, "source", "from", "id", "sharing", "mode", "uid", "gid"),
    "tmpfs": (*_COMMON, "size"),
    "secret": (*_COMMON, "id", "required", "mode", "uid", "gid", "env"),
    "ssh": (*_COMMON, "id", "required", "mode", "uid", "gid"),
}
_TRUTHS = ("readonly", "readwrite", "required")
_NUMBERS = ("uid", "gid")


@dataclass(frozen=True)
class RunMount:
    """One; `options` by their full names, values as they are written, variables and all."""

    kind: str
    options: Mapping[str, str] = field(default_factory=dict)


def parse_mount(text: str) -> RunMount:
    """Raises Wrong that names the option and those that its type has."""
    options: dict[str, str] = {}
    for part in text.strip("\"'").split(","):
        name, equals, value = part.partition("=")
        name = _ALIASES.get(name.lower(), name.lower())
        if name in options:
            raise Wrong(f"--mount: {name} is specified twice")
        if not equals and name not in _TRUTHS:
            raise Wrong(f"--mount: {part[:40]!r} is not NAME=VALUE")
        options[name] = value if equals else "true"
    kind = options.pop("type", "bind")
    if kind not in _OPTIONS:
        raise Wrong(f"--mount: unknown type {kind[:40]!r}: use {', '.join(_OPTIONS)}")
    _check(kind, options)
    return RunMount(kind, options)


def _check(kind: str, options: dict[str, str]) -> None:
    for name, value in options.items():
        if name not in _OPTIONS[kind]:
            raise Wrong(
                f"--mount type={kind}: unknown option {name[:40]!r}: use "
                f"{', '.join(sorted(set(_OPTIONS[kind]) - {'type'}))}"
            )
        if "$" in value:
            continue  # known once the variables are
        if name in _TRUTHS and value.lower() not in ("true", "false", "1", "0"):
            raise Wrong(f"--mount type={kind}: {name}={value[:40]}: expected true or false")
        if name in _NUMBERS and not value.isdecimal():
            raise Wrong(f"--mount type={kind}: {name}={value[:40]}: expected a number")
        if name == "mode" and not (value.isdecimal() and set(value) <= set("01234567")):
            raise Wrong(f"--mount type={kind}: mode={value[:40]}: expected octal digits")
    if options.get("sharing", "shared") not in ("shared", "private", "locked"):
        raise Wrong(f"--mount type=cache: sharing={options['sharing'][:40]}: use shared, private "
                    "or locked")  # fmt: skip
    needs_target = kind in ("bind", "cache", "tmpfs")
    if needs_target and not options.get("target"):
        raise Wrong(f"--mount type={kind} needs target=PATH")
