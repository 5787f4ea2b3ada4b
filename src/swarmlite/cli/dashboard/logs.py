"""The logs of a task or service, as they come, over the tables of `swarmlite top`."""

from __future__ import annotations

import contextlib
import queue
import threading
from typing import Any, ClassVar

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding
from textual.screen import Screen
from textual.widgets import Footer, RichLog

from swarmlite.cli import client
from swarmlite.cli.session import Session
from swarmlite.docker.loglines import Joiner
from swarmlite.errors import SwarmliteError
from swarmlite.proto.control_pb2 import LogMessage, LogOptions, LogSelector, LogsRequest

TAIL = 500
MOST_LINES = 10_000
DRAW_S = 0.1
MOST_WAITING = 1000
"""Lines that are read and not drawn yet; a writer that is faster than a terminal waits."""


class LogScreen(Screen[None]):
    """Lines of one task, or of all of a service's with the task's id before each."""

    BINDINGS: ClassVar = [
        Binding("escape", "dismiss", "Back"),
        Binding("q", "dismiss", "Back", show=False),
    ]

    def __init__(self, session: Session, ref: str, *, of_service: bool) -> None:
        super().__init__()
        self._reader = _Reader(session, ref, of_service=of_service)

    def compose(self) -> ComposeResult:
        """The lines, the keys."""
        yield RichLog(max_lines=MOST_LINES, wrap=True)
        yield Footer()

    def on_mount(self) -> None:
        """Begin to read."""
        threading.Thread(target=self._reader.run, daemon=True).start()
        self.set_interval(DRAW_S, self.draw)

    def draw(self) -> None:
        """Show what has been read meanwhile."""
        log = self.query_one(RichLog)
        with contextlib.suppress(queue.Empty):
            for _ in range(MOST_WAITING):
                log.write(self._reader.lines.get_nowait())

    def on_unmount(self) -> None:
        """End the call, however the screen was left."""
        self._reader.stop()


class _Reader:
    """A thread's: it knows nothing of the screen, which may be gone at any time."""

    def __init__(self, session: Session, ref: str, *, of_service: bool) -> None:
        self._session, self._ref, self._of_service = session, ref, of_service
        self._call: Any = None
        self._left = threading.Event()
        self.lines: queue.Queue[Text] = queue.Queue(MOST_WAITING)

    def stop(self) -> None:
        """End the call; `run` returns."""
        self._left.set()
        if self._call is not None:
            self._call.cancel()

    def run(self) -> None:
        """Until the end of the logs, or until it is stopped."""
        ids = [self._ref]
        chosen = LogSelector(service_ids=ids) if self._of_service else LogSelector(task_ids=ids)
        options = LogOptions(follow=True, tail=TAIL, stdout=True, stderr=True)
        joiner = Joiner()
        try:
            request = LogsRequest(selector=chosen, options=options)
            self._call = self._session.control.ServiceLogs(request)
            for reply in client.stream(self._call):
                for message in reply.messages:
                    line = joiner.add((message.context.task_id, message.stream), message)
                    if line is not None:
                        self._put(self._text(line))
                if self._left.is_set():
                    return
            for line in joiner.rest():
                self._put(self._text(line))
            self._put(Text("(no more)", style="dim"))
        except SwarmliteError as error:
            self._put(Text(str(error), style="red"))
        finally:
            if self._call is not None:
                self._call.cancel()

    def _put(self, text: Text) -> None:
        while not self._left.is_set():
            with contextlib.suppress(queue.Full):
                self.lines.put(text, timeout=1.0)
                return

    def _text(self, line: LogMessage) -> Text:
        data = line.data.removesuffix(b"\n").decode(errors="replace").expandtabs()
        # What a terminal would obey is not passed on to it.
        text = Text("".join(each if each.isprintable() else "\ufffd" for each in data))
        if not self._of_service:
            return text
        return Text.assemble((f"{line.context.task_id[:12]}  ", "cyan"), text)
