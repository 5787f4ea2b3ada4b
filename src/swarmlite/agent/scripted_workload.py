"""A task's container as a test says: for tests of what decides about tasks.

See workload.Workload for the contract; what was asked for is in `calls`, in order.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from swarmlite.engine.exits import Exit
from swarmlite.proto.containers_pb2 import Health
from swarmlite.proto.types_pb2 import PortConfig


class ScriptedWorkload:
    """Nothing runs: `end` ends it, `judge` changes its health, `fail` makes a call raise."""

    def __init__(self, *, checked: bool = False) -> None:
        """With `checked` it has a health check, which has not passed yet."""
        self.container_id = "scripted"
        self.host_ports: Sequence[PortConfig] = []
        self.calls: list[str] = []
        self.fail: dict[str, Exception] = {}
        self.hold: dict[str, asyncio.Event] = {}
        """A call of this name waits for the event."""
        self._health = Health(status=Health.STARTING) if checked else None
        self._pid = 0
        self._changed = asyncio.Condition()
        self._end: Exit | None = None

    # what a test does
    async def end(self, end: Exit) -> None:
        """The process has ended."""
        self._end = end
        await self._notify()

    async def judge(self, status: Health.Status.ValueType) -> None:
        """A test of its health changed it."""
        assert self._health is not None
        self._health.status = status
        await self._notify()

    async def called(self, name: str) -> None:
        """Until this was asked for."""
        async with self._changed:
            while name not in self.calls:
                await self._changed.wait()

    async def _notify(self) -> None:
        async with self._changed:
            self._changed.notify_all()

    async def _call(self, name: str) -> None:
        self.calls.append(name)
        await self._notify()
        if name in self.hold:
            await self.hold[name].wait()
        if name in self.fail:
            raise self.fail[name]

    # what a controller asks
    async def prepare(self) -> None:
        """See workload.Workload."""
        await self._call("prepare")

    async def start(self) -> int:
        """See workload.Workload."""
        await self._call("start")
        self._end = None
        self._pid += 1
        return self._pid

    async def exited(self) -> Exit:
        """See workload.Workload."""
        async with self._changed:
            while self._end is None:
                await self._changed.wait()
            return self._end

    async def stop(self, *, grace_s: float | None = None) -> Exit | None:
        """See workload.Workload."""
        await self._call("stop")
        if self._end is None and self._pid:
            await self.end(Exit(143))
        return self._end

    async def release(self) -> None:
        """See workload.Workload."""
        await self._call("release")

    async def clear(self) -> None:
        """See workload.Workload."""
        await self._call("clear")

    async def forget(self) -> None:
        """See workload.Workload."""
        await self._call("forget")

    def health(self) -> Health | None:
        """See workload.Workload."""
        return self._health

    async def health_changed(self, seen: Health.Status.ValueType) -> Health.Status.ValueType:
        """See workload.Workload."""
        async with self._changed:
            while self._health is None or self._health.status == seen:
                await self._changed.wait()
            return self._health.status
