"""Variables in values: $V ${V} ${V:-d} ${V-d} ${V:?e} ${V?e} ${V:+r} ${V+r}, and $$ for a dollar.

A default may hold variables in its turn. What a variable holds is never looked into again, so none
can name itself. Keys are left alone.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace

from swarmlite.errors import InvalidSpec
from swarmlite.stack.tree import Node

MAX_LENGTH = 1024 * 1024
MAX_DEPTH = 16
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_OPERATORS = (":-", ":?", ":+", "-", "?", "+")


def interpolate(node: Node, environment: Mapping[str, str], unset: set[str]) -> Node:
    """A copy of the tree with its strings filled in; names of unset variables go to `unset`.

    Raises InvalidSpec with the place for a malformed reference or a required variable.
    """
    if isinstance(node.value, dict):
        items = {k: interpolate(v, environment, unset) for k, v in node.value.items()}
        return replace(node, value=items)
    if isinstance(node.value, list):
        return replace(node, value=[interpolate(v, environment, unset) for v in node.value])
    if not isinstance(node.value, str) or "$" not in node.value:
        return node
    try:
        return node.with_text(substitute(node.value, environment, unset))
    except InvalidSpec as error:
        raise node.error(str(error)) from error


def substitute(text: str, environment: Mapping[str, str], unset: set[str], depth: int = 0) -> str:
    """`text` with its variables. Raises InvalidSpec without a place."""
    if depth > MAX_DEPTH:
        raise InvalidSpec("defaults of variables are nested too deep")
    parts, position, length = [], 0, 0
    while (dollar := text.find("$", position)) >= 0:
        parts.append(text[position:dollar])
        value, position = _reference(text, dollar, environment, unset, depth)
        parts.append(value)
        length += len(value)
        if length > MAX_LENGTH:
            raise InvalidSpec("too long once its variables are filled in")
    return "".join(parts) + text[position:]


def _reference(
    text: str, dollar: int, environment: Mapping[str, str], unset: set[str], depth: int
) -> tuple[str, int]:
    """The value of the reference at `dollar`, and where the text goes on."""
    after = text[dollar + 1 : dollar + 2]
    if after == "$":
        return "$", dollar + 2
    if after == "{":
        end = _closing(text, dollar + 2)
        return _braced(text[dollar + 2 : end], environment, unset, depth), end + 1
    match = _NAME.match(text, dollar + 1)
    if match is None:
        raise InvalidSpec(
            f"invalid interpolation {text[dollar : dollar + 20]!r}: write $NAME, ${{NAME}},"
            " or $$ for a dollar"
        )
    return _value(match[0], environment, unset), match.end()


def _closing(text: str, start: int) -> int:
    depth, position = 1, start
    while position < len(text):
        if text.startswith("${", position):
            depth, position = depth + 1, position + 2
            continue
        if text[position] == "}":
            depth -= 1
            if depth == 0:
                return position
        position += 1
    raise InvalidSpec(f"invalid interpolation {text[start - 2 : start + 18]!r}: no closing brace")


def _braced(body: str, environment: Mapping[str, str], unset: set[str], depth: int) -> str:
    match = _NAME.match(body)
    rest = body[match.end() :] if match else body
    operator = next((o for o in _OPERATORS if rest.startswith(o)), "")
    if match is None or (rest and not operator):
        raise InvalidSpec(
            f"invalid interpolation '${{{body[:40]}}}': expected ${{NAME}} or one of"
            " ${NAME:-default} ${NAME-default} ${NAME:?error} ${NAME?error} ${NAME:+value}"
        )
    name, word = match[0], rest[len(operator) :]
    present = name in environment and (environment[name] != "" or not operator.startswith(":"))
    kind = operator[-1:]
    if kind == "":
        return _value(name, environment, unset)
    if kind == "+":
        return substitute(word, environment, unset, depth + 1) if present else ""
    if present:
        return environment[name]
    if kind == "-":
        return substitute(word, environment, unset, depth + 1)
    reason = substitute(word, environment, unset, depth + 1) or "it is not set"
    raise InvalidSpec(f"required variable {name} is missing a value: {reason}")


def _value(name: str, environment: Mapping[str, str], unset: set[str]) -> str:
    if name not in environment:
        unset.add(name)
    return environment.get(name, "")
