"""A template as literal text and actions, and what one may make: each character is looked at once.

Templates are hostile input: bounds on text, actions and what comes of them are applied while it
grows.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from swarmlite.errors import InvalidSpec

MAX_TEXT = 1024 * 1024
"""Characters of a template."""
MAX_ACTION = 4096
"""Characters between {{ and }}."""
MAX_ACTIONS = 10_000
"""Those that are run: a loop's count each time."""
MAX_RESULT = 1024 * 1024
"""Characters that come of one template, or of all that a container has."""
MAX_WORK = 16 * MAX_RESULT
"""Characters that functions may look at."""

SHOWN = 60
_SPACE = " \t\r\n"
QUOTED = re.compile(r'"(?:\\.|[^"\\])*+"|`[^`]*+`')


class Budget:
    """What one expansion, or several that belong together, may still make."""

    def __init__(self, characters: int = MAX_RESULT, actions: int = MAX_ACTIONS) -> None:
        self._characters = characters
        self._actions = actions
        self._work = MAX_WORK

    def take(self, text: str) -> str:
        """`text`, counted. Raises InvalidSpec once there is too much."""
        self._characters -= len(text)
        if self._characters < 0:
            raise InvalidSpec(f"template: its result has more than {MAX_RESULT} characters")
        return text

    def act(self) -> None:
        """Count one action. Raises InvalidSpec once there are too many."""
        self._actions -= 1
        if self._actions < 0:
            raise InvalidSpec(f"template: it has more than {MAX_ACTIONS} actions")

    def work(self, characters: int) -> None:
        """Count what a function looks at. Raises InvalidSpec once it is too much."""
        self._work -= characters
        if self._work < 0:
            raise InvalidSpec(f"template: its functions look at more than {MAX_WORK} characters")


def pieces(text: str) -> Iterator[tuple[str, str | None]]:
    """Literal text and the action after it, in order; None after the last text.

    Each character is looked at once: what is not closed is refused where it opens.
    """
    position, trim = 0, False
    while True:
        opened = text.find("{{", position)
        literal = text[position:] if opened < 0 else text[position:opened]
        if trim:
            literal = literal.lstrip(_SPACE)
        if opened < 0:
            yield literal, None
            return
        start = opened + 2
        if text.startswith("- ", start):
            literal, start = literal.rstrip(_SPACE), start + 2
        end = _end_of_action(text, start, opened)
        body = text[start:end]
        trim = body.endswith(" -")
        yield literal, body.removesuffix(" -")
        position = end + 2


def _end_of_action(text: str, start: int, opened: int) -> int:
    """Where the }} of an action stands, outside of its quotes. Raises InvalidSpec."""
    position, last = start, min(len(text), start + MAX_ACTION)
    if text.startswith("/*", start):
        closed = text.find("*/", start + 2, last)
        position = closed + 2 if closed >= 0 else last
    while position < last:
        if text.startswith("}}", position):
            return position
        if text[position] in '"`':
            token = QUOTED.match(text, position, last)
            if token is None:
                break
            position = token.end()
        else:
            position += 1
    shown = text[opened : opened + SHOWN]
    raise InvalidSpec(
        f"template {shown!r}: an action that opens with {{{{ is not closed within {MAX_ACTION}"
        " characters"
    )
