"""Everything that is wrong with a file at once, a line each, and not the first thing only."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from swarmlite.errors import InvalidSpec

MAX_LINES = 20


class Several(InvalidSpec):
    """More than one error; `lines` has each."""

    def __init__(self, lines: list[str]) -> None:
        shown = list(dict.fromkeys(lines))
        if len(shown) > MAX_LINES:
            left = len(shown) - MAX_LINES
            shown = [*shown[:MAX_LINES], f"and {left} more"]
        super().__init__("; ".join(shown))
        self.lines = shown


class Problems:
    """Collects errors: `with problems.gather(): ...` as often as wanted, then `settle`."""

    def __init__(self) -> None:
        self._lines: list[str] = []

    def __bool__(self) -> bool:
        return bool(self._lines)

    @contextmanager
    def gather(self, where: str = "") -> Iterator[None]:
        """What goes wrong inside is kept, and does not keep the rest from being looked at."""
        try:
            yield
        except Several as error:
            self._lines += [f"{where}{line}" for line in error.lines]
        except InvalidSpec as error:
            self._lines.append(f"{where}{error}")

    def settle(self) -> None:
        """Raise what was gathered, if anything was."""
        if len(self._lines) == 1:
            raise InvalidSpec(self._lines[0])
        if self._lines:
            raise Several(self._lines)
