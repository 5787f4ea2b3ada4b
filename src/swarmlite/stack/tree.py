"""YAML to nodes that know where they stand; hostile files end in one line.

YAML 1.2's scalars: `on` and `22:22` are strings, and every scalar keeps its text, so that 3.10 is
3.10 where a string is meant; a number that begins with 0 is octal, as compose files use it for
modes. Repeated keys, tags, aliases that name themselves and files that grow or nest beyond any
compose file are refused.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import yaml

from swarmlite.errors import InvalidSpec
from swarmlite.model.wording import one_line

MAX_BYTES = 4 * 1024 * 1024
MAX_DEPTH = 64
MAX_NODES = 100_000

Value = Any
"""None, bool, int, float, str, list[Node] or dict[str, Node]."""

_INT = re.compile(r"[-+]?(?:0|[1-9]\d{0,30})")
_OCTAL = re.compile(r"0o?[0-7]{1,20}")
_HEX = re.compile(r"0x[0-9a-fA-F]{1,16}")
_FLOAT = re.compile(r"[-+]?(?:\d{1,30}\.\d{0,30}|\.\d{1,30}|\d{1,30}(?=[eE]))(?:[eE][-+]?\d{1,3})?")
_WORDS: dict[str, Value] = {"": None, "~": None}
for _word, _value in (("null", None), ("true", True), ("false", False)):
    _WORDS |= dict.fromkeys((_word, _word.capitalize(), _word.upper()), _value)


@dataclass(frozen=True)
class Node:
    """A value of a file; `text` is a scalar's own."""

    value: Value
    file: str
    line: int
    path: str = ""
    text: str = ""
    column: int = 0
    """From 1; 0 where it is not known."""

    @property
    def place(self) -> str:
        """`file:line:column`."""
        return f"{self.file}:{self.line}" + (f":{self.column}" if self.column else "")

    def error(self, problem: str) -> InvalidSpec:
        """`file:line:column: path: problem`, to raise."""
        where = f"{self.path}: " if self.path else ""
        return InvalidSpec(one_line(f"{self.place}: {where}{problem}"))

    @property
    def kind(self) -> str:
        """What it is, for people."""
        if isinstance(self.value, dict):
            return "a mapping"
        if isinstance(self.value, list):
            return "a list"
        if self.value is None:
            return "nothing"
        if isinstance(self.value, bool):
            return f"the boolean {self.text or str(self.value).lower()}"
        if isinstance(self.value, int | float):
            return f"the number {self.text}"
        return f"the string {_shown(self.text)}"

    def with_text(self, text: str) -> Node:
        """The same scalar saying something else."""
        return replace(self, value=text, text=text)


def _shown(text: str) -> str:
    return repr(text if len(text) <= 60 else text[:59] + "…")


def parse(text: str | bytes, file: str) -> Node:
    """The tree of a file. Raises InvalidSpec with file and line."""
    if len(text) > MAX_BYTES:
        raise InvalidSpec(f"{file}: larger than {MAX_BYTES // 1024 // 1024} MiB")
    if isinstance(text, bytes):
        try:
            text = text.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            raise InvalidSpec(f"{file}: not UTF-8 at byte {error.start}") from error
    try:
        root = yaml.compose(text, _Loader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = f"{mark.line + 1}:{mark.column + 1}" if mark else "1"
        problem = " ".join(filter(None, [error.problem, error.context])) or "not YAML"
        raise InvalidSpec(f"{file}:{line}: {problem}") from error
    except yaml.YAMLError as error:
        raise InvalidSpec(f"{file}: not YAML: {' '.join(str(error).split())}") from error
    except ValueError as error:  # a surrogate or a number in an escape beyond Unicode
        raise InvalidSpec(f"{file}: not YAML: {error}") from error
    if root is None:
        raise InvalidSpec(f"{file}: the file is empty")
    return _Converter(file).node(root, "")


class _Loader(yaml.SafeLoader):
    """Composes nodes only; resolves no scalars, since _Converter does."""

    # typeshed takes it for an attribute of each loader; PyYAML reads it from the class.
    yaml_implicit_resolvers: ClassVar[dict[str, Any]] = {}  # type: ignore[misc]

    def __init__(self, stream: str) -> None:
        super().__init__(stream)
        self._depth = 0

    def compose_node(self, parent: Any, index: Any) -> Any:
        event: Any = self.peek_event()  # type: ignore[no-untyped-call]
        tag = getattr(event, "tag", None)
        if tag is not None and tag != "!":
            raise yaml.composer.ComposerError(
                None, None, f"tags are not allowed: {tag[:60]}", event.start_mark
            )
        self._depth += 1
        if self._depth > MAX_DEPTH:
            problem = f"nested deeper than {MAX_DEPTH} levels"
            raise yaml.composer.ComposerError(None, None, problem, event.start_mark)
        try:
            return super().compose_node(parent, index)
        finally:
            self._depth -= 1


class _Converter:
    """yaml's nodes to ours, aliases written out, within bounds."""

    def __init__(self, file: str) -> None:
        self._file = file
        self._count = 0
        self._open: set[int] = set()

    def node(self, source: Any, path: str) -> Node:
        """One node and all below it."""
        line, column = source.start_mark.line + 1, source.start_mark.column + 1
        self._count += 1
        if self._count > MAX_NODES:
            problem = f"more than {MAX_NODES} values once its aliases are written out"
            raise InvalidSpec(f"{self._file}:{line}:{column}: {problem}")
        if isinstance(source, yaml.ScalarNode):
            value = source.value if source.style else plain(source.value)
            return Node(value, self._file, line, path, source.value, column)
        if id(source) in self._open:
            raise InvalidSpec(f"{self._file}:{line}:{column}: an alias that holds itself")
        self._open.add(id(source))
        if isinstance(source, yaml.SequenceNode):
            value = [self.node(item, f"{path}[{n}]") for n, item in enumerate(source.value)]
        else:
            value = self._mapping(source, path)
        self._open.discard(id(source))
        return Node(value, self._file, line, path, column=column)

    def _mapping(self, source: Any, path: str) -> dict[str, Node]:
        own: dict[str, Node] = {}
        merged: dict[str, Node] = {}
        for key, item in source.value:
            line, column = key.start_mark.line + 1, key.start_mark.column + 1
            if not isinstance(key, yaml.ScalarNode):
                raise InvalidSpec(f"{self._file}:{line}:{column}: {path}: a key is a string")
            if key.value == "<<" and not key.style:
                for name, node in self._merged(item, path).items():
                    merged.setdefault(name, node)
                continue
            if key.value in own:
                where = f"{path}: " if path else ""
                problem = f"{one_line(where)}the key {key.value!r} is repeated"
                raise InvalidSpec(f"{self._file}:{line}:{column}: {problem}")
            node = self.node(item, f"{path}.{key.value}" if path else key.value)
            if not isinstance(node.value, str):
                node = replace(node, line=line, column=column)
            own[key.value] = node
        return {**merged, **own}

    def _merged(self, item: Any, path: str) -> dict[str, Node]:
        """The pairs of `<<: *one` or `<<: [*one, *other]`, the first one winning."""
        sources = item.value if isinstance(item, yaml.SequenceNode) else [item]
        result: dict[str, Node] = {}
        for source in sources:
            line = source.start_mark.line + 1
            if not isinstance(source, yaml.MappingNode):
                raise InvalidSpec(f"{self._file}:{line}: {path}: << takes mappings")
            for name, node in self.node(source, path).value.items():
                result.setdefault(name, node)
        return result


def plain(text: str) -> Value:
    """What an unquoted scalar means."""
    if text in _WORDS:
        return _WORDS[text]
    if _INT.fullmatch(text):
        return int(text)
    if _OCTAL.fullmatch(text):
        return int(text.replace("o", ""), 8)
    if _HEX.fullmatch(text):
        return int(text, 16)
    if _FLOAT.fullmatch(text):
        return float(text)
    return text


def to_yaml(node: Node) -> str:
    """The tree as YAML that means the same to every reader: what could be misread is in quotes."""
    text: str = yaml.dump(_plain_value(node), Dumper=_Dumper, sort_keys=False, allow_unicode=True)
    return text


class _Dumper(yaml.SafeDumper):
    """Quotes the strings that our own rules would not read as strings."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def _string(dumper: _Dumper, text: str) -> yaml.ScalarNode:
    style = None if isinstance(plain(text), str) else "'"
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


class _Written(str):
    """A number, printed as the file has it."""


def _written(dumper: _Dumper, text: _Written) -> yaml.ScalarNode:
    # With the tag that plain text has anyway, it is printed plain and without one.
    tag = dumper.resolve(yaml.ScalarNode, str(text), (True, False))  # type: ignore[no-untyped-call]
    return dumper.represent_scalar(tag, str(text), style="")


_Dumper.add_representer(str, _string)
_Dumper.add_representer(_Written, _written)


def _plain_value(node: Node) -> Any:
    if isinstance(node.value, dict):
        return {key: _plain_value(item) for key, item in node.value.items()}
    if isinstance(node.value, list):
        return [_plain_value(item) for item in node.value]
    # As it is written: 3.10, 010 and 0x1F mean something else to other readers, and where a string
    # is meant they are what `deploy` sends.
    number = isinstance(node.value, int | float) and not isinstance(node.value, bool)
    return _Written(node.text) if number else node.value
