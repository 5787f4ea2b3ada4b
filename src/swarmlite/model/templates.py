"""Go's templates, as far as Swarm's users write them: "{{.Service.Name}}-{{.Task.Slot}}".

Known: the fields below, `index .Service.Labels "key"`, `.Service.Labels.key`, quoted text, `{{-`
and `-}}`, comments; in the payloads of secrets and configs also `secret "name"`, `config "name"`
and `env "NAME"`. Conditions, loops and pipelines are refused by name.

Templates and labels are hostile input: text is scanned once, and bounds on text, actions and what
comes of them are applied while it grows.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

from swarmlite.errors import InvalidSpec
from swarmlite.proto.objects_pb2 import Node, Task
from swarmlite.proto.specs_pb2 import ContainerSpec

from .names import full_task_name

MAX_TEXT = 1024 * 1024
"""Characters of a template."""
MAX_ACTION = 4096
"""Characters between {{ and }}."""
MAX_ACTIONS = 10_000
MAX_RESULT = 1024 * 1024
"""Characters that come of one template, or of all that a container has."""

_SPACE = " \t\r\n"
_TOKEN = re.compile(r'\s+|"(?:\\.|[^"\\])*+"|`[^`]*+`|[^\s"`]+')
_SHOWN = 60
_FIELDS = (
    ".Service.ID",
    ".Service.Name",
    ".Node.ID",
    ".Node.Hostname",
    ".Node.Platform.OS",
    ".Node.Platform.Architecture",
    ".Task.ID",
    ".Task.Name",
    ".Task.Slot",
)
_LABELS = ".Service.Labels"
_KEYWORDS = frozenset({"if", "else", "end", "range", "with", "define", "template", "block"})

Function = Callable[[str], str]


@dataclass(frozen=True)
class Context:
    """What the variables of a template stand for."""

    fields: Mapping[str, str]
    labels: Mapping[str, str]
    functions: Mapping[str, Function] = field(default_factory=dict)


def context_of(task: Task, node: Node) -> Context:
    """The variables of one task on its node."""
    platform = node.description.platform
    values = (
        task.service_id,
        task.service_annotations.name,
        node.id,
        node.description.hostname,
        platform.os,
        platform.architecture,
        task.id,
        full_task_name(task),
        str(task.slot or task.node_id),
    )
    return Context(dict(zip(_FIELDS, values, strict=True)), task.service_annotations.labels)


def payload_context(
    task: Task, node: Node, secrets: Mapping[str, bytes], configs: Mapping[str, bytes]
) -> Context:
    """The same for payloads of secrets and configs, whose data is found by the name of the file."""
    base = context_of(task, node)
    env = dict(entry.partition("=")[::2] for entry in task.spec.container.env)
    functions = {
        "env": lambda name: expand(env.get(name, ""), base),  # as the container has it
        "secret": lambda name: _data("secret", secrets, name),
        "config": lambda name: _data("config", configs, name),
    }
    return Context(base.fields, base.labels, functions)


def _data(kind: str, payloads: Mapping[str, bytes], name: str) -> str:
    if name not in payloads:
        raise InvalidSpec(f"template: no {kind} {name[:_SHOWN]!r} in this task")
    return payloads[name].decode("utf-8", "surrogateescape")


class Budget:
    """What one expansion, or several that belong together, may still make."""

    def __init__(self, characters: int = MAX_RESULT, actions: int = MAX_ACTIONS) -> None:
        self._characters = characters
        self._actions = actions

    def take(self, text: str) -> str:
        """`text`, counted. Raises InvalidSpec once there is too much."""
        self._characters -= len(text)
        if self._characters < 0:
            raise InvalidSpec(f"template: its result has more than {MAX_RESULT} characters")
        return text

    def act(self) -> None:
        """Count one action. Raises InvalidSpec once there are too many."""
        self._actions -= 1
        if self._actions < 0:
            raise InvalidSpec(f"template: it has more than {MAX_ACTIONS} actions")


def expand(text: str, context: Context, budget: Budget | None = None) -> str:
    """`text` with every action replaced. Raises InvalidSpec that quotes what is wrong."""
    budget = budget or Budget()
    if "{{" not in text:
        return budget.take(text)
    if len(text) > MAX_TEXT:
        raise InvalidSpec(f"template: it has {len(text)} characters, {MAX_TEXT} at most")
    parts = []
    for literal, body in _pieces(text):
        parts.append(budget.take(literal))
        if body is not None:
            budget.act()
            parts.append(budget.take(_evaluate(body, context)))
    return "".join(parts)


def _pieces(text: str) -> Iterator[tuple[str, str | None]]:
    """Literal text and the action after it, in order; None after the last text.

    Each character is looked at once: what is not closed is refused where it opens.
    """
    position, trim = 0, False
    while True:
        opened = text.find("{{", position)
        literal = text[position:] if opened < 0 else text[position:opened]
        if trim:
            literal = literal.lstrip(_SPACE)
        if opened < 0:
            yield literal, None
            return
        start = opened + 2
        if text.startswith("- ", start):
            literal, start = literal.rstrip(_SPACE), start + 2
        end = _end_of_action(text, start, opened)
        body = text[start:end]
        trim = body.endswith(" -")
        yield literal, body.removesuffix(" -")
        position = end + 2


def _end_of_action(text: str, start: int, opened: int) -> int:
    """Where the }} of an action stands, outside of its quotes. Raises InvalidSpec."""
    position, last = start, min(len(text), start + MAX_ACTION)
    if text.startswith("/*", start):
        closed = text.find("*/", start + 2, last)
        position = closed + 2 if closed >= 0 else last
    while position < last:
        if text.startswith("}}", position):
            return position
        if text[position] in '"`':
            token = _TOKEN.match(text, position, last)
            if token is None:
                break
            position = token.end()
        else:
            position += 1
    shown = text[opened : opened + _SHOWN]
    raise InvalidSpec(
        f"template {shown!r}: an action that opens with {{{{ is not closed within {MAX_ACTION}"
        " characters"
    )


def check(text: str) -> None:
    """Raise InvalidSpec unless `text` expands for any task."""
    expand(text, Context(dict.fromkeys(_FIELDS, "x"), {}))


def check_payload(data: bytes) -> None:
    """Raise InvalidSpec unless the payload expands for any task that has what it names."""
    nothing: dict[str, Function] = dict.fromkeys(("env", "secret", "config"), lambda name: "")
    expand_payload(data, Context(dict.fromkeys(_FIELDS, "x"), {}, nothing))


def expand_payload(data: bytes, context: Context) -> bytes:
    """The payload of a secret or config with `--template-driver golang`. Raises InvalidSpec."""
    text = data.decode("utf-8", "surrogateescape")
    return expand(text, context).encode("utf-8", "surrogateescape")


def expand_container(spec: ContainerSpec, context: Context) -> ContainerSpec:
    """A copy with the templates of hostname, env, and mounts expanded. Raises InvalidSpec."""
    expanded, budget = ContainerSpec(), Budget()
    expanded.CopyFrom(spec)
    expanded.hostname = expand(spec.hostname, context, budget)
    expanded.env[:] = [expand(entry, context, budget) for entry in spec.env]
    for mount in expanded.mounts:
        mount.source = expand(mount.source, context, budget)
        mount.target = expand(mount.target, context, budget)
        if mount.HasField("volume_options"):
            _expand_map(mount.volume_options.labels, context, budget)
            _expand_map(mount.volume_options.driver_config.options, context, budget)
    return expanded


def _expand_map(values: Mapping[str, str], context: Context, budget: Budget) -> None:
    for key, value in list(values.items()):
        values[key] = expand(value, context, budget)  # type: ignore[index]  # a protobuf map


def _evaluate(body: str, context: Context) -> str:
    body = body.strip()
    if body.startswith("/*") and body.endswith("*/"):
        return ""
    words = _words(body)
    if not words:
        raise InvalidSpec("template: {{}} is empty")
    head, shown = words[0], body[:_SHOWN]
    if len(words) == 1 and head[0] in '."`':
        return _literal(head) if head[0] != "." else _field(head, context)
    if head == "index" and len(words) == 3 and words[1] == _LABELS:
        return context.labels.get(_literal(words[2]), "")
    if head in context.functions and len(words) == 2:
        return context.functions[head](_literal(words[1]))
    if head in _KEYWORDS or "|" in words:
        raise InvalidSpec(
            f"template {{{{{shown}}}}}: {head if head in _KEYWORDS else '|'} is not supported"
        )
    raise InvalidSpec(f"template {{{{{shown}}}}}: unknown; expected one of {', '.join(_FIELDS)}")


def _words(body: str) -> list[str]:
    words, position = [], 0
    while position < len(body):
        token = _TOKEN.match(body, position)
        if token is None:
            raise InvalidSpec(f"template {{{{{body[:_SHOWN]}}}}}: a quote is not closed")
        if not token[0].isspace():
            words.append(token[0])
        position = token.end()
    return words


def _field(name: str, context: Context) -> str:
    if name in context.fields:
        return context.fields[name]
    if name.startswith(_LABELS + "."):
        return context.labels.get(name[len(_LABELS) + 1 :], "")
    known = ", ".join((*_FIELDS, _LABELS))
    shown = name[:_SHOWN]
    raise InvalidSpec(f"template {{{{{shown}}}}}: no such variable; expected one of {known}")


def _literal(token: str) -> str:
    if token[0] == "`":
        return token[1:-1]
    if token[0] != '"':
        raise InvalidSpec(f"template: expected a quoted name and not {token[:_SHOWN]!r}")
    return re.sub(r"\\(.)", r"\1", token[1:-1])
