"""A task's restart policy, carried out by its own node while no manager is there to. Pure."""

from __future__ import annotations

from swarmlite.model.defaults import RESTART_DELAY_S
from swarmlite.model.units import seconds
from swarmlite.proto.types_pb2 import RestartPolicy


class LocalRestarts:
    """Counts one task's restarts; times are of a clock that never goes back."""

    def __init__(self, policy: RestartPolicy) -> None:
        """`policy` is the service's, with its defaults."""
        self._policy = policy
        self._attempts: list[float] = []

    @property
    def count(self) -> int:
        """How often it was started again."""
        return len(self._attempts)

    @property
    def delay_s(self) -> float:
        """How long to wait before the next start."""
        policy = self._policy
        return seconds(policy.delay) if policy.HasField("delay") else RESTART_DELAY_S

    def wanted(self, exit_code: int, now_s: float) -> bool:
        """Whether the policy has it started again after this end."""
        policy = self._policy
        if policy.condition == policy.NONE:
            return False
        if policy.condition == policy.ON_FAILURE and exit_code == 0:
            return False
        if not policy.max_attempts:
            return True
        window_s = seconds(policy.window) if policy.HasField("window") else 0.0
        recent = [at for at in self._attempts if not window_s or now_s - at < window_s]
        return len(recent) < policy.max_attempts

    def started(self, now_s: float) -> None:
        """It was started again."""
        self._attempts.append(now_s)
