"""When a container that has ended is started again: Docker's policies and back-off. Pure."""

from __future__ import annotations

from swarmlite.proto.containers_pb2 import ContainerRestartPolicy, ContainerState

FIRST_DELAY_S, LAST_DELAY_S = 0.1, 60.0
STEADY_S = 10.0
"""Who has run this long is no longer held to have failed at once: its back-off begins again."""


def wanted(policy: ContainerRestartPolicy, state: ContainerState, *, daemon: bool = False) -> bool:
    """Whether a container that has ended in `state` is to be started again.

    `daemon`: asked at the start of the daemon, at which `always` also brings back what its user
    had stopped.
    """
    if policy.condition == policy.ALWAYS:
        return daemon or not state.stopped_by_user
    if policy.condition == policy.UNLESS_STOPPED:
        return not state.stopped_by_user
    if policy.condition == policy.ON_FAILURE:
        left = policy.max_retries == 0 or state.restart_count < policy.max_retries
        return state.exit_code != 0 and left and not state.stopped_by_user
    return False


def next_delay_s(previous_s: float, ran_s: float) -> float:
    """How long to wait before the next start; `previous_s` 0 before the first."""
    if not previous_s or ran_s >= STEADY_S:
        return FIRST_DELAY_S
    return min(previous_s * 2, LAST_DELAY_S)
