"""What a build says of itself, as events for its client."""

from __future__ import annotations

import asyncio
import itertools
import time
from dataclasses import dataclass

from swarmlite.engine.events import moment
from swarmlite.proto import build_pb2 as pb
from swarmlite.proto.control_pb2 import LogStream
from swarmlite.proto.types_pb2 import Platform as PlatformMessage
from swarmlite.storage.images.types import Platform

_WAITING = 256
_TOGETHER_BYTES = 64 << 10


class Report:
    """Events in their order; who writes much waits for a client that is slow."""

    def __init__(self) -> None:
        self._queue: asyncio.Queue[pb.BuildEvent | None] = asyncio.Queue()
        self._ids = itertools.count(1)
        self._taken = asyncio.Event()
        self.together = False
        """Whether the client knows that an event may have others in its `more`."""

    def tell(self, event: pb.BuildEvent) -> None:
        """Say it."""
        self._queue.put_nowait(event)

    async def tell_much(self, event: pb.BuildEvent) -> None:
        """Say it, once the client has taken most of what was said before."""
        while self._queue.qsize() > _WAITING:
            self._taken.clear()
            await self._taken.wait()
        self._queue.put_nowait(event)

    def close(self) -> None:
        """There is no more."""
        self._queue.put_nowait(None)

    async def next(self) -> pb.BuildEvent | None:
        """The next one, `together` with what else was told meanwhile; None at the end."""
        event = await self._queue.get()
        size = event.ByteSize() if event is not None and self.together else _TOGETHER_BYTES
        while event is not None and size < _TOGETHER_BYTES and not self._queue.empty():
            other = self._queue.get_nowait()
            if other is None:
                self._queue.put_nowait(None)
                break
            event.more.append(other)
            size += other.ByteSize()
        self._taken.set()
        return event

    def begin(self, step: pb.BuildStep) -> Step:
        """A step begins."""
        step.id = next(self._ids)
        step.started.CopyFrom(moment(time.time_ns()))
        self.tell(pb.BuildEvent(step=step))
        return Step(self, step.id)

    def warn(self, file: str, line: int, text: str, rule: str = "") -> None:
        """Something that is no error."""
        self.tell(
            pb.BuildEvent(warning=pb.BuildProblem(file=file, line=line, text=text, rule=rule))
        )


@dataclass
class Step:
    """One that has begun."""

    report: Report
    id: int

    async def log(self, data: bytes, stream: LogStream.ValueType = LogStream.LOG_STDOUT) -> None:
        """What it writes."""
        event = pb.BuildLog(step=self.id, stream=stream, data=data, time=moment(time.time_ns()))
        await self.report.tell_much(pb.BuildEvent(log=event))

    def status(
        self, name: str, text: str = "", *, current: int = 0, total: int = 0, done: bool = False
    ) -> None:
        """What it does just now."""
        self.report.tell(
            pb.BuildEvent(
                status=pb.BuildStatus(
                    step=self.id,
                    id=name,
                    text=text or name,
                    current_bytes=current,
                    total_bytes=total,
                    done=done,
                )
            )
        )

    def done(
        self,
        *,
        layer: str = "",
        cached: bool = False,
        error: str = "",
        exit_code: int = 0,
        canceled: bool = False,
    ) -> None:
        """It has ended."""
        self.report.tell(
            pb.BuildEvent(
                step_done=pb.BuildStepDone(
                    id=self.id,
                    cached=cached,
                    error=error,
                    exit_code=exit_code,
                    completed=moment(time.time_ns()),
                    layer=layer,
                    canceled=canceled,
                )
            )
        )


def platform_message(platform: Platform) -> PlatformMessage:
    """As events say it."""
    return PlatformMessage(
        os=platform.os, architecture=platform.architecture, variant=platform.variant
    )
