"""How a container comes to be and goes: ordered lists of small named steps, each with its undo.

An undo is safe to repeat and knows nothing but the record: it undoes a step that was done, that was
begun, or that never was. So a list that fails or is cancelled is undone from its end, and after a
crash the same undos clear up whatever an earlier process left.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar

from swarmlite.engine.links import Link
from swarmlite.engine.records import Record
from swarmlite.errors import FailedPrecondition, SwarmliteError, reason
from swarmlite.network.api import Sandbox
from swarmlite.runtime.client import State
from swarmlite.storage.images.types import Image

log = logging.getLogger(__name__)
T = TypeVar("T")

KILL_AT = os.environ.get("SWARMLITE_ENGINE_KILL_AT", "")
"""For tests of recovery: the process kills itself at this point, such as `sandbox.done`."""


@dataclass
class Job:
    """What one run of a list is about, and what its steps hand on to later ones."""

    record: Record
    image: Image
    warnings: list[str] = field(default_factory=list)
    sandbox: Sandbox | None = None
    hostname: str = ""
    mounts: list[dict[str, Any]] = field(default_factory=list)
    links: list[Link] = field(default_factory=list)
    """On the default bridge."""
    state: State | None = None
    """The process's, once it is made."""
    not_begun: SwarmliteError | None = None
    """Why the process that was made could not become its program."""

    @property
    def image_config(self) -> dict[str, Any]:
        """The image's `config`, empty when it has none."""
        return config_of(self.image)


class Step(Protocol):
    """One thing that is made for a container."""

    name: str

    async def do(self, job: Job) -> None:
        """Make it. Raises SwarmliteError or OSError; then its undo is called too."""

    async def undo(self, record: Record) -> None:
        """See the module. Raises SwarmliteError or OSError when it stays for now."""


def _nothing() -> None:
    pass


def config_of(image: Image) -> dict[str, Any]:
    """The `config` of an image's configuration."""
    config = image.config.get("config")
    return config if isinstance(config, dict) else {}


async def carry_out(steps: Sequence[Step], job: Job) -> None:
    """Do every step. Failed or cancelled: all is undone when this raises.

    A step that has begun is let come to its end before it is undone. Raises SwarmliteError.
    """
    begun: list[Step] = []
    wanted = True

    async def do() -> None:
        for step in steps:
            if not wanted:
                raise asyncio.CancelledError
            kill_point(f"{step.name}.begun")
            begun.append(step)
            await step.do(job)
            kill_point(f"{step.name}.done")

    def stop() -> None:
        nonlocal wanted
        wanted = False

    try:
        await finished(do(), stop)
    except BaseException as error:
        try:
            await finished(undo(begun, job.record))
        except (SwarmliteError, OSError) as left:
            log.warning("not all is undone container=%s error=%s", job.record.id, left)
        if isinstance(error, OSError):
            raise FailedPrecondition(f"{job.record.id[:12]}: {reason(error)}") from error
        raise


async def undo(steps: Sequence[Step], record: Record) -> None:
    """Undo every step, the last first. Raises the first error, after all were tried."""
    failed: Exception | None = None
    for step in reversed(steps):
        try:
            await step.undo(record)
        except (SwarmliteError, OSError) as error:
            log.warning("undo container=%s step=%s error=%s", record.id, step.name, error)
            failed = failed or error
        kill_point(f"{step.name}.undone")
    if failed is not None:
        raise failed


async def finished(work: Coroutine[Any, Any, T], cancelled: Callable[[], None] = _nothing) -> T:
    """Let work that has begun come to its end, also when the caller is cancelled meanwhile.

    `cancelled` is called at once then.
    """
    task = asyncio.ensure_future(work)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        cancelled()
        while not task.done():
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.wait((task,))
        if not task.cancelled() and (error := task.exception()):
            log.info("a cancelled step failed too: %s", error)
        raise


def kill_point(name: str) -> None:
    """Where a test may have this process killed."""
    if name == KILL_AT:
        os.kill(os.getpid(), signal.SIGKILL)
