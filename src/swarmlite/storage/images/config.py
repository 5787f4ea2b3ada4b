"""Image configurations: what a container is made from is of the types that it should be.

Source: OCI image-spec, config.md, and Docker's additions to it (Healthcheck, OnBuild, Shell).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from swarmlite.errors import InvalidSpec

Check = Callable[[Any], bool]


def _text(value: Any) -> bool:
    return isinstance(value, str) and "\0" not in value


def _number(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _texts(value: Any) -> bool:
    return isinstance(value, list) and all(map(_text, value))


def _command(value: Any) -> bool:
    return _text(value) or _texts(value)  # some builders wrote one string


def _set(value: Any) -> bool:
    """Go's map[string]struct{}: an object whose keys are what counts."""
    return isinstance(value, dict) and all(map(_text, value))


def _labels(value: Any) -> bool:
    return _set(value) and all(map(_text, value.values()))


def _objects(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(entry, dict) for entry in value)


_A_TEXT, _TEXTS = (_text, "a string"), (_texts, "a list of strings")
_OUTER: dict[str, tuple[Check, str]] = {
    "architecture": _A_TEXT, "os": _A_TEXT, "variant": _A_TEXT, "created": _A_TEXT,
    "author": _A_TEXT, "history": (_objects, "a list of objects"),
}  # fmt: skip
_INNER: dict[str, tuple[Check, str]] = {
    "User": _A_TEXT, "WorkingDir": _A_TEXT, "StopSignal": _A_TEXT, "Env": _TEXTS,
    "Entrypoint": (_command, "a list of strings"), "Cmd": (_command, "a list of strings"),
    "Shell": _TEXTS, "OnBuild": _TEXTS, "Labels": (_labels, "an object of strings"),
    "Volumes": (_set, "an object"), "ExposedPorts": (_set, "an object"),
    "Healthcheck": (lambda value: isinstance(value, dict), "an object"),
}  # fmt: skip
_HEALTH: dict[str, tuple[Check, str]] = {
    "Test": _TEXTS,
    **dict.fromkeys(
        ("Interval", "Timeout", "StartPeriod", "StartInterval", "Retries"), (_number, "a number")
    ),
}


def check(config: dict[str, Any]) -> None:
    """Raises InvalidSpec, one line that names what is wrong; null stands for what is absent."""
    _check(config, _OUTER, "")
    inner = config.get("config")
    if inner is None:
        return
    if not isinstance(inner, dict):
        raise InvalidSpec("the image's config has a config that is not an object")
    _check(inner, _INNER, "config.")
    health = inner.get("Healthcheck")
    if isinstance(health, dict):
        _check(health, _HEALTH, "config.Healthcheck.")


def _check(found: dict[str, Any], rules: dict[str, tuple[Check, str]], prefix: str) -> None:
    for key, (holds, what) in rules.items():
        value = found.get(key)
        if value is not None and not holds(value):
            raise InvalidSpec(f"the image's config is wrong: {prefix}{key} is not {what}")
