"""Go's text/template: parsed whole before anything is run, so that what is wrong is said early.

if, else if, range, with (each with else), break, continue, variables, pipelines, parentheses and
comments. `define`, `template` and `block` are refused: a template here is one text.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from swarmlite.errors import InvalidSpec

from . import template_functions as functions
from .template_scan import MAX_ACTIONS, MAX_RESULT, SHOWN, Budget, pieces

MAX_DEPTH = 32
"""Of blocks, and of parentheses."""
_TOKEN = re.compile(
    r'\s+|"(?:\\.|[^"\\])*+"|`[^`]*+`|:=|[|(),=]|-?\d+(?:\.\d+)?(?![\w.])'
    r"|\$?\w*(?:\.\w+)+|\$\w*|\.|[A-Za-z_]\w*"
)
BLOCKS = ("if", "range", "with")
REFUSED = ("define", "template", "block")
_ESCAPES = {"n": "\n", "t": "\t", "r": "\r"}
Words = list[str]


@dataclass
class Command:
    """Operands of which the first is a function, or the only one a value."""

    operands: list[Any] = field(default_factory=list)


@dataclass
class Pipeline:
    """`names := command | command`."""

    commands: list[Command]
    names: list[str]
    declares: bool
    shown: str


@dataclass
class Block:
    """One of BLOCKS, its body and what stands under else."""

    keyword: str
    pipeline: Pipeline
    body: list[Any] = field(default_factory=list)
    otherwise: list[Any] = field(default_factory=list)


@dataclass(frozen=True)
class Field:
    """Names from the dot, from a variable ("$" is all of it) or from what is in parentheses."""

    root: Any
    names: tuple[str, ...]


@dataclass(frozen=True)
class Literal:
    """A text, a number, a boolean."""

    value: Any


@dataclass(frozen=True)
class Function:
    """By its name."""

    name: str


@dataclass(frozen=True)
class Jump:
    """break or continue."""

    word: str


class Parser:
    """Of one text. `known` says whether a chain from the data is one; functions are by name."""

    def __init__(self, names: Collection[str], known: Callable[[tuple[str, ...]], str]) -> None:
        """`known` answers what is wrong with a chain; empty when it is good."""
        self._names, self._known = {*functions.FUNCTIONS, *functions.LAZY, *names}, known
        self._shown = ""

    def parse(self, text: str) -> list[Any]:
        """The nodes. Raises InvalidSpec that quotes what is wrong."""
        root: list[Any] = []
        # Each open block, where its nodes go, the variables known, whether dot is the data.
        stack: list[tuple[Block | None, list[Any], set[str], bool]] = [(None, root, {"$"}, True)]
        for actions, (literal, body) in enumerate(pieces(text), 1):
            if literal:
                stack[-1][1].append(literal)
            if body is None:
                break
            if actions > MAX_ACTIONS:
                raise InvalidSpec(f"template: it has more than {MAX_ACTIONS} actions")
            self._shown = body.strip()[:SHOWN]
            if not (body.strip().startswith("/*") and body.strip().endswith("*/")):
                self._place(self._words(body), stack)
        if len(stack) > 1:
            block = stack[-1][0]
            raise InvalidSpec(f"template: {block.keyword if block else 'a block'} has no end")
        return root

    def _wrong(self, problem: str) -> InvalidSpec:
        return InvalidSpec(f"template {{{{{self._shown}}}}}: {problem}")

    def _words(self, body: str) -> Words:
        words, position = [], 0
        while position < len(body):
            token = _TOKEN.match(body, position)
            if token is None:
                what = "a quote is not closed" if body[position] in '"`' else "unexpected "
                rest = "" if body[position] in '"`' else repr(body[position : position + 20])
                raise self._wrong(f"{what}{rest}")
            if not token[0].isspace():
                words.append(token[0])
            position = token.end()
        if not words:
            raise InvalidSpec("template: {{}} is empty")
        return words

    def _place(
        self, words: Words, stack: list[tuple[Block | None, list[Any], set[str], bool]]
    ) -> None:
        block, into, variables, is_data = stack[-1]
        word, rest = words[0], words[1:]
        if word in REFUSED:
            raise self._wrong(f"{word} is not supported")
        if word in BLOCKS:
            self._open(word, rest, stack, into)
        elif word == "end" and block is not None and not rest:
            stack.pop()
        elif word == "else" and block is not None:
            outer = stack[-2]
            stack[-1] = (block, block.otherwise, set(outer[2]), outer[3])
            if rest:
                if rest[0] not in ("if", "with"):
                    raise self._wrong("expected else, else if or else with")
                # A block of its own, which ends with its parent.
                stack.pop()
                self._open(rest[0], rest[1:], [*stack, (block, [], *outer[2:])], block.otherwise)
                nested = block.otherwise[-1]
                stack.append((nested, nested.body, set(outer[2]) | set(nested.pipeline.names),
                              outer[3] and rest[0] == "if"))  # fmt: skip
        elif word in ("break", "continue") and not rest:
            if not any(b is not None and b.keyword == "range" for b, *_ in stack):
                raise self._wrong(f"{word} outside of range")
            into.append(Jump(word))
        elif word in ("end", "else", "break", "continue"):
            raise self._wrong(f"unexpected {word}")
        else:
            pipeline = self._pipeline(words, variables, is_data)
            if pipeline.declares:
                variables.update(pipeline.names)
            into.append(pipeline)

    def _open(
        self,
        word: str,
        rest: Words,
        stack: list[tuple[Block | None, list[Any], set[str], bool]],
        into: list[Any],
    ) -> None:
        if len(stack) > MAX_DEPTH:
            raise self._wrong(f"blocks are nested deeper than {MAX_DEPTH}")
        _, _, variables, is_data = stack[-1]
        pipeline = self._pipeline(rest, variables, is_data, many=word == "range")
        block = Block(word, pipeline)
        into.append(block)
        inside = {*variables, *pipeline.names}
        stack.append((block, block.body, inside, is_data and word == "if"))

    def _pipeline(
        self, words: Words, variables: set[str], is_data: bool, many: bool = False
    ) -> Pipeline:
        names: list[str] = []
        sign = next((w for w in words if w in (":=", "=")), "")
        if sign:
            at = words.index(sign)
            names, words = [w for w in words[:at] if w != ","], words[at + 1 :]
            bad = [n for n in names if not n.startswith("$") or "." in n or n == "$"]
            if bad or not 1 <= len(names) <= 1 + many:
                raise self._wrong("expected $NAME := VALUE")
            if sign == "=" and not set(names) <= variables:
                raise self._wrong(f"undefined variable {names[0]}")
        commands, rest = self._commands(words, variables, is_data, 0)
        if rest:
            raise self._wrong("unexpected )")
        return Pipeline(commands, names, sign == ":=", self._shown)

    def _commands(
        self, words: Words, variables: set[str], is_data: bool, depth: int
    ) -> tuple[list[Command], Words]:
        """Up to a closing parenthesis of the caller's; what is left from there."""
        if depth > MAX_DEPTH:
            raise self._wrong(f"parentheses are nested deeper than {MAX_DEPTH}")
        commands, words = [Command()], list(words)
        while words and words[0] != ")":
            word = words.pop(0)
            if word == "|":
                commands.append(Command())
            elif word == "(":
                inner, words = self._commands(words, variables, is_data, depth + 1)
                if not words:
                    raise self._wrong("unclosed (")
                words.pop(0)
                chain: tuple[str, ...] = ()
                if words and words[0].startswith(".") and len(words[0]) > 1:
                    chain = tuple(words.pop(0).split(".")[1:])
                commands[-1].operands.append(Field(Pipeline(inner, [], False, self._shown), chain))
            else:
                commands[-1].operands.append(self._operand(word, variables, is_data))
        for number, command in enumerate(commands):
            self._check(command, first=number == 0)
        return commands, words

    def _check(self, command: Command, *, first: bool) -> None:
        operands = command.operands
        if not operands:
            raise self._wrong("a value is missing")
        if isinstance(operands[0], Function):
            return
        if len(operands) > 1 or not first:
            raise self._wrong("unknown function")

    def _operand(self, word: str, variables: set[str], is_data: bool) -> Any:
        if word[0] == '"':
            plain = re.sub(r"\\(.)", lambda m: _ESCAPES.get(m[1], m[1]), word[1:-1])
            return Literal(plain)
        if word[0] == "`":
            return Literal(word[1:-1])
        if word[0].isdigit() or word[0] == "-":
            return Literal(float(word) if "." in word else int(word))
        if word[0] == "$":
            root, *names = word.split(".")
            if root not in variables:
                raise self._wrong(f"undefined variable {root}")
            return self._field(root, tuple(names), root == "$")
        if word[0] == ".":
            names = [name for name in word.split(".") if name]
            return self._field(".", tuple(names), is_data)
        if word in ("true", "false"):
            return Literal(word == "true")
        if word not in self._names:
            raise self._wrong(f"unknown function {word[:SHOWN]!r}")
        return Function(word)

    def _field(self, root: str, names: tuple[str, ...], from_data: bool) -> Field:
        if from_data and (problem := self._known(names)):
            raise self._wrong(problem)
        return Field(root, names)


@dataclass
class Scope:
    """What a run knows: the dot, the open blocks' variables, and what it may make."""

    dot: Any
    variables: list[dict[str, Any]]
    functions: Mapping[str, Callable[..., Any]]
    budget: Budget

    def find(self, name: str) -> dict[str, Any]:
        """The innermost block's variables that have this one."""
        return next(known for known in reversed(self.variables) if name in known)


def run(nodes: Sequence[Any], scope: Scope, parts: list[str]) -> str:
    """Append what comes of the nodes; answer "break" or "continue" where one was met.

    Raises InvalidSpec.
    """
    for node in nodes:
        if isinstance(node, str):
            parts.append(scope.budget.take(node))
            continue
        scope.budget.act()
        if isinstance(node, Jump):
            return node.word
        if isinstance(node, Block):
            if jump := _run_block(node, scope, parts):
                return jump
            continue
        value = _value(node, scope)
        if node.names:
            known = scope.variables[-1] if node.declares else scope.find(node.names[0])
            known[node.names[0]] = value
        else:
            parts.append(scope.budget.take(functions.text(value)))
    return ""


def _run_block(block: Block, scope: Scope, parts: list[str]) -> str:
    value = _value(block.pipeline, scope)
    if block.keyword == "range":
        return _run_range(block, value, scope, parts)
    dot = value if block.keyword == "with" and value else scope.dot
    names = {block.pipeline.names[0]: value} if block.pipeline.names else {}
    inside = Scope(dot, [*scope.variables, names], scope.functions, scope.budget)
    return run(block.body if value else block.otherwise, inside, parts)


def _run_range(block: Block, value: Any, scope: Scope, parts: list[str]) -> str:
    if isinstance(value, Mapping):
        pairs: Any = sorted(value.items())
    elif isinstance(value, int) and not isinstance(value, bool):
        pairs = ((number, number) for number in range(value))
    else:
        shown = block.pipeline.shown
        raise InvalidSpec(f"template {{{{{shown}}}}}: range takes a mapping or a number")
    names, ran = block.pipeline.names, False
    for key, item in pairs:
        ran = True
        scope.budget.act()
        bound = dict(zip(names, (key, item) if len(names) > 1 else (item,), strict=False))
        inside = Scope(item, [*scope.variables, bound], scope.functions, scope.budget)
        if run(block.body, inside, parts) == "break":
            break
    if not ran:
        return run(block.otherwise, scope, parts)
    return ""


def _value(pipeline: Pipeline, scope: Scope) -> Any:
    """What a pipeline comes to. Raises InvalidSpec that quotes it."""
    try:
        return _pipe(pipeline.commands, scope)
    except InvalidSpec as error:
        if str(error).startswith("template"):
            raise
        raise InvalidSpec(f"template {{{{{pipeline.shown}}}}}: {error}") from error


def _pipe(commands: Sequence[Command], scope: Scope) -> Any:
    result: Any = None
    for number, command in enumerate(commands):
        head, rest = command.operands[0], command.operands[1:]
        if not isinstance(head, Function):
            result = _operand(head, scope)
            continue
        last = [Literal(result)] if number else []
        result = _call(head.name, [*rest, *last], scope)
    return result


def _call(name: str, operands: Sequence[Any], scope: Scope) -> Any:
    if name in functions.LAZY:
        value: Any = None
        for operand in operands:
            value = _operand(operand, scope)
            if bool(value) == (name == "or"):
                break
        return value
    arguments = [_operand(operand, scope) for operand in operands]
    scope.budget.work(sum(len(a) for a in arguments if isinstance(a, str)) + 1)
    function = scope.functions.get(name) or functions.FUNCTIONS[name]
    try:
        value = function(*arguments)
    except TypeError as error:
        raise InvalidSpec(f"{name}: wrong number or type of arguments") from error
    if isinstance(value, str) and len(value) > MAX_RESULT:
        raise InvalidSpec(f"template: its result has more than {MAX_RESULT} characters")
    return value


def _operand(operand: Any, scope: Scope) -> Any:
    if isinstance(operand, Literal):
        return operand.value
    if isinstance(operand, Function):
        return _call(operand.name, [], scope)
    if isinstance(operand.root, Pipeline):
        value = _value(operand.root, scope)
    else:
        value = scope.dot if operand.root == "." else scope.find(operand.root)[operand.root]
    for name in operand.names:
        if not isinstance(value, Mapping):
            raise InvalidSpec(f"{name[:SHOWN]}: there is no such field")
        value = value.get(name, "")
    return value
