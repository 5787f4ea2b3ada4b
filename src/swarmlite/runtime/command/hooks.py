"""Hooks: programs that a spec names, run in order with the container's state on their input."""

from __future__ import annotations

import os
import select
import time

from swarmlite import errors
from swarmlite.kernel import processes
from swarmlite.runtime import lean
from swarmlite.runtime.lean import signal


def run(hooks: dict, kind: str, state: dict[str, object]) -> None:  # type: ignore[type-arg]
    """Those of a kind, one after the other; raises FailedPrecondition at the first that fails."""
    data = lean.dumps(state).encode()
    for index, hook in enumerate(hooks.get(kind) or []):
        said = _run(hook, data)
        if said:
            raise errors.FailedPrecondition(f"hooks.{kind}[{index}]: {hook['path']}: {said}")


def run_all(hooks: dict, kind: str, state: dict[str, object]) -> list[str]:  # type: ignore[type-arg]
    """Every one of a kind, whatever becomes of the others; what went wrong."""
    data = lean.dumps(state).encode()
    failures = []
    for index, hook in enumerate(hooks.get(kind) or []):
        said = _run(hook, data)
        if said:
            failures.append(f"hooks.{kind}[{index}]: {hook['path']}: {said}")
    return failures


def _run(hook: dict, data: bytes) -> str:  # type: ignore[type-arg]
    """Empty when it exits 0."""
    path = hook["path"]
    reader, writer = os.pipe2(os.O_CLOEXEC)
    environment = dict(entry.partition("=")[::2] for entry in hook.get("env") or [])
    actions = [(os.POSIX_SPAWN_DUP2, reader, 0)]
    try:
        pid = os.posix_spawn(
            path, hook.get("args") or [path], environment, file_actions=actions,
            setsigmask=(), setsigdef=(lean.SIGPIPE,),
        )  # fmt: skip
    except OSError as error:
        os.close(writer)
        return error.strerror or str(error)
    finally:
        os.close(reader)
    before = signal.signal(lean.SIGPIPE, signal.SIG_IGN)
    try:
        os.write(writer, data)
    except BrokenPipeError:
        pass  # it need not read
    finally:
        os.close(writer)
        signal.signal(lean.SIGPIPE, before)
    return _outcome(pid, hook.get("timeout"))


def _outcome(pid: int, timeout_s: int | None) -> str:
    if timeout_s is not None:
        descriptor = processes.pidfd_open(pid)
        waiting = select.poll()
        waiting.register(descriptor, select.POLLIN)
        begun = time.monotonic()
        ended = waiting.poll(timeout_s * 1000)
        os.close(descriptor)
        if not ended:
            os.kill(pid, lean.SIGKILL)
            os.waitpid(pid, 0)
            return f"did not end within {time.monotonic() - begun:.0f} s"
    _, status = os.waitpid(pid, 0)
    code = os.waitstatus_to_exitcode(status)
    if code == 0:
        return ""
    return f"exit code {code}" if code > 0 else f"killed by signal {-code}"
