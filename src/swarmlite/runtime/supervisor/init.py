"""A small pid 1 for containers that ask for one (annotation `swarmlite.init`).

The child itself stays: it starts the program as its own child, passes signals on to it, reaps what
is orphaned and ends with the program's exit code.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket

from swarmlite.kernel import processes


def split(channel: socket.socket) -> None:
    """Returns in the process that is to exec; the other one never returns."""
    child = processes.clone(0)
    if child == 0:
        return
    try:
        channel.close()
        processes.close_range(0)  # the program's output ends when the program does
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
        if number != signal.SIGCHLD:
            with contextlib.suppress(ProcessLookupError):
                os.kill(child, number)
