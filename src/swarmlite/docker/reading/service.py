"""A service's spec, from what `POST /services/create` and `/update` send."""

from __future__ import annotations

from swarmlite.docker.fields import Fields
from swarmlite.proto.specs_pb2 import Dependency, ServiceSpec
from swarmlite.proto.types_pb2 import EndpointSpec, PortConfig, UpdateConfig

from . import serviceversions, task
from .values import MAX_UINT32, count, duration, word

MODES = ("Replicated", "Global", "ReplicatedJob", "GlobalJob")


def service_spec(sent: Fields, minor: int = 999) -> ServiceSpec:
    """The spec that a client of version 1.`minor` sent; its rules are the managers' to apply.

    Raises InvalidSpec for wrong types, unknown words, and what has no place in our spec.
    """
    spec = ServiceSpec()
    spec.annotations.name = sent.text("Name")
    spec.annotations.labels.update(sent.mapping("Labels"))
    task.task_spec(sent.object("TaskTemplate"), spec.task)
    if minor <= serviceversions.LEGACY_NETWORKS_UNTIL and not spec.task.networks:
        task.networks(sent, spec.task)
    _mode(sent.object("Mode"), spec)
    for key, config in (("UpdateConfig", spec.update), ("RollbackConfig", spec.rollback)):
        if sent.has(key):
            config.SetInParent()
            update_config(sent.object(key), config)
    if sent.has("EndpointSpec"):
        spec.endpoint.SetInParent()
        endpoint_spec(sent.object("EndpointSpec"), spec.endpoint)
    spec.schedule = sent.text("Schedule")
    spec.stopped = sent.flag("Stopped")
    for each in sent.objects("DependsOn"):  # ours, beyond Docker's
        condition = word(each, "Condition", Dependency.Condition)
        service, optional = each.text("Service"), each.flag("Optional")
        spec.depends_on.add(service=service, condition=condition, optional=optional)
    return serviceversions.as_meant(spec, minor)


def _mode(sent: Fields, spec: ServiceSpec) -> None:
    given = [key for key in MODES if sent.has(key)]
    if len(given) > 1:
        raise sent.wrong(given[1], "must specify only one service mode")
    which = given[0] if given else "Replicated"
    numbers = sent.object(which)
    if which == "Replicated":
        replicas = count(numbers, "Replicas") if numbers.has("Replicas") else 1
        spec.replicated.replicas = replicas
    elif which == "ReplicatedJob":
        # Docker: one at a time unless said, and as many in all as at once.
        at_once = count(numbers, "MaxConcurrent") if numbers.has("MaxConcurrent") else 1
        total = count(numbers, "TotalCompletions") if numbers.has("TotalCompletions") else at_once
        spec.replicated_job.max_concurrent = at_once
        spec.replicated_job.total_completions = total
    elif which == "Global":
        getattr(spec, "global").SetInParent()
    else:
        spec.global_job.SetInParent()


def update_config(sent: Fields, config: UpdateConfig) -> None:
    """How an update or a rollback goes."""
    config.parallelism = count(sent, "Parallelism")
    duration(sent, "Delay", config.delay)
    config.failure_action = word(sent, "FailureAction", UpdateConfig.FailureAction)
    if sent.number("Monitor"):
        duration(sent, "Monitor", config.monitor)
    config.max_failure_ratio = sent.real("MaxFailureRatio")
    config.order = word(sent, "Order", UpdateConfig.Order)
    if sent.number("ProgressDeadline"):
        duration(sent, "ProgressDeadline", config.progress_deadline)


def endpoint_spec(sent: Fields, spec: EndpointSpec) -> None:
    """Mode and published ports."""
    spec.mode = word(sent, "Mode", EndpointSpec.Mode)
    for entry in sent.objects("Ports"):
        port(entry, spec.ports.add())


def port(sent: Fields, into: PortConfig) -> None:
    """One published port."""
    into.name = sent.text("Name")
    into.protocol = word(sent, "Protocol", PortConfig.Protocol)
    into.target_port = count(sent, "TargetPort", MAX_UINT32)
    into.published_port = count(sent, "PublishedPort", MAX_UINT32)
    into.publish_mode = word(sent, "PublishMode", PortConfig.PublishMode)
    into.host_ip = sent.text("HostIP")
