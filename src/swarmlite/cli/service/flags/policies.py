"""Flags of the restart, update and rollback policies."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

from swarmlite.cli.flagtypes import DURATION
from swarmlite.cli.lazy import COUNT, one_of, parsed
from swarmlite.errors import InvalidSpec
from swarmlite.model import units
from swarmlite.model.defaults import MAX_BACKOFF
from swarmlite.proto.specs_pb2 import ServiceSpec
from swarmlite.proto.types_pb2 import RestartPolicy, UpdateConfig

from .table import Scalar

CONDITIONS = {
    "none": RestartPolicy.NONE,
    "on_failure": RestartPolicy.ON_FAILURE,
    "any": RestartPolicy.ANY,
}
Which = Literal["update", "rollback"]


def config_of(spec: ServiceSpec, which: Which) -> UpdateConfig:
    """The policy to write to; one that was not set begins with Swarm's parallelism of 1."""
    config: UpdateConfig = getattr(spec, which)
    if not spec.HasField(which):
        config.parallelism = 1
    return config


def _set(which: Which, field: str) -> Callable[[ServiceSpec, Any], None]:
    def apply(spec: ServiceSpec, value: Any) -> None:
        setattr(config_of(spec, which), field, value)

    return apply


def _set_duration(which: Which, field: str) -> Callable[[ServiceSpec, int], None]:
    def apply(spec: ServiceSpec, value: int) -> None:
        getattr(config_of(spec, which), field).CopyFrom(units.duration(value))

    return apply


def ratio(text: str) -> float:
    """A number from 0 to 1. Raises InvalidSpec."""
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value <= 1:
        raise InvalidSpec("expected a number from 0 to 1")
    return value


def _canary_by_hand(spec: ServiceSpec, value: bool) -> None:
    config_of(spec, "update").canary_by_hand = value


CANARY = [
    Scalar(
        ("--update-canary",),
        _set("update", "canary"),
        COUNT,
        "So many tasks first, and the rest once these are promoted (0: all)",
    ),
    Scalar(
        ("--update-canary-promote",),
        _canary_by_hand,
        one_of(auto=False, manual=True),
        "Who promotes canaries: auto (after --update-monitor), manual (service promote)",
    ),
]


def _policy(which: Which) -> list[Scalar]:
    actions = {"pause": UpdateConfig.PAUSE, "continue": UpdateConfig.CONTINUE}
    if which == "update":
        actions["rollback"] = UpdateConfig.ROLLBACK
    a = "an" if which == "update" else "a"
    orders = {"start_first": UpdateConfig.START_FIRST, "stop_first": UpdateConfig.STOP_FIRST}
    rows = [
        Scalar(
            (f"--{which}-parallelism",),
            _set(which, "parallelism"),
            COUNT,
            f"Maximum number of tasks in {a} {which} at once (0: all; 1)",
        ),
        Scalar(
            (f"--{which}-delay",), _set_duration(which, "delay"), DURATION, "Delay between tasks"
        ),
        Scalar(
            (f"--{which}-monitor",),
            _set_duration(which, "monitor"),
            DURATION,
            f"Duration after each task {which} to monitor for failure (5s)",
        ),
        Scalar(
            (f"--{which}-max-failure-ratio",),
            _set(which, "max_failure_ratio"),
            parsed(ratio, "float"),
            f"Failure rate to tolerate during {a} {which}",
        ),
        Scalar(
            (f"--{which}-failure-action",),
            _set(which, "failure_action"),
            one_of(**actions),
            f"Action on {which} failure ({', '.join(actions)})",
        ),
        Scalar(
            (f"--{which}-order",),
            _set(which, "order"),
            one_of(**orders),
            f"{which.capitalize()} order (start-first, stop-first)",
        ),
    ]
    deadline = Scalar(
        ("--update-progress-deadline",),
        _set_duration(which, "progress_deadline"),
        DURATION,
        "Time in which an updated task must run (none)",
    )
    return [*rows, deadline, *CANARY] if which == "update" else rows


def _condition(spec: ServiceSpec, value: RestartPolicy.Condition.ValueType) -> None:
    spec.task.restart.condition = value


def factor(text: str) -> float:
    """A number of 1 or more. Raises InvalidSpec."""
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 1 <= value <= MAX_BACKOFF:
        raise InvalidSpec(f"expected a number from 1 to {MAX_BACKOFF}")
    return value


def _backoff(spec: ServiceSpec, value: float) -> None:
    spec.task.restart.backoff = value


def _attempts(spec: ServiceSpec, value: int) -> None:
    spec.task.restart.max_attempts = value


def _restart_duration(field: str) -> Callable[[ServiceSpec, int], None]:
    def apply(spec: ServiceSpec, value: int) -> None:
        getattr(spec.task.restart, field).CopyFrom(units.duration(value))

    return apply


POLICIES = [
    Scalar(
        ("--restart-condition",),
        _condition,
        one_of(**CONDITIONS),
        "Restart when it is met: none, on-failure, any (any)",
    ),
    Scalar(
        ("--restart-delay",), _restart_duration("delay"), DURATION, "Delay between attempts (5s)"
    ),
    Scalar(("--restart-max-attempts",), _attempts, COUNT, "Maximum number of restarts"),
    Scalar(
        ("--restart-window",),
        _restart_duration("window"),
        DURATION,
        "Window used to evaluate the restart policy",
    ),
    Scalar(
        ("--restart-backoff",),
        _backoff,
        parsed(factor, "float"),
        "Factor by which the delay grows with each failure in a row (1)",
    ),
    Scalar(
        ("--restart-max-delay",),
        _restart_duration("max_delay"),
        DURATION,
        "Longest delay with --restart-backoff (5m)",
    ),
    *_policy("update"),
    *_policy("rollback"),
]
