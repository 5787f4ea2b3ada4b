"""Lines that change in place on a terminal, and are printed when they change elsewhere."""

from __future__ import annotations

import shutil
import sys
from typing import TextIO

_UP, _CLEAR = "\x1b[{}A", "\x1b[2K\r"


class Display:
    """Named lines. `show` them; `close` leaves them on the screen."""

    def __init__(self, out: TextIO | None = None, *, quiet: bool = False) -> None:
        self._out = out or sys.stdout
        self.speaks = not quiet
        self.terminal = self._out.isatty()
        self._lines: dict[str, str] = {}
        self._drawn = 0

    def show(self, lines: list[tuple[str, str]]) -> None:
        """These lines now say this; others stay as they are."""
        fresh = [(name, text) for name, text in lines if self._lines.get(name) != text]
        self._lines.update(lines)
        if not self.speaks or not fresh:
            return
        if self.terminal:
            self._redraw()
        else:
            for name, text in fresh:
                self._out.write(f"{name}: {text}\n".rstrip(" "))
        self._out.flush()

    def speak(self) -> None:
        """What was shown while it was quiet is seen from now on, and what follows."""
        self.speaks, lines, self._lines = True, self._lines, {}
        self.show(list(lines.items()))

    def forget(self, names: set[str]) -> None:
        """Take lines away, as when a service has fewer tasks now."""
        for name in names:
            self._lines.pop(name, None)

    @property
    def names(self) -> set[str]:
        """The lines that there are."""
        return set(self._lines)

    def _redraw(self) -> None:
        width = shutil.get_terminal_size().columns
        if self._drawn:
            self._out.write(_UP.format(self._drawn))
        for name, text in self._lines.items():
            line = f"{name}: {text}"[: max(width - 1, 20)]
            self._out.write(f"{_CLEAR}{line}\n")
        for _ in range(self._drawn - len(self._lines)):
            self._out.write(f"{_CLEAR}\n")
        self._drawn = max(self._drawn, len(self._lines))
