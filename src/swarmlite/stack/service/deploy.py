"""The keys below `deploy`: mode, policies, resources, placement."""

from __future__ import annotations

from typing import Literal

from swarmlite.model import constraints
from swarmlite.proto.types_pb2 import EndpointSpec, RestartPolicy, UpdateConfig
from swarmlite.stack import read
from swarmlite.stack.read import Handler
from swarmlite.stack.syntax import small
from swarmlite.stack.tree import Node
from swarmlite.stack.world import Draft

MODES = ("replicated", "global", "replicated-job", "global-job")
_CONDITIONS = {
    "any": RestartPolicy.ANY,
    "on-failure": RestartPolicy.ON_FAILURE,
    "none": RestartPolicy.NONE,
}


def deploy(node: Node, draft: Draft) -> None:
    """Everything below `deploy`."""
    keys = read.mapping(node)
    mode = read.word(keys["mode"], {m: m for m in MODES}) if "mode" in keys else MODES[0]
    replicas = read.integer(keys["replicas"]) if "replicas" in keys else 1
    if "replicas" in keys and mode.startswith("global"):
        raise keys["replicas"].error(f"replicas cannot be used with mode {mode}")
    set_mode(draft, mode, replicas)
    read.fields(node, _DEPLOY, draft)


def set_mode(draft: Draft, mode: str, replicas: int) -> None:
    """The mode with its numbers."""
    spec = draft.spec
    if mode == "replicated":
        spec.replicated.replicas = replicas
    elif mode == "replicated-job":
        spec.replicated_job.total_completions = replicas
        spec.replicated_job.max_concurrent = replicas
    elif mode == "global":
        getattr(spec, "global").SetInParent()
    else:
        spec.global_job.SetInParent()


def _read_before(node: Node, draft: Draft) -> None:
    """mode and replicas, which belong together."""


def _endpoint_mode(node: Node, draft: Draft) -> None:
    modes = {"vip": EndpointSpec.VIP, "dnsrr": EndpointSpec.DNSRR}
    draft.spec.endpoint.mode = read.word(node, modes)


def _labels(node: Node, draft: Draft) -> None:
    draft.spec.annotations.labels.update(read.labels(node))


# Update and rollback
Which = Literal["update", "rollback"]


def _policy(which: Which) -> Handler[Draft]:
    def handle(node: Node, draft: Draft) -> None:
        config: UpdateConfig = getattr(draft.spec, which)
        config.parallelism = 1
        if which == "rollback" and "failure_action" in read.mapping(node):
            action = read.mapping(node)["failure_action"]
            if action.value == "rollback":
                raise action.error("expected pause or continue: a rollback is not rolled back")
        read.fields(node, _POLICY, config)

    return handle


def _parallelism(node: Node, config: UpdateConfig) -> None:
    config.parallelism = read.integer(node)


def _policy_duration(field: str) -> Handler[UpdateConfig]:
    def handle(node: Node, config: UpdateConfig) -> None:
        getattr(config, field).CopyFrom(read.duration(node))

    return handle


def _failure_action(node: Node, config: UpdateConfig) -> None:
    actions = {
        "pause": UpdateConfig.PAUSE,
        "continue": UpdateConfig.CONTINUE,
        "rollback": UpdateConfig.ROLLBACK,
    }
    config.failure_action = read.word(node, actions)


def _ratio(node: Node, config: UpdateConfig) -> None:
    config.max_failure_ratio = read.number(node, 0, 1)


def _order(node: Node, config: UpdateConfig) -> None:
    orders = {"stop-first": UpdateConfig.STOP_FIRST, "start-first": UpdateConfig.START_FIRST}
    config.order = read.word(node, orders)


_POLICY: dict[str, Handler[UpdateConfig]] = {
    "parallelism": _parallelism,
    "delay": _policy_duration("delay"),
    "failure_action": _failure_action,
    "monitor": _policy_duration("monitor"),
    "max_failure_ratio": _ratio,
    "order": _order,
}


# Restarts
def _restart(node: Node, draft: Draft) -> None:
    draft.spec.task.restart.SetInParent()
    read.fields(node, _RESTART, draft.spec.task.restart)


def _condition(node: Node, policy: RestartPolicy) -> None:
    policy.condition = read.word(node, _CONDITIONS)


def _restart_duration(field: str) -> Handler[RestartPolicy]:
    def handle(node: Node, policy: RestartPolicy) -> None:
        getattr(policy, field).CopyFrom(read.duration(node))

    return handle


def _attempts(node: Node, policy: RestartPolicy) -> None:
    policy.max_attempts = read.integer(node)


_RESTART: dict[str, Handler[RestartPolicy]] = {
    "condition": _condition,
    "delay": _restart_duration("delay"),
    "max_attempts": _attempts,
    "window": _restart_duration("window"),
}


def restart(node: Node, draft: Draft) -> None:
    """A service's own `restart`, used where deploy.restart_policy is absent."""
    text = read.scalar(node)
    name, colon, attempts = text.partition(":")
    words = {
        "no": RestartPolicy.NONE,
        "always": RestartPolicy.ANY,
        "unless-stopped": RestartPolicy.ANY,
        "on-failure": RestartPolicy.ON_FAILURE,
    }
    counted = attempts.isascii() and attempts.isdigit() and len(attempts) < 19
    if name not in words or (colon and (name != "on-failure" or not counted)):
        raise node.error("expected no, always, unless-stopped or on-failure[:ATTEMPTS]")
    if draft.spec.task.HasField("restart"):
        return
    draft.spec.task.restart.condition = words[name]
    if attempts:
        draft.spec.task.restart.max_attempts = int(attempts)


# Resources
def _resources(node: Node, draft: Draft) -> None:
    read.fields(node, {"limits": _limits, "reservations": _reservations}, draft)


def _limits(node: Node, draft: Draft) -> None:
    handlers = {"cpus": _limit_cpus, "memory": _limit_memory, "pids": _limit_pids}
    read.fields(node, handlers, draft)


def _limit_cpus(node: Node, draft: Draft) -> None:
    draft.spec.task.resources.limits.nano_cpus = read.cpus(node)


def _limit_memory(node: Node, draft: Draft) -> None:
    draft.spec.task.resources.limits.memory_bytes = read.size(node)


def _limit_pids(node: Node, draft: Draft) -> None:
    draft.spec.task.resources.limits.pids = read.integer(node)


def _reservations(node: Node, draft: Draft) -> None:
    handlers = {
        "cpus": _reserve_cpus,
        "memory": _reserve_memory,
        "generic_resources": _generic,
    }
    read.fields(node, handlers, draft)


def _reserve_cpus(node: Node, draft: Draft) -> None:
    draft.spec.task.resources.reservations.nano_cpus = read.cpus(node)


def _reserve_memory(node: Node, draft: Draft) -> None:
    draft.spec.task.resources.reservations.memory_bytes = read.size(node)


def _generic(node: Node, draft: Draft) -> None:
    generic = draft.spec.task.resources.reservations.generic
    for item in read.items(node):
        outer = read.mapping(item)
        inner = outer.get("discrete_resource_spec")
        if inner is None or len(outer) != 1:
            raise item.error("expected discrete_resource_spec: {kind: NAME, value: NUMBER}")
        values = read.mapping(inner)
        if set(values) != {"kind", "value"}:
            raise inner.error("expected kind and value")
        generic.add(kind=read.line(values["kind"]), discrete=read.integer(values["value"], 1))


# Placement
def _placement(node: Node, draft: Draft) -> None:
    handlers = {
        "constraints": _constraints,
        "preferences": _preferences,
        "max_replicas_per_node": _max_replicas,
    }
    read.fields(node, handlers, draft)


def _constraints(node: Node, draft: Draft) -> None:
    for item in read.items(node):
        text = read.line(item)
        with read.placed(item):
            constraints.parse_one(text)
        draft.spec.task.placement.constraints.append(text)


def _preferences(node: Node, draft: Draft) -> None:
    for item in read.items(node):
        for key, descriptor in read.mapping(item).items():
            if key != "spread":
                raise read.unknown(descriptor, key, ("spread",))
            text = f"spread={read.line(descriptor)}"
            with read.placed(descriptor):
                draft.spec.task.placement.preferences.append(small.parse_preference(text))


def _max_replicas(node: Node, draft: Draft) -> None:
    draft.spec.task.placement.max_replicas = read.integer(node)


_DEPLOY: dict[str, Handler[Draft]] = {
    "mode": _read_before,
    "replicas": _read_before,
    "endpoint_mode": _endpoint_mode,
    "labels": _labels,
    "update_config": _policy("update"),
    "rollback_config": _policy("rollback"),
    "restart_policy": _restart,
    "resources": _resources,
    "placement": _placement,
}
