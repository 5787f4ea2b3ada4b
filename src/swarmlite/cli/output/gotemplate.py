"""The part of Go's text/template that `--format` needs, over dicts, lists and scalars.

Actions: fields, variables, pipelines, parentheses, if/else if/else, range (with variables), with,
end, comments, trim markers. Functions: Go's comparisons and printing, and Docker's json, join,
split, lower, upper, title, pad, truncate, println. Anything else raises InvalidSpec with one line.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, field
from typing import Any

from swarmlite.cli.output import gofunctions
from swarmlite.errors import InvalidSpec

MANY = 30
"""Fields of an object that are not listed any more when there is no such one."""
_ACTION = re.compile(
    r"(\s*\{\{- |\{\{)((?:\"(?:\\.|[^\"\\])*\"|`[^`]*`|.)*?)( -\}\}\s*|\}\})", re.S
)
_TOKEN = re.compile(
    r"\s*(?:(\"(?:\\.|[^\"\\])*\"|`[^`]*`)|(:=|[|()=,])|(-?\d+(?:\.\d+)?)|"
    r"(\$?[A-Za-z0-9_]*(?:\.[A-Za-z0-9_]+)+|\$[A-Za-z0-9_]*|\.|[A-Za-z_][A-Za-z0-9_]*))"
)


@dataclass
class _Block:
    """A keyword with its pipeline, its body, and what follows under else."""

    keyword: str
    pipeline: list[str]
    body: list[Any] = field(default_factory=list)
    otherwise: list[Any] = field(default_factory=list)


class Template:
    """A parsed template; `render(data)` as often as wanted."""

    def __init__(self, text: str, *, omitted: Set[str] = frozenset()) -> None:
        """Raises InvalidSpec for what is not a template; `omitted`: fields that may be missing."""
        self._nodes = _parse(text)
        self._omitted = omitted

    def render(self, data: Any) -> str:
        """The text for `data`. Raises InvalidSpec for a field that it does not have."""
        return "".join(_run(self._nodes, _Scope(data, {"$": data}, self._omitted)))


@dataclass
class _Scope:
    dot: Any
    variables: dict[str, Any]
    omitted: Set[str]

    def inner(self, dot: Any, **variables: Any) -> _Scope:
        return _Scope(dot, {**self.variables, **variables}, self.omitted)


def _parse(text: str) -> list[Any]:
    root: list[Any] = []
    stack: list[tuple[_Block | None, list[Any]]] = [(None, root)]
    position = 0
    for match in _ACTION.finditer(text):
        if match.start() > position:
            stack[-1][1].append(text[position : match.start()])
        position = match.end()
        body = match[2].strip()
        if not (body.startswith("/*") and body.endswith("*/")):
            _place(_tokens(body), stack)
    if "{{" in text[position:]:
        raise InvalidSpec("template parsing error: unclosed action")
    stack[-1][1].append(text[position:])
    if len(stack) > 1:
        raise InvalidSpec("template parsing error: unexpected EOF: an if, range or with has no end")
    return root


def _place(tokens: list[str], stack: list[tuple[_Block | None, list[Any]]]) -> None:
    word, rest = (tokens[0], tokens[1:]) if tokens else ("", [])
    if word in ("if", "range", "with"):
        block = _Block(word, rest)
        stack[-1][1].append(block)
        stack.append((block, block.body))
    elif word == "else":
        open_block = stack[-1][0]
        if open_block is None:
            raise InvalidSpec("template parsing error: unexpected {{else}}")
        if rest:  # else if: a block of its own that ends with its parent
            nested = _Block(rest[0], rest[1:])
            open_block.otherwise.append(nested)
            stack[-1] = (nested, nested.body)
        else:
            stack[-1] = (open_block, open_block.otherwise)
    elif word == "end":
        if len(stack) == 1:
            raise InvalidSpec("template parsing error: unexpected {{end}}")
        stack.pop()
    elif word in ("define", "template", "block", "break", "continue"):
        raise InvalidSpec(f"template parsing error: {{{{{word}}}}} is not supported")
    elif not tokens:
        raise InvalidSpec("template parsing error: missing value for command")
    else:
        stack[-1][1].append(tokens)


def _tokens(text: str) -> list[str]:
    tokens, position = [], 0
    while position < len(text):
        match = _TOKEN.match(text, position)
        if match is None:
            if not text[position:].strip():
                break
            raise InvalidSpec(f"template parsing error: unexpected {text[position:].strip()!r}")
        tokens.append(match[0].strip())
        position = match.end()
    return tokens


def _run(nodes: Sequence[Any], scope: _Scope) -> Iterator[str]:
    for node in nodes:
        if isinstance(node, str):
            yield node
        elif isinstance(node, _Block):
            yield from _run_block(node, scope)
        else:
            names, pipeline = _declared(node)
            value = _pipeline(pipeline, scope)
            if names:
                scope.variables[names[-1]] = value
            else:
                yield gofunctions.text(value)


def _run_block(block: _Block, scope: _Scope) -> Iterator[str]:
    names, pipeline = _declared(block.pipeline)
    value = _pipeline(pipeline, scope)
    if not gofunctions.truth(value):
        yield from _run(block.otherwise, scope)
    elif block.keyword == "range":
        keyed = sorted(value.items()) if isinstance(value, Mapping) else list(enumerate(value))
        for key, item in keyed:
            bound = dict(zip(names, (key, item) if len(names) > 1 else (item,), strict=False))
            yield from _run(block.body, scope.inner(item, **bound))
    else:
        bound = {names[-1]: value} if names else {}
        yield from _run(
            block.body, scope.inner(value if block.keyword == "with" else scope.dot, **bound)
        )


def _declared(tokens: list[str]) -> tuple[list[str], list[str]]:
    for sign in (":=", "="):
        if sign in tokens:
            at = tokens.index(sign)
            return [t for t in tokens[:at] if t != ","], tokens[at + 1 :]
    return [], tokens


def _pipeline(tokens: list[str], scope: _Scope) -> Any:
    result, first = None, True
    for command in _split(tokens):
        arguments = _operands(command, scope)
        if not arguments:
            raise InvalidSpec("template parsing error: missing value for command")
        head, rest = arguments[0], [_plain(a) for a in arguments[1:]]
        if not first:
            rest.append(result)
        if callable(head):
            result = _call(command[0], head, rest)
        elif rest:
            raise InvalidSpec(f"template parsing error: {command[0]} is not a function")
        else:
            result = head
        first = False
    return result


def _plain(value: Any) -> Any:
    return _call("function", value, []) if callable(value) else value


def _call(name: str, function: Callable[..., Any], arguments: list[Any]) -> Any:
    try:
        return function(*arguments)
    except InvalidSpec:
        raise
    except (TypeError, ValueError, LookupError, AttributeError) as error:
        raise InvalidSpec(f"template parsing error: error calling {name}: {error}") from error


def _split(tokens: list[str]) -> Iterator[list[str]]:
    depth, command = 0, list[str]()
    for token in tokens:
        depth += (token == "(") - (token == ")")
        if token == "|" and depth == 0:
            yield command
            command = []
        else:
            command.append(token)
    yield command


def _operands(tokens: list[str], scope: _Scope) -> list[Any]:
    values, index = [], 0
    while index < len(tokens):
        token = tokens[index]
        if token == "(":
            end = _closing(tokens, index)
            values.append(_pipeline(tokens[index + 1 : end], scope))
            index = end + 1
            if index < len(tokens) and re.match(r"\.[A-Za-z]", tokens[index]):
                values[-1] = _fields(values[-1], tokens[index], scope.omitted)
                index += 1
            continue
        values.append(_operand(token, scope))
        index += 1
    return values


def _closing(tokens: list[str], start: int) -> int:
    depth = 0
    for index in range(start, len(tokens)):
        depth += (tokens[index] == "(") - (tokens[index] == ")")
        if depth == 0:
            return index
    raise InvalidSpec("template parsing error: unclosed left paren")


def _operand(token: str, scope: _Scope) -> Any:
    if token[0] == '"':
        return re.sub(r"\\(.)", lambda m: {"n": "\n", "t": "\t"}.get(m[1], m[1]), token[1:-1])
    if token[0] == "`":
        return token[1:-1]
    if token[0].isdigit() or token[0] == "-":
        return float(token) if "." in token else int(token)
    if token[0] == ".":
        return _fields(scope.dot, token, scope.omitted)
    if token[0] == "$":
        name, dot, rest = token.partition(".")
        if name not in scope.variables:
            raise InvalidSpec(f"template parsing error: undefined variable {name!r}")
        return _fields(scope.variables[name], dot + rest, scope.omitted)
    if token in ("true", "false", "nil"):
        return {"true": True, "false": False, "nil": None}[token]
    if token not in gofunctions.FUNCTIONS:
        raise InvalidSpec(f"template parsing error: function {token!r} not defined")
    return gofunctions.FUNCTIONS[token]


def _fields(value: Any, path: str, omitted: Set[str]) -> Any:
    for name in filter(None, path.split(".")):
        if value is None:
            return None
        if not isinstance(value, Mapping):
            raise InvalidSpec(f"template parsing error: can't evaluate field {name}")
        if name not in value:
            if name not in omitted and _is_object(name, value):
                known = f"; there are: {', '.join(map(str, value))}" if len(value) <= MANY else ""
                raise InvalidSpec(f"template parsing error: can't evaluate field {name}{known}")
            return None
        value = value[name]
    return value


def _is_object(name: str, value: Mapping[Any, Any]) -> bool:
    """Whether `name` would be a field: these are capitalized, and so is everything beside them.

    A key of labels may be missing.
    """
    return name[0].isupper() and bool(value) and all(str(key)[:1].isupper() for key in value)
