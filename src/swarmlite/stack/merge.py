"""Several files as one: mappings merge, scalars of the later file win, lists by their key.

Variables and labels merge by name whether written as list or mapping; ports, volumes, secrets and
configs by what they are called in the container; commands are replaced; other lists are appended.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import reduce

from swarmlite.stack.tree import Node

_REPLACED = ("command", "entrypoint", "healthcheck.test")
_NAMED = ("environment", "labels", "deploy.labels", "sysctls", "build.args", "extra_hosts")
_SERVICE = re.compile(r"^services\.[^.]+\.")


def merge(trees: Iterable[Node]) -> Node:
    """All of them as one; nodes keep the file and line that they come from."""
    return reduce(_merge, trees)


def _merge(base: Node, over: Node) -> Node:
    key = _SERVICE.sub("", over.path) if over.path.startswith("services.") else over.path
    tail = key.rpartition(".")[2]
    if key in _REPLACED or over.value is None:
        return over if over.value is not None else base
    in_service = over.path.startswith("services.")
    if key in _NAMED or tail == "labels" or (key == "networks" and in_service):
        base, over = _by_name(base), _by_name(over)
    elif key == "logging" and _scalar(base, "driver") != _scalar(over, "driver"):
        return over
    if isinstance(base.value, dict) and isinstance(over.value, dict):
        items = dict(base.value)
        for name, node in over.value.items():
            items[name] = _merge(items[name], node) if name in items else node
        return replace(over, value=items, line=base.line, file=base.file)
    if isinstance(base.value, list) and isinstance(over.value, list):
        return replace(over, value=_lists(base.value, over.value, _IDENTITIES.get(key)))
    return over


def _lists(
    base: list[Node], over: list[Node], identity: Callable[[Node], str] | None
) -> list[Node]:
    if identity is None:
        return [*base, *over]
    merged = {identity(node): node for node in base}
    merged.update({identity(node): node for node in over})
    return list(merged.values())


def _by_name(node: Node) -> Node:
    """A list of NAME=value (or names) as the mapping that it stands for."""
    if not isinstance(node.value, list):
        return node
    items: dict[str, Node] = {}
    for item in node.value:
        if not isinstance(item.value, str):
            return node  # malformed: whoever reads it says so
        separator = ":" if node.path.endswith("extra_hosts") and "=" not in item.text else "="
        name, found, value = item.text.partition(separator)
        items[name] = item.with_text(value) if found else replace(item, value=None, text="")
    return replace(node, value=items)


def _scalar(node: Node, key: str) -> str:
    if isinstance(node.value, dict) and key in node.value:
        return str(node.value[key].text)
    return ""


def _port(node: Node) -> str:
    if isinstance(node.value, dict):
        published, target = _scalar(node, "published"), _scalar(node, "target")
        return f"{published}:{target}/{_scalar(node, 'protocol') or 'tcp'}"
    ports, _, protocol = node.text.partition("/")
    published, _, target = ports.rpartition(":")
    return f"{published}:{target}/{protocol or 'tcp'}"


def _target(node: Node) -> str:
    if isinstance(node.value, dict):
        return _scalar(node, "target") or _scalar(node, "source")
    parts = node.text.split(":")
    return parts[1] if len(parts) > 1 else parts[0]


def _source(node: Node) -> str:
    return (_scalar(node, "target") or _scalar(node, "source")) or node.text


_IDENTITIES: dict[str, Callable[[Node], str]] = {
    "ports": _port,
    "volumes": _target,
    "secrets": _source,
    "configs": _source,
}
