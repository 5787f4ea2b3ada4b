"""Limits as version 2 and `docker compose` write them, in the places of version 3."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from swarmlite.stack import read
from swarmlite.stack.canonical import values
from swarmlite.stack.tree import Node

MOVED: Mapping[str, tuple[str, ...]] = {
    "mem_limit": ("resources", "limits", "memory"),
    "cpus": ("resources", "limits", "cpus"),
    "pids_limit": ("resources", "limits", "pids"),
    "mem_reservation": ("resources", "reservations", "memory"),
    "scale": ("replicas",),
}
"""Keys of a service, and where below `deploy` they belong."""


def moved(node: Node) -> Node:
    """A service whose older keys stand below `deploy`, but where that says the same already."""
    given = read.mapping(node)
    found = [key for key in MOVED if key in given]
    if not found:
        return node
    deploy = given.get("deploy") or values.child(node, "deploy", {})
    for key in found:
        item = given[key]
        if item.text in ("-1", "0") and key != "scale":
            continue  # no limit
        if isinstance(item.value, int | float):
            item = item.with_text(item.text)
        deploy = _put(deploy, MOVED[key], item)
    kept = {key: item for key, item in given.items() if key not in MOVED and key != "deploy"}
    return replace(node, value={**kept, "deploy": deploy})


def _put(node: Node, path: tuple[str, ...], item: Node) -> Node:
    keys = dict(read.mapping(node))
    first, rest = path[0], path[1:]
    if not rest:
        keys.setdefault(first, item)
    else:
        keys[first] = _put(keys.get(first) or values.child(node, first, {}), rest, item)
    return replace(node, value=keys, text="")
