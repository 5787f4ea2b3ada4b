"""A small pid 1 for containers that ask for one (annotation `swarmlite.init`).

The child itself stays: it starts the program as its own child, passes signals on to it, reaps what
is orphaned and ends with the program's exit code.
"""

from __future__ import annotations

import os

from swarmlite.kernel import processes
from swarmlite.runtime import lean
from swarmlite.runtime.lean import signal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable


def split(channel: lean.Socket, give_up: Callable[[], None]) -> None:
    """Returns in the process that is to exec; the other one does `give_up` and never returns."""
    child = processes.fork()
    if child == 0:
        return
    try:
        channel.close()
        for fd in range(3):
            os.close(fd)  # the program's output ends when the program does
        give_up()
        _serve(child)
    finally:
        os._exit(127)


def _serve(child: int) -> None:
    everything = signal.valid_signals()
    signal.pthread_sigmask(signal.SIG_BLOCK, everything)
    while True:
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                os._exit(0)
            if pid == 0:
                break
            if pid == child:
                code = os.waitstatus_to_exitcode(status)
                os._exit(code if code >= 0 else 128 - code)
        number = signal.sigwait(everything)
        if number != lean.SIGCHLD:
            with lean.suppress(ProcessLookupError):
                os.kill(child, number)
