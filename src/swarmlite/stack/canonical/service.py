"""The keys of a service, in their long form."""

from __future__ import annotations

from dataclasses import replace

from swarmlite.errors import InvalidSpec
from swarmlite.proto.types_pb2 import Mount, PortConfig
from swarmlite.stack import outside, read
from swarmlite.stack.canonical import older, values
from swarmlite.stack.canonical.values import Convert, Table, Where, struct
from swarmlite.stack.problems import Problems
from swarmlite.stack.syntax import mounts, ports, small, volumes
from swarmlite.stack.tree import Node

REFUSED = {
    "volume_driver": "set the driver in the volumes at the top of the file",
    "volumes_from": "name a volume in both services",
    "cpu_quota": "use deploy.resources.limits.cpus",
    "memswap_limit": "use deploy.resources",
}
"""Keys of a service that are errors, each with what to write."""

NOT_IN_A_SWARM = (
    "blkio_config", "cpu_count", "cpu_percent", "cpu_period", "cpu_rt_period", "cpu_rt_runtime",
    "device_cgroup_rules", "gpus", "label_file", "models", "oom_kill_disable", "post_start",
    "pre_stop", "provider", "storage_opt", "use_api_socket",
)  # fmt: skip
"""Keys of the compose specification that are kept as they are written, and ignored by a line."""


def service(node: Node, where: Where) -> Node | None:
    """A service. Raises InvalidSpec once all of it was looked at."""
    problems = Problems()
    found: dict[str, Node] = {}
    with problems.gather():
        node = older.moved(node)
        found = values.keys(node, _SERVICE, where)
    given = read.mapping(node)
    variables: dict[str, Node] = {}
    for key, reader in (("env_file", _env_files), ("environment", _variables)):
        if key in given:
            with problems.gather():
                variables |= reader(given[key], where)
    problems.settle()
    if variables:
        place = given.get("environment") or values.child(node, "environment", None)
        found["environment"] = replace(place, value=variables, text="")
    return replace(node, value=found, text="")


def _refused(hint: str) -> Convert:
    def convert(node: Node, where: Where) -> Node | None:
        raise node.error(f"not supported in a stack: {hint}")

    return convert


# Environment
def _variables(node: Node, where: Where) -> dict[str, Node]:
    """A variable without a value takes the one that it has outside, or stays without."""
    found = values.pairs(node)
    for name, item in found.items():
        if item.value is None and name in where.environment:
            found[name] = item.with_text(where.environment[name])
    return found


def _env_files(node: Node, where: Where) -> dict[str, Node]:
    found = {}
    for item in [node] if isinstance(node.value, str) else read.items(node):
        for line in _env_file(item, where):
            name, _, value = line.partition("=")
            found[name] = values.child(node, name, value)
    return found


def _env_file(node: Node, where: Where) -> list[str]:
    place, required = node, True
    if isinstance(node.value, dict):
        place = node.value.get("path", node)
        required = "required" not in node.value or read.boolean(node.value["required"])
    name = read.line(place)
    try:
        lines = small.read_env_file(where.folder / name)
    except FileNotFoundError as error:
        if not required:
            return []
        raise place.error(f"env_file {name!r} is not there") from error
    except (OSError, InvalidSpec) as error:
        raise place.error(f"env_file {name!r}: {error}") from error
    with read.placed(place):
        return small.environment(lines, dict(where.environment))


def _looked_at_later(node: Node, where: Where) -> Node | None:
    """environment: together with env_file."""
    return None


# Ports
def _port(node: Node, where: Where) -> list[Node]:
    if values.unread(node, where):
        return [node]
    if not isinstance(node.value, dict):
        with read.placed(node):
            return [_port_node(node, port) for port in ports.parse_short(read.scalar(node))]
    given = read.mapping(node)
    for key, item in given.items():
        if key not in _PORT and not key.startswith("x-"):
            raise read.unknown(item, key, _PORT)
    if "target" not in given:
        raise node.error("target is missing")
    several = any("-" in given[key].text for key in ("target", "published") if key in given)
    text = ",".join(
        f"{key}={read.scalar(item)}"
        for key, item in given.items()
        if key in ports.LONG and item.text and not values.unread(item, where)
    )
    with read.placed(node):
        meant = ports.parse_long(text)
    if several:
        return [_port_node(node, port) for port in meant]
    return [replace(node, value=values.keys(node, _PORT, where))]


def _port_node(node: Node, port: PortConfig) -> Node:
    said = {
        "mode": PortConfig.PublishMode.Name(port.publish_mode).lower(),
        "target": port.target_port,
        "published": port.published_port or None,
        "protocol": PortConfig.Protocol.Name(port.protocol).lower(),
        "host_ip": port.host_ip,
        "name": port.name,
        "source": "masquerade" if port.source == PortConfig.MASQUERADE else "",
    }
    return values.made(node, said)


_PORT: Table = {
    "mode": values.text,
    "target": values.whole(1, ports.MAX_PORT),
    "published": values.whole(0, ports.MAX_PORT, said=False),
    "protocol": values.text,
    "host_ip": values.text,
    "name": values.text,
    "source": values.text,
    "app_protocol": values.text,
}


# Volumes
def _volume(node: Node, where: Where) -> Node | None:
    if not isinstance(node.value, dict):
        return _short_volume(node, where)
    if "type" not in node.value:
        raise node.error("type is missing: volume, bind, tmpfs or image")
    kind = read.word(node.value["type"], mounts.TYPES)
    found = values.keys(node, _MOUNT, where)
    if kind == Mount.BIND and "source" in found:
        with read.placed(found["source"]):
            outside.check_bind(read.line(found["source"]))
        found["source"] = values.path(found["source"], where)
    return replace(node, value=found)


def _short_volume(node: Node, where: Where) -> Node:
    with read.placed(node):
        mount = volumes.parse(read.line(node))
        bind = mount.type == Mount.BIND
        if bind:
            outside.check_bind(mount.source)
    said: dict[str, object] = {
        "type": "bind" if bind else "volume",
        "source": where.path(mount.source) if bind else mount.source,
        "target": mount.target,
        "read_only": mount.readonly,
    }
    found = values.made(node, said)
    if bind and mount.bind_options.propagation != Mount.BindOptions.RPRIVATE:
        number = mount.bind_options.propagation
        word = next(word for word, each in mounts.PROPAGATIONS.items() if each == number)
        found.value["bind"] = values.made(values.child(node, "bind", {}), {"propagation": word})
    if mount.volume_options.nocopy:
        found.value["volume"] = values.made(values.child(node, "volume", {}), {"nocopy": True})
    return found


_VOLUME_OPTIONS: Table = {"nocopy": values.flag, "subpath": values.text}
_MOUNT: Table = {
    "type": values.text,
    "source": values.text,
    "target": values.text,
    "read_only": values.flag,
    "consistency": values.text,
    "bind": struct(
        {
            "propagation": values.text,
            "recursive": values.text,
            "create_host_path": values.said_flag,
        },
        said=True,
    ),
    "volume": struct(_VOLUME_OPTIONS, said=True),
    "image": struct({"subpath": values.text}, said=True),
    "tmpfs": struct({"size": values.size_number, "mode": values.whole(0, 0o7777)}, said=True),
    "cluster": values.same,
}


# Networks, secrets, configs
def _networks(node: Node, where: Where) -> Node | None:
    if isinstance(node.value, list):
        named = {read.line(item): replace(item, value=None, text="") for item in node.value}
        return replace(node, value=named) if named else None
    problems, found = Problems(), {}
    for name, item in read.mapping(node).items():
        with problems.gather():
            found[name] = _NETWORK(item, where) or item
    problems.settle()
    return replace(node, value=found) if found else None


_NETWORK = struct(
    {
        "aliases": values.texts,
        "ipv4_address": values.text,
        "ipv6_address": values.text,
        "driver_opts": values.options,
        "priority": values.whole(-(2**31)),
    },
    said=True,
)
_FILE: Table = {
    "source": values.text,
    "target": values.text,
    "uid": values.scalar,
    "gid": values.scalar,
    "mode": values.whole(0, 0o7777),
}


def _file(node: Node, where: Where) -> Node | None:
    if not isinstance(node.value, dict):
        return values.made(node, {"source": read.line(node)})
    if "source" not in node.value:
        raise node.error("source is missing")
    return struct(_FILE)(node, where)


# The process
def _extra_hosts(node: Node, where: Where) -> Node | None:
    if not isinstance(node.value, dict):
        items = [item.with_text(_host(item)) for item in read.items(node)]
        return values.listed(node, items) if items else None
    items = []
    for name, item in sorted(node.value.items()):
        for address in item.value if isinstance(item.value, list) else [item]:
            items.append(address.with_text(_named(name, read.scalar(address))))
    return values.listed(node, items) if items else None


def _host(node: Node) -> str:
    text = read.scalar(node)
    name, found, address = text.partition("=" if "=" in text else ":")
    return _named(name, address) if found else text


def _named(name: str, address: str) -> str:
    bare = address[1:-1] if address[:1] == "[" and address[-1:] == "]" else address
    return f"{name}:{bare}"


def _ulimit(node: Node, where: Where) -> Node | None:
    if not isinstance(node.value, dict):
        return values.whole(-1)(node, where)
    if {key for key in node.value if not key.startswith("x-")} != {"soft", "hard"}:
        for key, item in node.value.items():
            if key not in ("soft", "hard") and not key.startswith("x-"):
                raise read.unknown(item, key, ("soft", "hard"))
        raise node.error("expected both soft and hard")
    return struct({"soft": values.whole(-1), "hard": values.whole(-1)})(node, where)


def _test(node: Node, where: Where) -> Node | None:
    if isinstance(node.value, str):
        shell = [values.child(node, "0", "CMD-SHELL"), values.child(node, "1", node.value)]
        return values.listed(node, shell) if node.value else None
    found = values.texts(node, where)
    if found is not None and found.value[0].value not in ("NONE", "CMD", "CMD-SHELL"):
        raise node.error(
            f"expected a list that begins with NONE, CMD or CMD-SHELL, not {found.value[0].value!r}"
        )
    return found


_HEALTHCHECK = struct(
    {
        "test": _test,
        "timeout": values.duration(),
        "interval": values.duration(),
        "retries": values.whole(0, 2**31 - 1),
        "start_period": values.duration(),
        "start_interval": values.duration(),
        "disable": values.flag,
    },
    said=True,
)
_LOGGING = struct({"driver": values.text, "options": values.options}, said=True)


def _build(node: Node, where: Where) -> Node | None:
    """Its keys are for the builder, which reads them from this form."""
    if isinstance(node.value, str):
        return values.made(node, {"context": node.value})
    return struct(_BUILD)(node, where)


_BUILD: Table = {
    "context": values.text,
    "dockerfile": values.text,
    "args": values.names,
    "labels": values.options,
    "cache_from": values.texts,
    "extra_hosts": _extra_hosts,
    "network": values.text,
    "target": values.text,
    **dict.fromkeys(
        ("additional_contexts", "cache_to", "dockerfile_inline", "entitlements", "isolation",
         "no_cache", "platforms", "privileged", "provenance", "pull", "sbom", "secrets",
         "shm_size", "ssh", "tags", "ulimits"),
        values.same,
    ),
}  # fmt: skip


# deploy
def _policy() -> Convert:
    table: Table = {
        "parallelism": values.whole(),
        "delay": values.duration(said=False),
        "failure_action": values.text,
        "monitor": values.duration(said=False),
        "max_failure_ratio": values.ratio,
        "order": values.text,
    }
    return struct(table, said=True)


def _generic(node: Node, where: Where) -> Node | None:
    discrete = struct({"kind": values.text, "value": values.whole(1)})
    return struct({"discrete_resource_spec": discrete, "named_resource_spec": values.same})(
        node, where
    )


_DEPLOY: Table = {
    "mode": values.text,
    "replicas": values.whole(),
    "labels": values.options,
    "update_config": _policy(),
    "rollback_config": _policy(),
    "resources": struct(
        {
            "limits": struct(
                {"cpus": values.cpus, "memory": values.size, "pids": values.whole(said=False)},
                said=True,
            ),
            "reservations": struct(
                {
                    "cpus": values.cpus,
                    "memory": values.size,
                    "generic_resources": values.each(_generic),
                },
                said=True,
            ),
        }
    ),
    "restart_policy": struct(
        {
            "condition": values.text,
            "delay": values.duration(),
            "max_attempts": values.whole(),
            "window": values.duration(),
        },
        said=True,
    ),
    "placement": struct(
        {
            "constraints": values.texts,
            "preferences": values.each(struct({"spread": values.text})),
            "max_replicas_per_node": values.whole(said=False),
        }
    ),
    "endpoint_mode": values.text,
}


def _depends_on(node: Node, where: Where) -> Node | None:
    return values.same(node, where) if isinstance(node.value, dict) else values.texts(node, where)


def _extends(node: Node, where: Where) -> Node | None:
    """The service that it begins from: `service` and, of another file, `file`."""
    if not isinstance(node.value, dict):
        return values.made(node, {"service": read.line(node)})
    found = values.keys(node, {"service": values.text, "file": values.text}, where)
    if "service" not in found:
        raise node.error("service is missing")
    return replace(node, value=found)


def _env_file_names(node: Node, where: Where) -> Node | None:
    if isinstance(node.value, list) and any(isinstance(item.value, dict) for item in node.value):
        return node
    return values.text_or_texts(node, where)


_TEXT = (
    "cgroup", "cgroup_parent", "cgroupns_mode", "container_name", "cpuset", "domainname",
    "hostname", "image", "ipc",
    "isolation", "mac_address", "network_mode", "pid", "platform", "pull_policy", "restart",
    "runtime", "userns_mode",
    "uts", "working_dir",
)  # fmt: skip
_TEXTS = (
    "cap_add", "cap_drop", "devices", "dns_opt", "expose", "external_links", "group_add", "links",
    "security_opt",
)  # fmt: skip
_SERVICE: Table = {
    **dict.fromkeys(_TEXT, values.text),
    **dict.fromkeys(_TEXTS, values.texts),
    **dict.fromkeys(("annotations", "attach", "credential_spec", "develop"), values.same),
    **dict.fromkeys(NOT_IN_A_SWARM, values.same),
    **dict.fromkeys(("privileged", "read_only", "stdin_open", "tty"), values.flag),
    **dict.fromkeys(("dns", "dns_search", "tmpfs"), values.text_or_texts),
    **dict.fromkeys(("stop_signal", "user"), values.scalar),
    **dict.fromkeys(("command", "entrypoint"), values.words),
    **dict.fromkeys(("labels", "sysctls"), values.options),
    **dict.fromkeys(("configs", "secrets"), values.each(_file)),
    **{key: _refused(hint) for key, hint in REFUSED.items()},
    "build": _build,
    "extends": _extends,
    "profiles": values.texts,
    "depends_on": _depends_on,
    "deploy": struct(_DEPLOY),
    "env_file": _env_file_names,
    "environment": _looked_at_later,
    "extra_hosts": _extra_hosts,
    "healthcheck": _HEALTHCHECK,
    "init": values.said_flag,
    "logging": _LOGGING,
    "networks": _networks,
    "cpu_shares": values.whole(0, 2**18, said=False),
    "mem_swappiness": values.whole(0, 100, said=True),
    "oom_score_adj": values.whole(-1000, 1000, said=False),
    "ports": values.flattened(_port),
    "shm_size": values.written_size,
    "stop_grace_period": values.duration(),
    "ulimits": values.called(_ulimit),
    "volumes": values.each(_volume),
}
