"""Flags that collect: variables, labels, ports, mounts, networks, files and so on."""

from __future__ import annotations

from collections.abc import Callable, MutableMapping, Sequence
from typing import Any

from swarmlite.cli.lazy import parsed
from swarmlite.errors import InvalidSpec
from swarmlite.model import devices
from swarmlite.proto.specs_pb2 import ServiceSpec
from swarmlite.proto.types_pb2 import Privileges
from swarmlite.stack.syntax import (
    capabilities,
    fields,
    files,
    mounts,
    ports,
    security,
    small,
)

from .table import Repeated

Path = Callable[[ServiceSpec], Any]


def _mapping(names: tuple[str, ...], path: Path, help: str) -> Repeated:
    """Name=value pairs into a map; removed by name."""

    def add(spec: ServiceSpec, values: Sequence[tuple[str, str]]) -> None:
        target: MutableMapping[str, str] = path(spec)
        target.update(dict(values))

    def remove(spec: ServiceSpec, names: Sequence[str]) -> None:
        for name in names:
            path(spec).pop(name, None)

    return Repeated(names, add, remove, parsed(fields.pair, "list"), help)


def _list(
    names: tuple[str, ...],
    path: Path,
    help: str,
    parse: Callable[[str], Any] | None = None,
    key: Callable[[Any], str] = str,
) -> Repeated:
    """Values into a repeated field. One with the key of another replaces it; removed by key."""

    def add(spec: ServiceSpec, values: Sequence[Any]) -> None:
        target = path(spec)
        given: dict[str, Any] = {}
        for item in values:
            if given.setdefault(key(item), item) != item:
                raise InvalidSpec(f"{names[0]}: {key(item)[:80]} is specified twice")
        merged = {key(item): item for item in target} | given
        _replace(target, list(merged.values()))

    def remove(spec: ServiceSpec, keys: Sequence[str]) -> None:
        target = path(spec)
        _replace(target, [item for item in target if key(item) not in keys])

    return Repeated(names, add, remove, parsed(parse, "list") if parse else str, help)


def _replace(target: Any, items: list[Any]) -> None:
    copies = []
    for item in items:
        if isinstance(item, str):
            copies.append(item)
        else:
            copy = type(item)()
            copy.CopyFrom(item)
            copies.append(copy)
    del target[:]
    target.extend(copies)


def _variable(text: str) -> str:
    """NAME=value; of a bare NAME the value is this environment's."""
    import os

    found = small.environment([text], dict(os.environ))
    return found[0] if found else ""


def _add_variables(spec: ServiceSpec, values: Sequence[str]) -> None:
    env = spec.task.container.env
    env[:] = small.environment([*env, *filter(None, values)], {})


def _remove_variables(spec: ServiceSpec, names: Sequence[str]) -> None:
    env = spec.task.container.env
    env[:] = [item for item in env if item.partition("=")[0] not in names]


def _add_ports(spec: ServiceSpec, values: Sequence[list[Any]]) -> None:
    wanted = [port for group in values for port in group]

    def key(port: Any) -> tuple[int, int, int]:
        return port.target_port, port.protocol, port.published_port

    merged = {key(port): port for port in [*spec.endpoint.ports, *wanted]}
    _replace(spec.endpoint.ports, list(merged.values()))


def _remove_ports(spec: ServiceSpec, texts: Sequence[str]) -> None:
    try:
        gone = [port for text in texts for port in ports.parse(text)]
    except InvalidSpec as error:
        raise InvalidSpec(f"--publish-rm: {error}") from error
    if any(port.published_port for port in gone):
        raise InvalidSpec("--publish-rm names the target port: TARGET[/PROTOCOL]")
    keys = {(port.target_port, port.protocol) for port in gone}
    left = [p for p in spec.endpoint.ports if (p.target_port, p.protocol) not in keys]
    _replace(spec.endpoint.ports, left)


def _add_hosts(spec: ServiceSpec, values: Sequence[str]) -> None:
    spec.task.container.hosts.extend(values)


def _remove_hosts(spec: ServiceSpec, texts: Sequence[str]) -> None:
    gone = {text.split(":", 1)[0] for text in texts}
    hosts = spec.task.container.hosts
    hosts[:] = [line for line in hosts if not gone & set(line.split()[1:])]


def _payloads(
    names: tuple[str, ...], field: str, parse: Callable[[str], Any], help: str
) -> Repeated:
    """Secrets or configs: one source under several targets, removed by the source's name or id."""
    source, identity = f"{field[:-1]}_name", f"{field[:-1]}_id"

    def add(spec: ServiceSpec, values: Sequence[Any]) -> None:
        target = getattr(spec.task.container, field)
        # Another source under a target that is taken stays beside it, and is refused with both.
        merged = {(getattr(r, source), r.file.name): r for r in [*target, *values]}
        _replace(target, list(merged.values()))

    def remove(spec: ServiceSpec, refs: Sequence[str]) -> None:
        target = getattr(spec.task.container, field)
        left = [r for r in target if not {getattr(r, source), getattr(r, identity)} & set(refs)]
        _replace(target, left)

    return Repeated(names, add, remove, parsed(parse, "list"), help)


def _add_security(spec: ServiceSpec, values: Sequence[str]) -> None:
    for value in values:
        security.option(spec.task.container, value)
    options = spec.task.container.security_options
    options[:] = dict.fromkeys(options)


def _remove_security(spec: ServiceSpec, values: Sequence[str]) -> None:
    """By its whole text; those of a kind that is stated once also by the kind: seccomp."""
    container = spec.task.container
    for value in values:
        kind = value.partition("=")[0]
        if kind == "seccomp":
            container.privileges.ClearField("seccomp")
        elif kind == "no-new-privileges":
            container.privileges.no_new_privileges = False
        elif value in ("apparmor", "apparmor=unconfined"):
            container.privileges.ClearField("apparmor")
    left = [o for o in container.security_options if o not in values]
    container.security_options[:] = left
    if container.privileges == Privileges():
        container.ClearField("privileges")


def _preference(value: Any) -> str:
    return f"spread={value.spread.spread_descriptor}"


def _add_preferences(spec: ServiceSpec, values: Sequence[Any]) -> None:
    spec.task.placement.preferences.extend(values)


def _remove_preferences(spec: ServiceSpec, texts: Sequence[str]) -> None:
    target = spec.task.placement.preferences
    _replace(target, [p for p in target if _preference(p) not in texts])


LISTS = [
    Repeated(
        ("-e", "--env"),
        _add_variables,
        _remove_variables,
        parsed(_variable, "list"),
        "Environment variables",
    ),
    _mapping(("-l", "--label"), lambda s: s.annotations.labels, "Service labels"),
    _mapping(("--container-label",), lambda s: s.task.container.labels, "Container labels"),
    _mapping(("--sysctl",), lambda s: s.task.container.sysctls, "Sysctl options"),
    Repeated(
        ("-p", "--publish"),
        _add_ports,
        _remove_ports,
        parsed(ports.parse, "port"),
        "A port to publish, as published:target or published=..,target=..",
    ),
    _list(
        ("--mount",),
        lambda s: s.task.container.mounts,
        "A filesystem mount",
        mounts.parse,
        lambda m: str(m.target),
    ),
    _list(
        ("--network",),
        lambda s: s.task.networks,
        "A network",
        small.parse_network,
        lambda n: str(n.target),
    ),
    _payloads(("--secret",), "secrets", files.parse_secret, "A secret"),
    _payloads(("--config",), "configs", files.parse_config, "A config"),
    _list(("--constraint",), lambda s: s.task.placement.constraints, "A placement constraint"),
    Repeated(
        ("--placement-pref",),
        _add_preferences,
        _remove_preferences,
        parsed(small.parse_preference, "pref"),
        "A placement preference, as spread=node.labels.NAME",
    ),
    _list(
        ("--dns",), lambda s: s.task.container.dns_config.nameservers, "A DNS server", small.address
    ),
    _list(("--dns-option",), lambda s: s.task.container.dns_config.options, "A DNS option"),
    _list(("--dns-search",), lambda s: s.task.container.dns_config.search, "A DNS search domain"),
    Repeated(
        ("--host",),
        _add_hosts,
        _remove_hosts,
        parsed(small.parse_host, "list"),
        "A custom host-to-IP mapping (host:ip)",
    ),
    _list(("--group",), lambda s: s.task.container.groups, "A supplementary group"),
    _list(
        ("--ulimit",),
        lambda s: s.task.container.ulimits,
        "A ulimit",
        small.parse_ulimit,
        lambda u: str(u.name),
    ),
    _list(
        ("--depends-on",),
        lambda s: s.depends_on,
        "Start after SERVICE[:started|healthy|completed]",
        small.parse_dependency,
        lambda d: str(d.service),
    ),
    _list(
        ("--device",),
        lambda s: s.task.container.devices,
        "A device of the host (on nodes that allow it)",
        devices.checked,
        devices.target,
    ),
    Repeated(
        ("--security-opt",),
        _add_security,
        _remove_security,
        help="A security option",
    ),
    _list(
        ("--generic-resource",),
        lambda s: s.task.resources.reservations.generic,
        "A user defined resource",
        small.parse_generic,
        lambda g: str(g.kind),
    ),
]
"""NAME on create, NAME-add and NAME-rm on update."""


def _log_option(spec: ServiceSpec, value: tuple[str, str]) -> None:
    spec.task.log_driver.options[value[0]] = value[1]


def apply_plain(spec: ServiceSpec, values: dict[str, Any]) -> None:
    """The lists that keep their names on update: --cap-add, --cap-drop, --log-opt."""
    container = spec.task.container
    for name in values["cap_add"]:
        container.capability_drop[:] = [c for c in container.capability_drop if c != name]
        if name not in container.capability_add:
            container.capability_add.append(name)
    for name in values["cap_drop"]:
        container.capability_add[:] = [c for c in container.capability_add if c != name]
        if name not in container.capability_drop:
            container.capability_drop.append(name)
    for pair in values["log_opt"]:
        _log_option(spec, pair)


def plain_options(command: Any) -> Any:
    """--cap-add, --cap-drop and --log-opt as options."""
    import click

    name = parsed(capabilities.parse, "list")
    command = click.option("--cap-add", multiple=True, type=name, help="Add a capability")(command)
    command = click.option("--cap-drop", multiple=True, type=name, help="Drop a capability")(
        command
    )
    pair = parsed(fields.pair, "list")
    return click.option("--log-opt", multiple=True, type=pair, help="Log driver options")(command)
