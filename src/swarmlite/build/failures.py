"""How a step fails."""

from __future__ import annotations

from pathlib import Path

from swarmlite.errors import FailedPrecondition, SwarmliteError, reason
from swarmlite.kernel import durable
from swarmlite.storage.images.layers import disk_full


class StepFailed(FailedPrecondition):
    """A RUN whose command ended badly."""

    def __init__(self, text: str, exit_code: int) -> None:
        super().__init__(text)
        self.exit_code = exit_code


def failed_by(error: OSError, place: Path) -> SwarmliteError:
    """What an OSError of a build means, which works in `place`."""
    if durable.is_full(error):
        return disk_full(place)
    return FailedPrecondition(f"the build failed: {reason(error)}")
