"""What stands at the top of a compose file, in its long form."""

from __future__ import annotations

from dataclasses import replace

from swarmlite.stack import read
from swarmlite.stack.canonical import values
from swarmlite.stack.canonical.service import service
from swarmlite.stack.canonical.values import Convert, Table, Where, struct
from swarmlite.stack.tree import Node

VERSION = "3.13"
"""The version of a file that says none: the newest of the format."""


def document(node: Node, where: Where) -> Node:
    """A whole file; what is wrong with it goes to `where.problems`, and is left out."""
    found: dict[str, Node] = {}
    with where.problems.gather():
        if not isinstance(node.value, dict):
            raise node.error(f"expected a mapping with services, not {node.kind}")
        for key, item in node.value.items():
            with where.problems.gather():
                if key not in _TOP and not key.startswith("x-"):
                    raise read.unknown(item, key, _TOP)
                converted = item if key.startswith("x-") else _TOP[key](item, where)
                if converted is not None:
                    found[key] = converted
    found.setdefault("services", values.child(node, "services", {}))
    return replace(node, value=found)


def _all(convert: Convert) -> Convert:
    def converted(node: Node, where: Where) -> Node | None:
        return values.members(node, convert, where, where.problems)

    return converted


def ordered(node: Node) -> Node:
    """A whole file for people: its version first, services, and all that is named, by name."""
    found = {"version": values.child(node, "version", VERSION), **node.value}
    order = dict.fromkeys([*_TOP, *found])
    return replace(node, value={key: _by_name(found[key]) for key in order if key in found})


def _by_name(node: Node, depth: int = 2) -> Node:
    if not isinstance(node.value, dict) or node.path.startswith("x-") or not depth:
        return node
    items = {key: _by_name(item, depth - 1) for key, item in sorted(node.value.items())}
    return replace(node, value=items)


def _version(node: Node, where: Where) -> Node | None:
    text = read.scalar(node)
    major, _, minor = text.partition(".")
    known = major == "3" and (not minor or minor in (str(n) for n in range(14)))
    if not known and not (major == "1" or major == "2"):
        raise node.error(f"unsupported version {text!r}; expected 3.0 to {VERSION}, or none")
    return node.with_text(VERSION if text == "3" else text)


def _object(table: Table, *, alone: bool = False) -> Convert:
    """A definition: `external: {name: NAME}` becomes external and its name.

    An external one may say more, which changes nothing; `alone`: it may not, as with Docker.
    """

    def convert(node: Node, where: Where) -> Node | None:
        found = values.keys(node, {"name": values.text, **table, "external": _external}, where)
        external = found.get("external")
        if external is None:
            return replace(node, value=found, text="")
        extra = [key for key in found if key not in ("external", "name") and key[:2] != "x-"]
        if extra and alone:
            raise found[extra[0]].error("an external volume takes only a name")
        if "file" in found:
            found["file"] = node.value["file"]  # nobody opens it: its name stays as it is written
        if isinstance(external.value, dict):
            if "name" in external.value:
                found["name"] = external.value["name"]
            external = replace(external, value=True, text="true")
        key = node.path.partition(".")[2]  # behind "secrets."; it may hold dots itself
        found.setdefault("name", values.child(node, "name", key))
        return replace(node, value={**found, "external": external}, text="")

    return convert


def _external(node: Node, where: Where) -> Node | None:
    if isinstance(node.value, dict):
        return replace(node, value=values.keys(node, {"name": values.text}, where))
    return values.flag(node, where)


def _include(node: Node, where: Where) -> Node | None:
    """More files: each a path, or a mapping with several paths that are one file together."""
    items = []
    for item in read.items(node):
        if not isinstance(item.value, dict):
            items.append(values.made(item, {"path": values.listed(item, [item])}))
            read.line(item)
            continue
        found = values.keys(item, _INCLUDE, where)
        if "path" not in found:
            raise item.error("path is missing")
        items.append(replace(item, value=found))
    return values.listed(node, items)


def _paths(node: Node, where: Where) -> Node | None:
    single = not isinstance(node.value, list)
    return values.listed(node, [node]) if single else values.texts(node, where)


_INCLUDE: Table = {
    "path": _paths,
    "env_file": _paths,
    "project_directory": values.text,
}
_POOL: Table = {
    "subnet": values.text,
    "ip_range": values.text,
    "gateway": values.text,
    "aux_addresses": values.options,
}
_NETWORK: Table = {
    "driver": values.text,
    "driver_opts": values.options,
    "ipam": struct(
        {
            "driver": values.text,
            "options": values.options,
            "config": values.each(struct(_POOL)),
        }
    ),
    "internal": values.flag,
    "attachable": values.flag,
    "enable_ipv4": values.said_flag,
    "enable_ipv6": values.flag,
    "labels": values.options,
}
_VOLUME: Table = {
    "driver": values.text,
    "driver_opts": values.options,
    "labels": values.options,
}
_CONFIG: Table = {
    "file": values.path,
    "content": values.same,
    "environment": values.text,
    "labels": values.options,
    "template_driver": values.text,
}
_SECRET: Table = {**_CONFIG, "driver": values.text, "driver_opts": values.options}
_TOP: Table = {
    "version": _version,
    "name": values.text,
    "include": _include,
    "services": _all(service),
    "networks": _all(_object(_NETWORK)),
    "volumes": _all(_object(_VOLUME, alone=True)),
    "secrets": _all(_object(_SECRET)),
    "configs": _all(_object(_CONFIG)),
}
