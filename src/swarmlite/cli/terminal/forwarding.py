"""Signals and sizes of this process' terminal, forwarded while a container is attached.

A handler only notes what came, since gRPC must not be called from one; a thread passes it on.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from queue import SimpleQueue
from typing import Any

from swarmlite.cli.terminal import raw
from swarmlite.errors import SwarmliteError

PROXIED = (
    signal.SIGHUP,
    signal.SIGINT,
    signal.SIGQUIT,
    signal.SIGTERM,
    signal.SIGUSR1,
    signal.SIGUSR2,
)


@contextmanager
def forwarding(
    *,
    kill: Callable[[str], Any] | None = None,
    resize: Callable[[int, int], Any] | None = None,
) -> Iterator[None]:
    """While inside, signals go to `kill(name)` and each new size to `resize(height, width)`.

    Either may be None. swarmlite's errors that they raise are ignored: the container has ended.
    """
    noted: SimpleQueue[int | None] = SimpleQueue()
    numbers = [*(PROXIED if kill else ()), *([signal.SIGWINCH] if resize else ())]

    def note(number: int, frame: object) -> None:
        noted.put(number)

    def pass_on() -> None:
        while (number := noted.get()) is not None:
            with suppress(SwarmliteError):
                if number == signal.SIGWINCH and resize is not None:
                    resize(*raw.size())
                elif kill is not None:
                    kill(signal.Signals(number).name)

    before = {number: signal.signal(number, note) for number in numbers}
    thread = threading.Thread(target=pass_on, daemon=True)
    thread.start()
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        noted.put(None)
        thread.join(5)
