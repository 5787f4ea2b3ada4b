"""Services and tasks in Docker's JSON."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from swarmlite.proto.objects_pb2 import Network, Service, Task
from swarmlite.proto.specs_pb2 import Dependency, ServiceSpec, TaskSpec
from swarmlite.proto.types_pb2 import (
    GenericResource,
    Placement,
    ResourceRequirements,
    RestartPolicy,
    ServiceEndpoint,
    TaskState,
    TaskStatus,
    UpdateConfig,
    UpdateStatus,
)

from . import swarmnetwork
from .containerspec import container_spec
from .values import (
    Json,
    compact,
    driver,
    endpoint_spec,
    kept,
    meta,
    named,
    nanoseconds,
    ports,
    time,
    word,
)


def service(value: Service) -> Json:
    """A service as `service inspect` shows it."""
    result: Json = {"ID": value.id, **meta(value.meta), "Spec": service_spec(value.spec)}
    if value.HasField("previous_spec"):
        result["PreviousSpec"] = service_spec(value.previous_spec)
    result["Endpoint"] = _endpoint(value.endpoint)
    if value.update_status.state:
        result["UpdateStatus"] = update_status(value.update_status)
    if value.HasField("job_status"):
        result["JobStatus"] = {
            "JobIteration": {"Index": value.job_status.job_iteration},
            "LastExecution": time(value.job_status.last_execution),
        }
    return result


def service_spec(spec: ServiceSpec) -> Json:
    """Name, Labels, TaskTemplate, Mode, UpdateConfig, RollbackConfig, EndpointSpec."""
    result: Json = {
        **named(spec.annotations),
        "TaskTemplate": task_spec(spec.task),
        "Mode": mode(spec),
    }
    if spec.HasField("update"):
        result["UpdateConfig"] = update_config(spec.update)
    if spec.HasField("rollback"):
        result["RollbackConfig"] = update_config(spec.rollback)
    if spec.HasField("endpoint"):
        result["EndpointSpec"] = endpoint_spec(spec.endpoint)
    if spec.schedule:
        result["Schedule"] = spec.schedule
    if spec.stopped:
        result["Stopped"] = True
    if spec.depends_on:
        result["DependsOn"] = [dependency(each) for each in spec.depends_on]
    return result


def dependency(value: Dependency) -> Json:
    """What a service waits for: ours, beyond Docker's."""
    return compact(
        {
            "Service": value.service,
            "Condition": word(Dependency.Condition.Name(value.condition)),
            "Optional": value.optional,
        }
    )


def mode(spec: ServiceSpec) -> Json:
    """The one mode that the service has, with its numbers."""
    which = spec.WhichOneof("mode")
    if which == "replicated":
        return {"Replicated": {"Replicas": spec.replicated.replicas}}
    if which == "replicated_job":
        job = spec.replicated_job
        return {
            "ReplicatedJob": {
                "MaxConcurrent": job.max_concurrent,
                "TotalCompletions": job.total_completions,
            }
        }
    return {"Global": {}} if which == "global" else {"GlobalJob": {}} if which else {}


def task_spec(spec: TaskSpec) -> Json:
    """What each task of a service runs, and where."""
    return {
        **compact(
            {
                "ContainerSpec": container_spec(spec.container)
                if spec.HasField("container")
                else None,
                "Resources": resources(spec.resources),
                "RestartPolicy": restart_policy(spec.restart) if spec.HasField("restart") else None,
                "Placement": placement(spec.placement),
                "LogDriver": driver(spec.log_driver),
                "Networks": [
                    compact(
                        {
                            "Target": n.target,
                            "Aliases": list(n.aliases),
                            "DriverOpts": dict(n.driver_attachment_opts),
                            "Addresses": list(n.addresses),
                        }
                    )
                    for n in spec.networks
                ],
            }
        ),
        "ForceUpdate": spec.force_update,
        "Runtime": "container",
    }


def resources(value: ResourceRequirements) -> Json:
    """Limits and Reservations, empty objects where nothing is asked."""
    limits, reserved = value.limits, value.reservations
    result = kept(
        Limits=compact(
            {
                "NanoCPUs": limits.nano_cpus,
                "MemoryBytes": limits.memory_bytes,
                "Pids": limits.pids,
            }
        ),
        Reservations=compact(
            {
                "NanoCPUs": reserved.nano_cpus,
                "MemoryBytes": reserved.memory_bytes,
                "GenericResources": generic(reserved.generic),
            }
        ),
    )
    if value.HasField("memory_swap_bytes"):
        result["SwapBytes"] = value.memory_swap_bytes
    if value.HasField("memory_swappiness"):
        result["MemorySwappiness"] = value.memory_swappiness
    return result


def generic(values: Iterable[GenericResource]) -> list[Json]:
    """Generic resources, named or counted."""
    return [
        {"DiscreteResourceSpec": {"Kind": g.kind, "Value": g.discrete}}
        if g.WhichOneof("resource") == "discrete"
        else {"NamedResourceSpec": {"Kind": g.kind, "Value": g.named}}
        for g in values
    ]


def restart_policy(value: RestartPolicy) -> Json:
    """Condition, Delay, MaxAttempts, Window."""
    result: Json = {"Condition": word(RestartPolicy.Condition.Name(value.condition))}
    if value.HasField("delay"):
        result["Delay"] = nanoseconds(value.delay)
    result["MaxAttempts"] = value.max_attempts
    if value.HasField("window"):
        result["Window"] = nanoseconds(value.window)
    if value.backoff:  # ours, beyond Docker's
        result["Backoff"] = value.backoff
    if value.HasField("max_delay"):
        result["MaxDelay"] = nanoseconds(value.max_delay)
    return result


def placement(value: Placement) -> Json:
    """Constraints, Preferences, Platforms, MaxReplicas; empty without any."""
    return compact(
        {
            "Constraints": list(value.constraints),
            "Preferences": [
                {"Spread": {"SpreadDescriptor": p.spread.spread_descriptor}}
                for p in value.preferences
            ],
            "MaxReplicas": value.max_replicas,
            "Platforms": [
                compact({"Architecture": p.architecture, "OS": p.os}) for p in value.platforms
            ],
        }
    )


def update_config(value: UpdateConfig) -> Json:
    """An update's or a rollback's rules; durations in nanoseconds."""
    result: Json = {"Parallelism": value.parallelism}
    if value.delay.seconds or value.delay.nanos:
        result["Delay"] = nanoseconds(value.delay)
    result["FailureAction"] = word(UpdateConfig.FailureAction.Name(value.failure_action))
    if value.HasField("monitor"):
        result["Monitor"] = nanoseconds(value.monitor)
    # The field is a float of 32 bits: its shortest decimal form, not 0.20000000298.
    ratio = float(f"{value.max_failure_ratio:.7g}")
    result["MaxFailureRatio"] = int(ratio) if ratio.is_integer() else ratio
    result["Order"] = word(UpdateConfig.Order.Name(value.order))
    if value.HasField("progress_deadline"):
        result["ProgressDeadline"] = nanoseconds(value.progress_deadline)
    return result


def update_status(value: UpdateStatus) -> Json:
    """How the last update or rollback goes or went."""
    return compact(
        {
            "State": UpdateStatus.State.Name(value.state).lower(),
            "StartedAt": time(value.started_at) if value.HasField("started_at") else "",
            "CompletedAt": time(value.completed_at) if value.HasField("completed_at") else "",
            "Message": value.message,
        }
    )


def _endpoint(value: ServiceEndpoint) -> Json:
    return compact(
        {
            "Spec": endpoint_spec(value.spec) if value.HasField("spec") else kept(),
            "Ports": ports(value.ports),
            "VirtualIPs": [{"NetworkID": v.network_id, "Addr": v.addr} for v in value.virtual_ips],
        }
    )


def task(
    value: Task,
    networks: Mapping[str, Network] | None = None,
    specs: dict[bytes, Json] | None = None,
) -> Json:
    """A task as `inspect` shows it; `networks` are the swarm's by id, to be shown where it is.

    `specs` are those of other tasks, by their bytes: tasks of one spec share its object.
    """
    spec = None if specs is None else specs.get(written := value.spec.SerializeToString())
    if spec is None:
        spec = task_spec(value.spec)
        if specs is not None:
            specs[written] = spec
    return {
        "ID": value.id,
        **meta(value.meta),
        **compact({"Name": value.annotations.name}),
        "Labels": dict(value.annotations.labels),
        "Spec": spec,
        **compact({"ServiceID": value.service_id, "Slot": value.slot, "NodeID": value.node_id}),
        "Status": _status(value.status),
        "DesiredState": _state(value.desired_state),
        **compact(
            {
                "NetworksAttachments": [
                    swarmnetwork.attachment(n, (networks or {}).get(n.network_id))
                    for n in value.networks
                ],
                "GenericResources": generic(value.assigned_generic_resources),
            }
        ),
        **(
            {"JobIteration": {"Index": value.job_iteration.index}}
            if value.HasField("job_iteration")
            else {}
        ),
    }


def _state(state: TaskState.ValueType) -> str:
    return TaskState.Name(state).removeprefix("TASK_STATE_").lower()


def _status(value: TaskStatus) -> Json:
    return compact(
        {
            "Timestamp": time(value.timestamp),
            "State": _state(value.state),
            "Message": value.message,
            "Err": value.err,
            "ContainerStatus": {
                "ContainerID": value.container.container_id,
                "PID": value.container.pid,
                "ExitCode": value.container.exit_code,
            }
            if value.HasField("container")
            else None,
            "PortStatus": kept(**compact({"Ports": ports(value.host_ports)})),
        }
    )
