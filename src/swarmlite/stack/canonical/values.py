"""How a value of a compose file may be written, to the one form in which it stays.

A `Convert` takes a node and answers the node of the long form, or None where there is nothing to
say: as Docker, which leaves out what is empty. It raises InvalidSpec with the place.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from swarmlite.model import units
from swarmlite.stack import read
from swarmlite.stack.problems import Problems
from swarmlite.stack.tree import Node


@dataclass(frozen=True)
class Where:
    """What a file is read beside. `environment` is also asked for variables without a value.

    `filled_in`: variables were; without that, what holds a dollar stays as it is written.
    """

    folder: Path
    environment: Mapping[str, str] = field(default_factory=dict)
    filled_in: bool = True
    problems: Problems = field(default_factory=Problems)
    """What is wrong with a file's services and objects: what can be read is answered."""

    def path(self, text: str) -> str:
        """A path of the file, absolute but as it is written: each host follows its own links."""
        return os.path.normpath(self.folder / Path(text).expanduser())


Convert = Callable[[Node, Where], Node | None]
Table = Mapping[str, Convert]


# Making nodes
def child(node: Node, key: str, value: object) -> Node:
    """What stands for `value` (None, bool, int, str, list or dict of nodes) below `node`."""
    text = "" if isinstance(value, list | dict) or value is None else str(value)
    path = f"{node.path}.{key}" if node.path else key
    return Node(value, node.file, node.line, path, text, node.column)


def made(node: Node, values: Mapping[str, object]) -> Node:
    """A mapping in the place of `node`; None, False and "" are left out."""
    items = {
        key: value if isinstance(value, Node) else child(node, key, value)
        for key, value in values.items()
        if value not in (None, "", False)
    }
    return replace(node, value=items, text="")


def listed(node: Node, items: Iterable[Node]) -> Node:
    """A list in the place of `node`."""
    return replace(node, value=list(items), text="")


# Scalars
def same(node: Node, where: Where) -> Node | None:
    """Whatever it is."""
    return None if node.value is None else node


def kept(node: Node, where: Where) -> Node:
    """Whatever it is, nothing too."""
    return node


def text(node: Node, where: Where) -> Node | None:
    """A string."""
    return node if node.value is not None and read.string(node) else None


def scalar(node: Node, where: Where) -> Node | None:
    """A string, or a number as it is written."""
    if node.value is None or node.text == "":
        return None
    read.scalar(node)
    return node.with_text(node.text)


def flag(node: Node, where: Where) -> Node | None:
    """true; false is what is not said."""
    if unread(node, where):
        return node
    return replace(node, value=True, text="true") if read.boolean(node) else None


def said_flag(node: Node, where: Where) -> Node:
    """true or false, where false says something."""
    if unread(node, where):
        return node
    return replace(node, value=read.boolean(node), text=str(read.boolean(node)).lower())


def whole(least: int = 0, most: int = 2**63 - 1, said: bool = True) -> Convert:
    """A whole number within bounds; `said`: 0 says something."""

    def convert(node: Node, where: Where) -> Node | None:
        if unread(node, where):
            return node
        number = read.integer(node, least, most)
        return replace(node, value=number, text=str(number)) if number or said else None

    return convert


def ratio(node: Node, where: Where) -> Node | None:
    """A number from 0 to 1."""
    if unread(node, where):
        return node
    number = read.number(node, 0, 1)
    return replace(node, value=number, text=node.text) if number else None


def duration(said: bool = True) -> Convert:
    """A duration as Go prints it; `said`: 0s says something."""

    def convert(node: Node, where: Where) -> Node | None:
        if unread(node, where):
            return node
        nanoseconds = read.duration(node).ToNanoseconds()
        return node.with_text(units.format_duration(nanoseconds)) if nanoseconds or said else None

    return convert


def size(node: Node, where: Where) -> Node | None:
    """A size, as a string of bytes."""
    return node if unread(node, where) else node.with_text(str(read.size(node)))


def size_number(node: Node, where: Where) -> Node | None:
    """A size, as a number of bytes."""
    if unread(node, where):
        return node
    number = read.size(node)
    return replace(node, value=number, text=str(number)) if number else None


def written_size(node: Node, where: Where) -> Node | None:
    """A size, as it is written."""
    if not unread(node, where):
        read.size(node)
    return node.with_text(node.text)


def cpus(node: Node, where: Where) -> Node | None:
    """CPUs, as they are written."""
    if not unread(node, where):
        read.cpus(node)
    return node.with_text(node.text)


def path(node: Node, where: Where) -> Node:
    """A path of this host, absolute."""
    return node if unread(node, where) else node.with_text(where.path(read.line(node)))


def unread(node: Node, where: Where) -> bool:
    """Whether it holds a variable that was not filled in."""
    return not where.filled_in and isinstance(node.value, str) and "$" in node.value


# Lists and mappings
def texts(node: Node, where: Where) -> Node | None:
    """A list of strings."""
    items = [item.with_text(read.scalar(item)) for item in read.items(node)]
    return listed(node, items) if items else None


def text_or_texts(node: Node, where: Where) -> Node | None:
    """A string, which stands for a list of one, or a list of them."""
    if isinstance(node.value, str):
        return listed(node, [node]) if node.value else None
    return texts(node, where)


def words(node: Node, where: Where) -> Node | None:
    """A command line, split as a shell would, or a list."""
    items = [child(node, str(n), word) for n, word in enumerate(read.command(node))]
    return listed(node, items) if items else None


def names(node: Node, where: Where) -> Node | None:
    """A mapping or a list of NAME=value, as a mapping; a bare name has no value."""
    items = pairs(node)
    return replace(node, value=items, text="") if items else None


def options(node: Node, where: Where) -> Node | None:
    """The same; a bare name's value is empty."""
    items = {key: item.with_text(item.text) for key, item in pairs(node).items()}
    return replace(node, value=items, text="") if items else None


def pairs(node: Node) -> dict[str, Node]:
    """Names and what they are given; None for a bare name."""
    places = node.value if isinstance(node.value, dict) else {}
    return {
        name: child(node, name, value)
        if name not in places
        else replace(places[name], value=value, text=value or "")
        for name, value in read.pairs(node).items()
    }


def struct(table: Table, said: bool = False) -> Convert:
    """A mapping of these keys, and of x-; `said`: {} says something."""

    def convert(node: Node, where: Where) -> Node | None:
        if node.value is None and said:
            return None
        found = keys(node, table, where)
        return replace(node, value=found, text="") if found or said else None

    return convert


def keys(node: Node, table: Table, where: Where) -> dict[str, Node]:
    """The keys of a mapping, converted. Raises InvalidSpec once all were looked at."""
    problems = Problems()
    found: dict[str, Node] = {}
    for key, item in read.mapping(node).items():
        with problems.gather():
            if key not in table and not key.startswith("x-"):
                raise read.unknown(item, key, table)
            converted = item if key.startswith("x-") else table[key](item, where)
            if converted is not None:
                found[key] = converted
    problems.settle()
    return found


def each(convert: Convert) -> Convert:
    """A list of what `convert` reads."""

    def converted(node: Node, where: Where) -> Node | None:
        problems, items = Problems(), []
        for item in read.items(node):
            with problems.gather():
                items.append(convert(item, where) or made(item, {}))
        problems.settle()
        return listed(node, items) if items else None

    return converted


def flattened(convert: Callable[[Node, Where], list[Node]]) -> Convert:
    """A list of what may stand for several."""

    def converted(node: Node, where: Where) -> Node | None:
        problems, items = Problems(), []
        for item in read.items(node):
            with problems.gather():
                items += convert(item, where)
        problems.settle()
        return listed(node, items) if items else None

    return converted


def called(convert: Convert) -> Convert:
    """A mapping of names to what `convert` reads; one of which nothing is said stays."""

    def converted(node: Node, where: Where) -> Node | None:
        problems = Problems()
        found = members(node, convert, where, problems)
        problems.settle()
        return found

    return converted


def members(node: Node, convert: Convert, where: Where, problems: Problems) -> Node | None:
    """The same; what is wrong with one goes to `problems`, and it is left out."""
    found = {}
    for name, item in read.mapping(node).items():
        with problems.gather():
            found[name] = convert(item, where) or replace(item, value={}, text="")
    return replace(node, value=found, text="") if found else None
