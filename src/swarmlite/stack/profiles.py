"""Services with `profiles` are part of a stack while one of these is active."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace

from swarmlite.stack import read
from swarmlite.stack.tree import Node

VARIABLE = "COMPOSE_PROFILES"
ALL = "*"


def active(environment: Mapping[str, str]) -> set[str]:
    """The profiles that the environment names, between commas."""
    words = environment.get(VARIABLE, "").split(",")
    return {word.strip() for word in words if word.strip()}


def chosen(tree: Node, names: Collection[str]) -> tuple[Node, list[str]]:
    """The tree without services of which no profile is among `names`; a line for each of these."""
    keys = read.mapping(tree)
    services = read.mapping(keys["services"]) if "services" in keys else {}
    kept, lines = {}, []
    for name, service in services.items():
        own = read.mapping(service).get("profiles")
        wanted = read.strings(own) if own is not None else []
        if not wanted or ALL in names or not set(wanted).isdisjoint(names):
            kept[name] = service
        else:
            lines.append(f"service {name} is left out: its profile {', '.join(wanted)} is inactive")
    if not lines:
        return tree, []
    return replace(tree, value={**keys, "services": replace(keys["services"], value=kept)}), lines
