"""Finds what holds an event loop: a loop that also beats hearts and answers names must stay free.

`watching()` looks at every callback of the loops of its thread and keeps those that held it for
too long, with the stack in which they were seen. It measures what the callback itself did and not
what the machine had to do besides: CPU time of the thread, and the time in which the thread was
asleep inside of the callback (in a system call that waits, a lock, another thread's hold of the
interpreter), less the time for which it was ready to run and had no core. So a busy machine raises
no alarm; only the limit of the sleep is generous, as a busy disk is such a wait as well.

`sitecustomize()` does the same in processes that a test starts: agents of a cluster's hosts. This
module is of the standard library, for it is loaded there by its path, before anything else.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import json
import os
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

CPU_S = 0.010
ASLEEP_S = 0.100
_SAMPLE_S = 0.002


@dataclass(frozen=True)
class Hold:
    """One callback that held the loop."""

    what: str
    cpu_s: float
    asleep_s: float
    stack: str
    """Where it was seen first after half of the limit; empty when it was never seen."""

    def __str__(self) -> str:
        """One line of what and how long, then the stack."""
        held = f"{self.cpu_s * 1000:.1f} ms of CPU, {self.asleep_s * 1000:.1f} ms asleep"
        return f"{self.what}: {held}\n{self.stack}".rstrip()


@dataclass
class Watchdog:
    """The holds that were found so far."""

    cpu_s: float = CPU_S
    asleep_s: float = ASLEEP_S
    holds: list[Hold] = field(default_factory=list)

    def check(self) -> None:
        """Raises AssertionError with every hold that was found."""
        if self.holds:
            said = "\n\n".join(str(hold) for hold in self.holds)
            raise AssertionError(f"{len(self.holds)} callbacks held the event loop:\n\n{said}")


@contextlib.contextmanager
def watching(cpu_s: float = CPU_S, asleep_s: float = ASLEEP_S) -> Iterator[Watchdog]:
    """Watch the loops of this thread; on leaving, raise AssertionError for what held them.

    The task that enters, a test's own, is not watched; what it starts is. Not to be nested.
    """
    watchdog = Watchdog(cpu_s, asleep_s)
    with _others_garbage_left(), _installed(watchdog, watchdog.holds.append, _current_task()):
        yield watchdog
    watchdog.check()


@contextlib.contextmanager
def _others_garbage_left() -> Iterator[None]:
    """A collection goes through what lives from here on, not through all that a test run holds."""
    gc.collect()
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()


def _current_task() -> object | None:
    try:
        return asyncio.current_task()
    except RuntimeError:
        return None  # outside of a loop, which is to come


@contextlib.contextmanager
def _installed(
    limits: Watchdog, found: Callable[[Hold], None], excused: object | None
) -> Iterator[None]:
    original = asyncio.Handle._run
    thread = threading.get_ident()
    sampler = _Sampler(thread, min(limits.cpu_s, limits.asleep_s) / 2)
    with _Clock() as clock:

        def run(handle: Any) -> Any:
            callback = getattr(handle, "_callback", None)
            owner = getattr(callback, "__self__", None)
            if threading.get_ident() != thread or (excused is not None and owner is excused):
                return original(handle)
            what = _named(owner, callback)
            cpu, ready, wall = clock.read()
            sampler.begins()
            try:
                return original(handle)
            finally:
                stack = sampler.ended()
                cpu_s, ready_s, wall_s = (
                    after - before
                    for before, after in zip((cpu, ready, wall), clock.read(), strict=True)
                )
                asleep_s = max(0.0, wall_s - cpu_s - ready_s)
                if cpu_s > limits.cpu_s or asleep_s > limits.asleep_s:
                    found(Hold(what, cpu_s, asleep_s, _formatted(stack)))

        asyncio.Handle._run = run  # type: ignore[method-assign, assignment]
        sampler.start()
        try:
            yield
        finally:
            asyncio.Handle._run = original  # type: ignore[method-assign]
            sampler.stop()


_Frames = list[tuple[CodeType, int]]
"""Where a thread was, innermost first. Only that: the lines' text comes of files, and each read
gives the interpreter back to the thread that holds it, so the callback would end before its stack
was there."""


def _places(frame: FrameType | None, limit: int = 8) -> _Frames:
    places: _Frames = []
    while frame is not None and len(places) < limit:
        places.append((frame.f_code, frame.f_lineno))
        frame = frame.f_back
    return places


def _formatted(stack: _Frames) -> str:
    return "".join(
        traceback.format_list(
            traceback.StackSummary.from_list(
                [
                    traceback.FrameSummary(code.co_filename, line, code.co_name)
                    for code, line in reversed(stack)
                ]
            )
        )
    )


def _named(owner: object, callback: object) -> str:
    if isinstance(owner, asyncio.Task):
        return f"task {owner.get_name()} ({getattr(owner.get_coro(), '__qualname__', '?')})"
    return str(getattr(callback, "__qualname__", callback))


class _Clock:
    """CPU time, time without a core though ready, and wall time of this thread, in seconds."""

    def __enter__(self) -> _Clock:
        # Where the kernel does not tell (no SCHED_INFO), what is not CPU time is not judged.
        with contextlib.suppress(OSError):
            self._schedstat = os.open("/proc/thread-self/schedstat", os.O_RDONLY | os.O_CLOEXEC)
        return self

    def __exit__(self, *_: object) -> None:
        if self._schedstat >= 0:
            os.close(self._schedstat)

    _schedstat = -1

    def read(self) -> tuple[float, float, float]:
        cpu = time.thread_time()
        if self._schedstat < 0:
            return cpu, 0.0, cpu
        wall = time.monotonic()
        return cpu, int(os.pread(self._schedstat, 64, 0).split()[1]) / 1e9, wall


class _Sampler(threading.Thread):
    """Keeps the watched thread's stack once a callback has run for `after_s`."""

    def __init__(self, watched: int, after_s: float) -> None:
        super().__init__(name="loop watchdog", daemon=True)
        self._watched = watched
        self._after_s = after_s
        self._began: float | None = None
        self._stack: _Frames = []
        self._stopped = threading.Event()

    def begins(self) -> None:
        self._stack = []
        self._began = time.monotonic()

    def ended(self) -> _Frames:
        self._began = None
        return self._stack

    def run(self) -> None:
        while not self._stopped.wait(min(_SAMPLE_S, self._after_s)):
            began = self._began
            if began is None or self._stack or time.monotonic() - began < self._after_s:
                continue
            stack = _places(sys._current_frames().get(self._watched))
            if self._began == began:
                self._stack = stack

    def stop(self) -> None:
        self._stopped.set()
        self.join()


# In processes that a test starts.
_SITECUSTOMIZE = """
import importlib.util, sys
if any(word in sys.orig_argv for word in {modules!r}):
    spec = importlib.util.spec_from_file_location("loop_watchdog", {module!r})
    sys.modules[spec.name] = module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    module.record_to({record!r}, {cpu_s!r}, {asleep_s!r})
"""


@dataclass(frozen=True)
class Remote:
    """A watchdog in other processes: set `environment` where they are started."""

    folder: Path

    @property
    def environment(self) -> dict[str, str]:
        """What loads it."""
        return {"PYTHONPATH": str(self.folder)}

    def holds(self) -> list[Hold]:
        """What was found up to now in all the processes."""
        record = self.folder / "holds"
        lines = record.read_text().splitlines() if record.is_file() else []
        return [Hold(**json.loads(line)) for line in lines]

    def check(self) -> None:
        """Raises AssertionError with every hold that was found."""
        Watchdog(holds=self.holds()).check()


def sitecustomize(
    folder: Path,
    *,
    modules: tuple[str, ...] = ("swarmlite.agent",),
    cpu_s: float = CPU_S,
    asleep_s: float = ASLEEP_S,
) -> Remote:
    """A watchdog for every process `python -m MODULE` that has the environment of the answer."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "sitecustomize.py").write_text(
        _SITECUSTOMIZE.format(
            modules=modules,
            module=__file__,
            record=str(folder / "holds"),
            cpu_s=cpu_s,
            asleep_s=asleep_s,
        )
    )
    return Remote(folder)


def record_to(path: str, cpu_s: float, asleep_s: float) -> None:
    """Watch this thread's loops from now on; a line of JSON in `path` for each hold."""

    def found(hold: Hold) -> None:
        with Path(path).open("a") as record:
            record.write(json.dumps(asdict(hold)) + "\n")

    _forever.enter_context(_installed(Watchdog(cpu_s, asleep_s), found, None))


_forever = contextlib.ExitStack()
