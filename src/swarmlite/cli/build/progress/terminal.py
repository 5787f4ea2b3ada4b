"""A build on a terminal: what is done scrolls by, what runs is a region below that changes.

The region never has more lines than the terminal, nor lines that are wider than it.
"""

from __future__ import annotations

import os
import re
import shutil
import threading
import time
import unicodedata
from collections import deque
from dataclasses import dataclass, field
from typing import TextIO

from swarmlite.cli.build.progress import steps
from swarmlite.proto.build_pb2 import BuildEvent, BuildPlan, BuildStep

TAIL = 6
"""Lines of what a RUN writes that are shown while it runs."""
KEPT = 40
"""Of those that are shown once it has failed."""
_TICK_S = 0.1
_ESCAPES = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)?|[@-_])")
_COLOURS = {"done": "\x1b[34m", "failed": "\x1b[31m", "warning": "\x1b[33m"}
_PLAIN = "\x1b[0m"


@dataclass
class _Running:
    step: BuildStep
    began: float
    tail: deque[str] = field(default_factory=lambda: deque(maxlen=KEPT))
    statuses: dict[str, str] = field(default_factory=dict)


class Terminal:
    """Draws at most ten times a second; a thread lets the time pass while nothing is heard."""

    def __init__(self, out: TextIO) -> None:
        self._out = out
        self._colours = {} if os.environ.get("NO_COLOR") else _COLOURS
        self._began = time.monotonic()
        self._running: dict[int, _Running] = {}
        self._lines = steps.Lines()
        self._begun = self._done = self._total = 0
        self._drawn = 0
        self._waiting: list[str] = []
        self._lock = threading.Lock()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._tick, daemon=True)
        self._thread.start()

    def hear(self, event: BuildEvent) -> None:
        """Remember it; it is drawn soon."""
        with self._lock:
            kind = event.WhichOneof("event")
            if kind is not None:
                handler = getattr(self, f"_{kind}", None)
                if handler is not None:
                    handler(event)

    def close(self, *, failed: bool) -> None:
        """Leave what was done, and one line of the whole, on the screen."""
        self._over.set()
        self._thread.join()
        with self._lock:
            self._running.clear()
            word, colour = ("FAILED", "failed") if failed else ("FINISHED", "done")
            self._say(f"{self._head()} {word}", colour)
            self._draw(last=True)

    # events
    def _plan(self, event: BuildEvent) -> None:
        plan: BuildPlan = event.plan
        self._total = plan.steps

    def _step(self, event: BuildEvent) -> None:
        self._begun += 1
        self._running[event.step.id] = _Running(event.step, time.monotonic())

    def _log(self, event: BuildEvent) -> None:
        running = self._running.get(event.log.step)
        if running is not None:
            running.tail.extend(map(_clean, self._lines.of(event)))

    def _status(self, event: BuildEvent) -> None:
        running = self._running.get(event.status.step)
        if running is None:
            return
        status = event.status
        name = (status.image.layer if status.HasField("image") else "") or status.id
        running.statuses.pop(name, None)
        if not status.done:
            running.statuses[name] = _clean(steps.status_text(status))

    def _step_done(self, event: BuildEvent) -> None:
        done = event.step_done
        running = self._running.pop(done.id, None)
        if running is None:
            return
        running.tail.extend(map(_clean, self._lines.rest(done.id)))
        self._done += 1
        name, took = running.step.name, f"{steps.seconds(running.step, done):.1f}s"
        if done.canceled:
            self._say(self._timed(f" => CANCELED {name}", took), "warning")
        elif not steps.shown(running.step) and not done.error:
            return
        elif done.error:
            self._say(self._timed(f" => ERROR {name}", took), "failed")
            rule = "------"
            tail = [f" > {name}:", *running.tail] if running.tail else []
            for line in [rule, *tail, rule] if tail else []:
                self._waiting.append(line)
        else:
            cached = "CACHED " * done.cached
            self._say(self._timed(f" => {cached}{name}", took), "done")

    def _warning(self, event: BuildEvent) -> None:
        warned = event.warning
        where = f"{warned.file}:{warned.line}: " if warned.line else ""
        self._say(f"WARN: {where}{_clean(warned.text)}", "warning")

    # drawing
    def _tick(self) -> None:
        while not self._over.wait(_TICK_S):
            with self._lock:
                self._draw()

    def _head(self) -> str:
        took = time.monotonic() - self._began
        total = max(self._total, self._begun)
        return f"[+] Building {took:.1f}s ({self._done}/{total})"

    def _region(self, width: int, height: int) -> list[str]:
        """The lines of what runs, the newest steps last, cut to the terminal."""
        lines = [self._head()]
        now = time.monotonic()
        for running in self._running.values():
            name = f" => {_clean(running.step.name)}"
            lines.append(self._timed(name, f"{now - running.began:.1f}s"))
            lines += [f" => => {text}" for text in list(running.statuses.values())[-TAIL:]]
            lines += [f" => => # {text}" for text in list(running.tail)[-TAIL:]]
        if len(lines) > height:
            lines = [lines[0], *lines[len(lines) - height + 1 :]] if height > 1 else lines[:height]
        return [cut(line, width) for line in lines]

    def _timed(self, text: str, took: str) -> str:
        width = shutil.get_terminal_size().columns - 1
        text = cut(_clean(text), max(width - len(took) - 1, 10))
        return text + " " * max(width - columns(text) - len(took), 1) + took

    def _say(self, text: str, colour: str) -> None:
        """For good, above the region."""
        before = self._colours.get(colour, "")
        self._waiting.append(f"{before}{text}{_PLAIN if before else ''}")

    def _draw(self, *, last: bool = False) -> None:
        size = shutil.get_terminal_size()
        region = [] if last else self._region(size.columns - 1, max(size.lines - 1, 1))
        text = f"\x1b[{self._drawn}A\r" if self._drawn else "\r"
        text += "\x1b[J"
        text += "".join(f"{line}\n" for line in [*self._waiting, *region])
        self._waiting.clear()
        self._drawn = len(region)
        self._out.write(text)
        self._out.flush()


def _clean(text: str) -> str:
    """Without what would move the cursor."""
    plain = _ESCAPES.sub("", text).expandtabs(8)
    return "".join(c for c in plain if c.isprintable())


def columns(text: str) -> int:
    """How wide a terminal shows it."""
    wide = sum(unicodedata.east_asian_width(c) in "WF" for c in text)
    return len(text) + wide - sum(unicodedata.combining(c) != 0 for c in text)


def cut(text: str, width: int) -> str:
    """As much of it as has room."""
    if columns(text) <= width:
        return text
    found, used = "", 0
    for char in text:
        used += columns(char)
        if used > width:
            break
        found += char
    return found
