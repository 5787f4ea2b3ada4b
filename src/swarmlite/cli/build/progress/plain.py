"""One line after the other, as BuildKit's plain progress: `#3 [build 2/4] RUN make`."""

from __future__ import annotations

from typing import TextIO

from swarmlite.cli.build.progress import steps
from swarmlite.proto.build_pb2 import BuildEvent, BuildStatus, BuildStep


class Plain:
    """Lines of several steps side by side are told apart by their numbers."""

    def __init__(self, out: TextIO) -> None:
        self._out = out
        self._steps: dict[int, BuildStep] = {}
        self._lines = steps.Lines()
        self._last = 0
        self._said: set[tuple[int, str, bool]] = set()

    def hear(self, event: BuildEvent) -> None:
        """Print what it says."""
        kind = event.WhichOneof("event")
        if kind == "step":
            self._steps[event.step.id] = event.step
            if steps.shown(event.step):
                self._line(event.step.id, event.step.name)
        elif kind == "log":
            step = self._steps.get(event.log.step)
            for line in self._lines.of(event):
                at = steps.since(step, event) if step is not None else 0.0
                self._line(event.log.step, f"{at:.3f} {line}")
        elif kind == "status":
            self._status(event.status)
        elif kind == "step_done":
            self._done(event)
        elif kind == "warning":
            warned = event.warning
            where = f"{warned.file}:{warned.line}: " if warned.line else ""
            rule = f" ({warned.rule})" if warned.rule else ""
            self._print(f"WARN: {where}{warned.text}{rule}")
        self._out.flush()

    def _status(self, status: BuildStatus) -> None:
        """Once when it begins and once when it is done: bytes on their way are not lines."""
        name = status.id or status.text
        if status.HasField("image"):
            name = f"{status.image.layer} {status.image.status}"
        if (status.step, name, status.done) in self._said:
            return
        self._said.add((status.step, name, status.done))
        text = steps.status_text(status)
        if text:
            self._line(status.step, f"{text} done" if status.done else text)

    def _done(self, event: BuildEvent) -> None:
        done = event.step_done
        step = self._steps.get(done.id, BuildStep(id=done.id))
        for line in self._lines.rest(done.id):
            self._line(done.id, line)
        if not steps.shown(step) and not done.error:
            return
        if done.canceled:
            self._line(done.id, "CANCELED")
        elif done.error:
            self._line(done.id, f"ERROR: {done.error}")
        elif done.cached:
            self._line(done.id, "CACHED")
        else:
            self._line(done.id, f"DONE {steps.seconds(step, done):.1f}s")

    def _line(self, step: int, text: str) -> None:
        if step != self._last:
            begun = self._steps.get(step)
            self._print("" if self._last else None)
            self._last = step
            if begun is not None and begun.name != text:
                self._print(f"#{step} {begun.name}")
        self._print(f"#{step} {text}")

    def _print(self, text: str | None) -> None:
        if text is not None:
            self._out.write(text + "\n")

    def close(self, *, failed: bool) -> None:
        """An empty line behind what was shown."""
        if self._last:
            self._print("")
            self._out.flush()
