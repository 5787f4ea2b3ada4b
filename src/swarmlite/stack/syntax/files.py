"""Secrets and configs of a service: "name" or "source=name,target=/path,uid=0,gid=0,mode=0440"."""

from __future__ import annotations

from swarmlite.errors import InvalidSpec
from swarmlite.proto.types_pb2 import ConfigReference, FileTarget, SecretReference

from . import fields

DEFAULT_MODE = 0o444
_KEYS = ("source", "target", "uid", "gid", "mode")


def parse_secret(text: str) -> SecretReference:
    """A secret by name, its id left to whoever can ask. Raises InvalidSpec."""
    source, file = _parse(text)
    return SecretReference(secret_name=source, file=file)


def parse_config(text: str) -> ConfigReference:
    """A config by name, its id left to whoever can ask. Raises InvalidSpec."""
    source, file = _parse(text)
    return ConfigReference(config_name=source, file=file)


def check_target(target: str) -> None:
    """Refuse a file name that could leave its folder. Raises InvalidSpec."""
    if not target or "\0" in target or ".." in target.split("/"):
        raise InvalidSpec(f"target {target!r} is not a file name: no empty parts and no ..")


def _parse(text: str) -> tuple[str, FileTarget]:
    pairs = fields.split(text)
    if len(pairs) == 1 and pairs[0][1] is None:
        # A bare name keeps its case, which keys do not.
        return text.strip(), FileTarget(name=text.strip(), uid="0", gid="0", mode=DEFAULT_MODE)
    values: dict[str, str] = {}
    for key, value in pairs:
        name = {"src": "source"}.get(key, key)
        if name not in _KEYS:
            raise fields.unknown(key, _KEYS)
        values[name] = fields.required(key, value)
    if "source" not in values:
        raise InvalidSpec("source=NAME is missing")
    target = values.get("target", values["source"])
    check_target(target)
    mode = values.get("mode")
    return values["source"], FileTarget(
        name=target,
        uid=values.get("uid", "0"),
        gid=values.get("gid", "0"),
        mode=fields.number("mode", mode, most=0o7777, base=8) if mode else DEFAULT_MODE,
    )
