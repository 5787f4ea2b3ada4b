"""Go's templates of services: "{{.Service.Name}}-{{.Task.Slot}}".

The fields below, with all of text/template's language (`template_language`); in the payloads of
secrets and configs also `secret "name"`, `config "name"` and `env "NAME"`.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

from swarmlite.errors import InvalidSpec
from swarmlite.proto.objects_pb2 import Node, Task
from swarmlite.proto.specs_pb2 import ContainerSpec

from . import template_language
from .names import full_task_name
from .template_language import Parser, Scope
from .template_scan import MAX_TEXT, SHOWN, Budget

PAYLOAD_FUNCTIONS = ("env", "secret", "config")

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
        raise InvalidSpec(f"template: no {kind} {name[:SHOWN]!r} in this task")
    return payloads[name].decode("utf-8", "surrogateescape")


def expand(text: str, context: Context, budget: Budget | None = None) -> str:
    """`text` with every action run. Raises InvalidSpec that quotes what is wrong."""
    budget = budget or Budget()
    if "{{" not in text:
        return budget.take(text)
    nodes = _parsed(text, context.functions)
    data = _data_of(context)
    parts: list[str] = []
    template_language.run(nodes, Scope(data, [{"$": data}], context.functions, budget), parts)
    return "".join(parts)


def _parsed(text: str, functions: Collection[str]) -> list[Any]:
    if len(text) > MAX_TEXT:
        raise InvalidSpec(f"template: it has {len(text)} characters, {MAX_TEXT} at most")
    return Parser(functions, _problem).parse(text)


def _data_of(context: Context) -> dict[str, Any]:
    data: dict[str, Any] = {}
    for path, value in context.fields.items():
        *parents, last = path.split(".")[1:]
        place = data
        for name in parents:
            place = place.setdefault(name, {})
        place[last] = value
    data.setdefault("Service", {})["Labels"] = dict(context.labels)
    return data


def _problem(names: tuple[str, ...]) -> str:
    """What is wrong with a chain from the data; labels may be any."""
    path = "".join(f".{name}" for name in names)
    if not names or path in _FIELDS or path == _LABELS or path.startswith(_LABELS + "."):
        return ""
    if any(known.startswith(path + ".") for known in _FIELDS):
        return ""
    return f"no such variable; expected one of {', '.join((*_FIELDS, _LABELS))}"


def check(text: str) -> None:
    """Raise InvalidSpec for what no task could expand: what only the data says is not run."""
    if "{{" in text:
        _parsed(text, ())


def check_payload(data: bytes) -> None:
    """The same for a payload. Raises InvalidSpec."""
    text = data.decode("utf-8", "surrogateescape")
    if "{{" in text:
        _parsed(text, PAYLOAD_FUNCTIONS)


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
