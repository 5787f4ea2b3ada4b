"""Files that a compose file names, and services that begin from others.

`include` brings whole files, each read beside its own folder and with its own variables; `extends`
one service of this or another file. Both are resolved here, in the long form, where paths are
absolute: what follows sees one file. Source: the compose specification.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from swarmlite.errors import InvalidSpec
from swarmlite.stack import outside, read
from swarmlite.stack.canonical.values import Where
from swarmlite.stack.merge import merge
from swarmlite.stack.syntax import small
from swarmlite.stack.tree import MAX_BYTES, Node

MAX_FILES = 100
MAX_DEPTH = 16
SECTIONS = ("services", "networks", "volumes", "secrets", "configs")

Load = Callable[[str, bytes, Where], Node]
"""Name, text and surroundings of a file to its long form."""


@dataclass
class Opener:
    """Reads more files for one stack, and no more than it should."""

    load: Load
    opened: int = 0

    def open(self, path: Path, node: Node, where: Where) -> Node:
        """The long form of a file that `node` names. Raises InvalidSpec at that place."""
        self.opened += 1
        if self.opened > MAX_FILES:
            raise node.error(f"more than {MAX_FILES} files are included or extended")
        try:
            text = outside.read(path, MAX_BYTES + 1)
        except OSError as error:
            raise node.error(f"{path}: {error.strerror}") from error
        return self.load(str(path), text, where)


def resolved(tree: Node, where: Where, opener: Opener, depth: int = 0) -> Node:
    """The tree with what it includes, and each service with what it extends. Raises InvalidSpec."""
    if depth > MAX_DEPTH:
        raise tree.error(f"files are included or extended more than {MAX_DEPTH} deep")
    keys = dict(read.mapping(tree))
    included = keys.pop("include", None)
    extended = _extended(replace(tree, value=keys), where, opener, depth)
    if included is None:
        return extended
    for item in read.items(included):
        extended = _beside(extended, _included(item, where, opener, depth), item)
    return extended


# include
def _included(item: Node, where: Where, opener: Opener, depth: int) -> Node:
    keys = read.mapping(item)
    paths = [Path(where.path(read.line(each))) for each in read.items(keys["path"])]
    if not paths:
        raise item.error("path is missing")
    folder = paths[0].parent
    if "project_directory" in keys:
        folder = Path(where.path(read.line(keys["project_directory"])))
    inside = replace(where, folder=folder, environment=_environment(keys, where))
    nodes = read.items(keys["path"])
    trees = [opener.open(path, node, inside) for path, node in zip(paths, nodes, strict=True)]
    return merge(resolved(tree, inside, opener, depth + 1) for tree in trees)


def _environment(keys: Mapping[str, Node], where: Where) -> Mapping[str, str]:
    """The environment's own variables, and behind them those of the include's files."""
    found: dict[str, str] = {}
    for item in read.items(keys["env_file"]) if "env_file" in keys else ():
        with read.placed(item):
            try:
                lines = small.read_env_file(Path(where.path(read.line(item))))
            except OSError as error:
                raise InvalidSpec(f"{item.text}: {error.strerror}") from error
        found |= dict(line.partition("=")[::2] for line in lines)
    return {**found, **where.environment}


def _beside(tree: Node, other: Node, place: Node) -> Node:
    """Two files as one; what both define is an error, but where it is the same."""
    keys = dict(read.mapping(tree))
    for section, node in read.mapping(other).items():
        if section not in SECTIONS:
            continue
        own = read.mapping(keys[section]) if section in keys else {}
        for name, item in read.mapping(node).items():
            if name in own and not _same(own[name], item):
                raise own[name].error(f"{place.place} includes another {name!r}")
        merged = {**read.mapping(node), **own}
        keys[section] = replace(keys.get(section, node), value=merged)
    return replace(tree, value=keys)


def _same(one: Node, other: Node) -> bool:
    return _plain(one) == _plain(other)


def _plain(node: Node) -> object:
    if isinstance(node.value, dict):
        return {key: _plain(item) for key, item in node.value.items()}
    if isinstance(node.value, list):
        return [_plain(item) for item in node.value]
    return node.value


# extends
def _extended(tree: Node, where: Where, opener: Opener, depth: int) -> Node:
    keys = read.mapping(tree)
    services = read.mapping(keys["services"]) if "services" in keys else {}
    if not any("extends" in read.mapping(service) for service in services.values()):
        return tree
    walk = _Walk(services, where, opener, depth)
    found = {name: walk.service(name, node) for name, node in services.items()}
    return replace(tree, value={**keys, "services": replace(keys["services"], value=found)})


@dataclass
class _Walk:
    """The services of one file, each with what it extends."""

    services: Mapping[str, Node]
    where: Where
    opener: Opener
    depth: int

    def service(self, name: str, place: Node, open_: tuple[str, ...] = ()) -> Node:
        """The whole service. Raises InvalidSpec at `place`."""
        if name not in self.services:
            raise place.error(f"there is no service {name!r} to extend")
        if name in open_:
            raise place.error(f"{' extends '.join((*open_, name))}")
        node = self.services[name]
        keys = dict(read.mapping(node))
        extends = keys.pop("extends", None)
        own = replace(node, value=keys)
        if extends is None:
            return own
        return merge([self._base(extends, (*open_, name)), own])

    def _base(self, extends: Node, open_: tuple[str, ...]) -> Node:
        keys = read.mapping(extends)
        service = read.line(keys["service"])
        if "file" not in keys:
            return self.service(service, extends, open_)
        path = Path(self.where.path(read.line(keys["file"])))
        inside = replace(self.where, folder=path.parent)
        tree = self.opener.open(path, extends, inside)
        whole = resolved(tree, inside, self.opener, self.depth + 1)
        found = read.mapping(read.mapping(whole)["services"]).get(service)
        if found is None:
            raise extends.error(f"there is no service {service!r} in {path}")
        return found
