"""How a step fails."""

from __future__ import annotations

from swarmlite.errors import FailedPrecondition


class StepFailed(FailedPrecondition):
    """A RUN whose command ended badly."""

    def __init__(self, text: str, exit_code: int) -> None:
        super().__init__(text)
        self.exit_code = exit_code
