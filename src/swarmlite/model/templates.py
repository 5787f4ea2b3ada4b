"""Go's templates, as far as Swarm's users write them: "{{.Service.Name}}-{{.Task.Slot}}".

Known: the fields below, `index .Service.Labels "key"`, `.Service.Labels.key`, quoted text, `{{-`
and `-}}`, comments; in the payloads of secrets and configs also `secret "name"`, `config "name"`
and `env "NAME"`. Conditions, loops and pipelines are refused by name.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from swarmlite.errors import InvalidSpec
from swarmlite.proto.objects_pb2 import Node, Task
from swarmlite.proto.specs_pb2 import ContainerSpec

from .names import full_task_name

_ACTION = re.compile(r"(?P<left>\s*\{\{- |\{\{)(?P<body>.*?)(?P<right> -\}\}\s*|\}\})", re.DOTALL)
_TOKEN = re.compile(r'\s+|"(?:\\.|[^"\\])*"|`[^`]*`|[^\s"`]+')
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
        raise InvalidSpec(f"template: no {kind} {name!r} in this task")
    return payloads[name].decode("utf-8", "surrogateescape")


def expand(text: str, context: Context) -> str:
    """`text` with every action replaced. Raises InvalidSpec that quotes what is wrong."""
    if "{{" not in text:
        return text
    parts, position = [], 0
    for action in _ACTION.finditer(text):
        parts += [text[position : action.start()], _evaluate(action["body"], context)]
        position = action.end()
    if "{{" in text[position:]:
        raise InvalidSpec(f"template {text!r}: an action that opens with {{{{ is not closed")
    return "".join([*parts, text[position:]])


def check(text: str) -> None:
    """Raise InvalidSpec unless `text` expands for any task."""
    expand(text, Context(dict.fromkeys(_FIELDS, "x"), {}))


def check_payload(data: bytes) -> None:
    """Raise InvalidSpec unless the payload expands for any task that has what it names."""
    anything: dict[str, Function] = {name: lambda _: "x" for name in ("env", "secret", "config")}
    expand_payload(data, Context(dict.fromkeys(_FIELDS, "x"), {}, anything))


def expand_payload(data: bytes, context: Context) -> bytes:
    """The payload of a secret or config with `--template-driver golang`. Raises InvalidSpec."""
    text = data.decode("utf-8", "surrogateescape")
    return expand(text, context).encode("utf-8", "surrogateescape")


def expand_container(spec: ContainerSpec, context: Context) -> ContainerSpec:
    """A copy with the templates of hostname, env, and mounts expanded. Raises InvalidSpec."""
    expanded = ContainerSpec()
    expanded.CopyFrom(spec)
    expanded.hostname = expand(spec.hostname, context)
    expanded.env[:] = [expand(entry, context) for entry in spec.env]
    for mount in expanded.mounts:
        mount.source = expand(mount.source, context)
        mount.target = expand(mount.target, context)
        if mount.HasField("volume_options"):
            _expand_map(mount.volume_options.labels, context)
            _expand_map(mount.volume_options.driver_config.options, context)
    return expanded


def _expand_map(values: Mapping[str, str], context: Context) -> None:
    for key, value in list(values.items()):
        values[key] = expand(value, context)  # type: ignore[index]  # a protobuf map


def _evaluate(body: str, context: Context) -> str:
    body = body.strip()
    if body.startswith("/*") and body.endswith("*/"):
        return ""
    words = [token for token in _TOKEN.findall(body) if not token.isspace()]
    if not words:
        raise InvalidSpec("template: {{}} is empty")
    head = words[0]
    if len(words) == 1 and head[0] in '."`':
        return _literal(head) if head[0] != "." else _field(head, context)
    if head == "index" and len(words) == 3 and words[1] == _LABELS:
        return context.labels.get(_literal(words[2]), "")
    if head in context.functions and len(words) == 2:
        return context.functions[head](_literal(words[1]))
    if head in _KEYWORDS or "|" in words:
        raise InvalidSpec(
            f"template {{{{{body}}}}}: {head if head in _KEYWORDS else '|'} is not supported"
        )
    raise InvalidSpec(f"template {{{{{body}}}}}: unknown; expected one of {', '.join(_FIELDS)}")


def _field(name: str, context: Context) -> str:
    if name in context.fields:
        return context.fields[name]
    if name.startswith(_LABELS + "."):
        return context.labels.get(name[len(_LABELS) + 1 :], "")
    known = ", ".join((*_FIELDS, _LABELS))
    raise InvalidSpec(f"template {{{{{name}}}}}: no such variable; expected one of {known}")


def _literal(token: str) -> str:
    if token[0] == "`":
        return token[1:-1]
    if token[0] != '"':
        raise InvalidSpec(f"template: expected a quoted name and not {token!r}")
    return re.sub(r"\\(.)", r"\1", token[1:-1])
