"""Updates from clients that know less than our specs hold: what they cannot say, stays.

Docker's clients read a service, change the fields that they know and send the whole; fields of ours
(`HostIP` of a port, `ProgressDeadline`, ...) are lost on their way. They stay as they are unless
the client sends the key, and a task template that comes back as it was shown is the stored one, to
the bit: no task is replaced for how a message was written.
"""

from __future__ import annotations

from swarmlite.docker import services
from swarmlite.docker.fields import Fields
from swarmlite.model import defaults
from swarmlite.proto.specs_pb2 import ServiceSpec, TaskSpec
from swarmlite.proto.types_pb2 import PortConfig

from .service import service_spec

# What Docker's API has no name for, or not in a service.
UNNAMED = ("pid_mode", "ipc_mode", "uts_mode", "userns_mode", "cgroupns_mode", "domainname",
           "security_options")  # fmt: skip
NAMED = {"Privileged": "privileged", "Devices": "devices", "ShmSize": "shm_size_bytes"}


def carried_over(sent: Fields, spec: ServiceSpec, stored: ServiceSpec) -> ServiceSpec:
    """`spec`, read from `sent`, as the update of `stored`. Changes it in place and answers it."""
    for key, new, old in (
        ("UpdateConfig", spec.update, stored.update),
        ("RollbackConfig", spec.rollback, stored.rollback),
    ):
        silent = sent.has(key) and not sent.object(key).has("ProgressDeadline")
        if silent and old.HasField("progress_deadline"):
            new.progress_deadline.CopyFrom(old.progress_deadline)
    if sent.has("UpdateConfig"):
        spec.update.canary = stored.update.canary
        spec.update.canary_by_hand = stored.update.canary_by_hand
    if stored.HasField("autoscale"):
        spec.autoscale.CopyFrom(stored.autoscale)
    spec.task.resources.cpuset_cpus = stored.task.resources.cpuset_cpus
    spec.task.resources.cpu_shares = stored.task.resources.cpu_shares
    spec.rebalance_on_join = stored.rebalance_on_join
    spec.task.placement.strategy = stored.task.placement.strategy
    if not sent.has("Schedule"):
        spec.schedule = stored.schedule
    if not sent.has("Stopped"):
        spec.stopped = stored.stopped
    restart, old_restart = spec.task.restart, stored.task.restart
    policy = sent.object("TaskTemplate").object("RestartPolicy")
    if not policy.has("Backoff") and old_restart.backoff:
        restart.backoff = old_restart.backoff
    if not policy.has("MaxDelay") and old_restart.HasField("max_delay"):
        restart.max_delay.CopyFrom(old_restart.max_delay)
    if not sent.has("DependsOn"):
        spec.depends_on.extend(stored.depends_on)
    _ports(sent, spec, stored)
    _container(sent.object("TaskTemplate").object("ContainerSpec"), spec, stored)
    if _shown(spec.task, spec) == _shown(stored.task, stored):
        auth = spec.task.container.pull_options.registry_auth
        spec.task.CopyFrom(stored.task)
        if auth:
            spec.task.container.pull_options.registry_auth = auth
    return spec


def _ports(sent: Fields, spec: ServiceSpec, stored: ServiceSpec) -> None:
    addresses = {_port(port): port.host_ip for port in stored.endpoint.ports if port.host_ip}
    entries = sent.object("EndpointSpec").objects("Ports")
    for entry, port in zip(entries, spec.endpoint.ports, strict=True):
        if not entry.has("HostIP"):
            port.host_ip = addresses.get(_port(port), "")


def _port(port: PortConfig) -> tuple[int, ...]:
    return (port.protocol, port.target_port, port.published_port, port.publish_mode)


def _container(sent: Fields, spec: ServiceSpec, stored: ServiceSpec) -> None:
    new, old = spec.task.container, stored.task.container
    for name in (*UNNAMED, *(n for key, n in NAMED.items() if not sent.has(key))):
        value = getattr(old, name)
        if not value:
            continue
        if name in ("security_options", "devices"):
            del getattr(new, name)[:]
            getattr(new, name).extend(value)
        else:
            setattr(new, name, value)
    if old.pull_options.sources and not new.pull_options.sources:
        new.pull_options.sources.extend(old.pull_options.sources)


def _shown(task: TaskSpec, whole: ServiceSpec) -> TaskSpec:
    """The task spec that comes back when a client sends what it was shown."""
    copy = ServiceSpec()
    copy.CopyFrom(whole)
    copy.task.CopyFrom(task)
    back = service_spec(Fields.of(services.service_spec(defaults.fill_service(copy))))
    return back.task
