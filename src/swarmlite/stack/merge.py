"""Several files as one: mappings merge, scalars of the later file win, lists by their key.

Files are in their long form. Ports merge by what is published, volumes by their place in the
container, secrets and configs by their source; commands, and definitions at the top of a file, are
replaced; other lists are appended.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import reduce

from swarmlite.stack.tree import Node

_REPLACED = ("command", "entrypoint", "healthcheck.test")
_OBJECT = re.compile(r"(networks|volumes|secrets|configs)\.[^.]+")
_SERVICE = re.compile(r"^services\.[^.]+\.")


def merge(trees: Iterable[Node]) -> Node:
    """All of them as one; nodes keep the file and line that they come from."""
    return reduce(_merge, trees)


def _merge(base: Node, over: Node) -> Node:
    key = _SERVICE.sub("", over.path) if over.path.startswith("services.") else over.path
    if key in _REPLACED or _OBJECT.fullmatch(over.path) or over.value is None:
        return over if over.value is not None else base
    if key == "logging" and len({_scalar(base, "driver"), _scalar(over, "driver"), ""}) > 2:
        return over  # options of another driver
    if isinstance(base.value, dict) and isinstance(over.value, dict):
        items = dict(base.value)
        for name, node in over.value.items():
            items[name] = _merge(items[name], node) if name in items else node
        return replace(over, value=items, line=base.line, column=base.column, file=base.file)
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


def _scalar(node: Node, key: str) -> str:
    if isinstance(node.value, dict) and key in node.value:
        return str(node.value[key].text)
    return ""


def _port(node: Node) -> str:
    published = _scalar(node, "published") or f"to {_scalar(node, 'target')}"
    return f"{_scalar(node, 'host_ip')} {published}/{_scalar(node, 'protocol') or 'tcp'}"


def _target(node: Node) -> str:
    return _scalar(node, "target") or _scalar(node, "source")


def _source(node: Node) -> str:
    return _scalar(node, "source")


def _host(node: Node) -> str:
    return node.text.partition(":")[0]


_IDENTITIES: dict[str, Callable[[Node], str]] = {
    "ports": _port,
    "volumes": _target,
    "secrets": _source,
    "configs": _source,
    "extra_hosts": _host,
}
