"""What this release honours of the specs, field by field, and what it refuses by name.

A field is in exactly one of the two lists; a test walks the messages and says which is in none.
Paths are field names from the spec down, without indexes.
"""

# ruff: noqa: SIM905  # word lists read better as words
from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from google.protobuf.message import Message

from swarmlite.errors import InvalidSpec
from swarmlite.model import encryption
from swarmlite.proto.specs_pb2 import ClusterSpec, ConfigSpec, NetworkSpec, SecretSpec, ServiceSpec
from swarmlite.proto.types_pb2 import Mount

REFUSED_SERVICE = {
    "task.container.isolation": "--isolation",
    "task.container.privileges.credential_spec": "--credential-spec",
    "task.container.privileges.selinux_context.user": "SELinux options",
    "task.container.privileges.selinux_context.role": "SELinux options",
    "task.container.privileges.selinux_context.type": "SELinux options",
    "task.container.privileges.selinux_context.level": "SELinux options",
    "task.container.configs.runtime": "config as a credential spec",
    "endpoint.ports.published_port_end": "--publish of any one port of a range",
    "task.resource_references": "resource references",
    "task.attachment": "a container's place on a network",
}

HONOURED_SERVICE = frozenset(
    """
    annotations
    task.container.image task.container.labels task.container.command task.container.args
    task.container.hostname task.container.env task.container.dir task.container.user
    task.container.groups task.container.read_only task.container.stop_signal
    task.container.stop_grace_period task.container.secrets task.container.hosts
    task.container.configs.config_id task.container.configs.config_name
    task.container.configs.file task.container.dns_config task.container.healthcheck
    task.container.init task.container.sysctls task.container.capability_add
    task.container.capability_drop task.container.ulimits task.container.oom_score_adj
    task.container.pull_options task.container.tty task.container.open_stdin
    task.container.shm_size_bytes task.container.cgroupns_mode task.container.domainname
    task.container.mounts.type task.container.mounts.source task.container.mounts.target
    task.container.mounts.readonly task.container.mounts.consistency
    task.container.mounts.bind_options.propagation
    task.container.mounts.bind_options.nonrecursive
    task.container.mounts.volume_options.subpath
    task.container.privileges.no_new_privileges
    task.container.privileges.selinux_context.disable
    task.container.privileges.seccomp.mode task.container.privileges.seccomp.profile
    task.container.privileges.apparmor task.container.privileged task.container.devices
    task.container.pid_mode task.container.ipc_mode task.container.uts_mode
    task.container.userns_mode task.container.security_options
    task.container.mounts.image_options
    task.container.mounts.bind_options.readonly_nonrecursive
    task.container.mounts.bind_options.readonly_force_recursive
    task.container.mounts.bind_options.create_mountpoint task.container.mounts.bind_text
    task.container.mounts.volume_options.nocopy task.container.mounts.volume_options.labels
    task.container.mounts.volume_options.driver_config task.container.mounts.tmpfs_options
    task.resources.limits task.resources.reservations.nano_cpus
    task.resources.reservations.memory_bytes task.resources.reservations.generic
    task.resources.memory_swap_bytes task.resources.memory_swappiness
    task.resources.cpuset_cpus task.resources.cpu_shares
    task.restart task.placement task.log_driver task.networks.target task.networks.aliases
    task.networks.addresses
    task.networks.driver_attachment_opts
    task.force_update
    replicated global replicated_job global_job depends_on stopped schedule autoscale
    rebalance_on_join update.canary update.canary_by_hand rollback.canary rollback.canary_by_hand
    update.parallelism update.delay update.failure_action update.monitor
    update.max_failure_ratio update.order update.progress_deadline
    rollback.parallelism rollback.delay rollback.failure_action rollback.monitor
    rollback.max_failure_ratio rollback.order rollback.progress_deadline
    endpoint.mode endpoint.ports.name endpoint.ports.protocol endpoint.ports.target_port
    endpoint.ports.published_port endpoint.ports.publish_mode endpoint.ports.host_ip
    endpoint.ports.source
    """.split()
)

REFUSED_NETWORK: dict[str, str] = {}
HONOURED_NETWORK = frozenset(
    """
    annotations driver internal attachable ingress scope ipv6_enabled ipam.driver config_from
    config_only
    ipam.configs.subnet ipam.configs.range ipam.configs.gateway ipam.configs.reserved
    ipam.configs.ipv6
    """.split()
)

REFUSED_SECRET = {"driver": "--driver", "templating.options": "options of a template driver"}
HONOURED_SECRET = frozenset({"annotations", "data", "templating.name"})
REFUSED_CONFIG = {"templating.options": "options of a template driver"}
HONOURED_CONFIG = frozenset({"annotations", "data", "templating.name"})

REFUSED_CLUSTER: dict[str, str] = {}
HONOURED_CLUSTER = frozenset(
    "annotations orchestration dispatcher ca.node_cert_expiry ca.force_rotate task_defaults"
    " raft encryption.auto_lock_managers"
    " ca.external_cas ca.signing_ca_cert ca.signing_ca_key".split()
)

_MOUNT_TYPES = {Mount.BIND, Mount.VOLUME, Mount.TMPFS, Mount.IMAGE}
HOST_MADE_DRIVERS = ("bridge", "macvlan", "ipvlan")
"""Of networks of the swarm that each host makes for itself when a task needs it."""
NETWORK_DRIVERS = ("overlay", *HOST_MADE_DRIVERS)
_MTU = "com.docker.network.driver.mtu"
_BRIDGE = "com.docker.network.bridge."
NETWORK_OPTIONS = {
    "overlay": (_MTU, encryption.OPTION),
    "bridge": (
        _MTU,
        f"{_BRIDGE}name",
        f"{_BRIDGE}enable_icc",
        f"{_BRIDGE}enable_ip_masquerade",
        f"{_BRIDGE}host_binding_ipv4",
    ),
    "macvlan": (_MTU, "parent", "macvlan_mode"),
    "ipvlan": (_MTU, "parent", "ipvlan_mode"),
}


def _mount_types(spec: ServiceSpec) -> Iterator[str]:
    for mount in spec.task.container.mounts:
        if mount.type not in _MOUNT_TYPES:
            name = Mount.Type.Name(mount.type).lower() if mount.type in Mount.Type.values() else "?"
            yield f"--mount type={name}"
        driver = mount.volume_options.driver_config
        if driver.name not in ("", "local"):
            yield f"--mount volume-driver={driver.name}"


def _network_options(spec: ServiceSpec) -> Iterator[str]:
    # Those of Docker's own drivers; others mean something to drivers that are not here.
    for network in spec.task.networks:
        known = (key for key in network.driver_attachment_opts if key.startswith("com.docker."))
        yield from (f"--network driver-opt {key}" for key in known)


def _network_driver(spec: NetworkSpec) -> Iterator[str]:
    if spec.driver.name not in ("", *NETWORK_DRIVERS):
        yield f"--driver {spec.driver.name}"
    if spec.ipam.driver.name not in ("", "default"):
        yield f"--ipam-driver {spec.ipam.driver.name}"
    yield from (f"--ipam-opt {key}" for key in spec.ipam.driver.options)
    if spec.scope not in ("", "swarm"):
        yield f"--scope {spec.scope}"


SERVICE_VALUES: tuple[Callable[[ServiceSpec], Iterator[str]], ...] = (
    _mount_types,
    _network_options,
)


def check_service(spec: ServiceSpec) -> None:
    """Raise InvalidSpec that names everything set in `spec` that is not supported yet."""
    _refuse([*_found(spec, REFUSED_SERVICE), *(n for rule in SERVICE_VALUES for n in rule(spec))])


def check_network(spec: NetworkSpec) -> None:
    """As check_service."""
    _refuse([*_found(spec, REFUSED_NETWORK), *_network_driver(spec)])


def check_secret(spec: SecretSpec) -> None:
    """As check_service."""
    _refuse(_found(spec, REFUSED_SECRET))


def check_config(spec: ConfigSpec) -> None:
    """As check_service."""
    _refuse(_found(spec, REFUSED_CONFIG))


def check_cluster(spec: ClusterSpec) -> None:
    """As check_service."""
    _refuse(_found(spec, REFUSED_CLUSTER))


def _found(message: Message, refused: dict[str, str], prefix: str = "") -> Iterator[str]:
    for field, value in message.ListFields():
        path = prefix + field.name
        entry = field.message_type is not None and field.message_type.GetOptions().map_entry
        items = [value] if isinstance(value, Message) else value
        if path in refused and _says_something(field.containing_oneof, value):
            yield refused[path]
        if field.message_type is not None and not entry:
            for item in items:
                yield from _found(item, refused, path + ".")


def _says_something(oneof: object, value: object) -> bool:
    return oneof is not None or not isinstance(value, Message) or bool(value.ListFields())


def _refuse(names: Iterable[str]) -> None:
    """All of them at once, so that nobody meets them one after the other."""
    if found := list(dict.fromkeys(names)):
        raise InvalidSpec(f"{', '.join(found)}: not supported yet")
