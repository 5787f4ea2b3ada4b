"""How it is written what a container shares with its host: security options, namespaces."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from swarmlite.errors import InvalidSpec
from swarmlite.model.wording import any_of
from swarmlite.proto.specs_pb2 import ContainerSpec
from swarmlite.proto.types_pb2 import Privileges
from swarmlite.stack import outside

MAX_PROFILE_BYTES = 1024 * 1024
NAMESPACES = {
    "pid": ("host",),
    "ipc": ("private", "shareable", "host", "none"),
    "uts": ("host",),
    "userns": ("host", "auto"),
}
"""The words of each that need no other container."""


def namespace(kind: str, *, joins: bool = False) -> Callable[[str], str]:
    """What reads a namespace's mode: one of its words, or with `joins` container:NAME."""
    words = NAMESPACES[kind]

    def parse(value: str) -> str:
        other = joins and value.startswith("container:") and value != "container:"
        sized = kind == "userns" and value.startswith("auto:")
        if value not in words and not other and not sized and value != "":
            known = [*words, *(["container:NAME"] if joins else [])]
            raise InvalidSpec(f"expected {any_of(known)}")
        return value

    return parse


def option(spec: ContainerSpec, value: str, folder: Path = Path()) -> None:
    """Write one security option into `spec`; a seccomp profile is read, relative to `folder`.

    Raises InvalidSpec, OSError for a profile that cannot be read.
    """
    name, equals, word = value.partition("=")
    if not equals:  # the older notation
        name, _, word = value.partition(":")
    if name == "no-new-privileges":
        if word not in ("", "true", "false"):
            raise InvalidSpec(f"--security-opt {value}: expected true or false")
        spec.privileges.no_new_privileges = word != "false"
    elif name == "seccomp":
        _seccomp(spec.privileges, word, folder)
    elif name == "apparmor" and word == "unconfined":
        spec.privileges.apparmor.mode = Privileges.AppArmorOpts.DISABLED
    elif name in ("apparmor", "label") or value == "systempaths=unconfined":
        spec.security_options.append(f"{name}={word}")
    else:
        raise InvalidSpec(
            f"--security-opt {value}: unknown; expected seccomp=FILE, seccomp=unconfined,"
            " no-new-privileges, apparmor=NAME, label=VALUE or systempaths=unconfined"
        )


def _seccomp(privileges: Privileges, word: str, folder: Path) -> None:
    if word == "unconfined":
        privileges.seccomp.mode = Privileges.SeccompOpts.UNCONFINED
    elif word in ("builtin", "default"):
        privileges.seccomp.mode = Privileges.SeccompOpts.DEFAULT
    elif not word:
        raise InvalidSpec("--security-opt seccomp: expected seccomp=FILE or seccomp=unconfined")
    else:
        profile = outside.read(folder / word, MAX_PROFILE_BYTES + 1)
        if len(profile) > MAX_PROFILE_BYTES:
            raise InvalidSpec(f"--security-opt seccomp={word}: larger than 1 MiB")
        check_profile(profile, word)
        privileges.seccomp.mode = Privileges.SeccompOpts.CUSTOM
        privileges.seccomp.profile = profile


def check_profile(profile: bytes, name: str) -> None:
    """Refuse a seccomp profile that is not a JSON object. Raises InvalidSpec."""
    try:
        parsed = json.loads(profile)
    except ValueError as error:
        raise InvalidSpec(f"--security-opt seccomp={name}: not JSON: {error}") from error
    if not isinstance(parsed, dict):
        raise InvalidSpec(f"--security-opt seccomp={name}: expected a JSON object")
