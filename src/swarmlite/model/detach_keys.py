"""The keys that detach from a container: "ctrl-p,ctrl-q" unless said otherwise."""

from __future__ import annotations

from swarmlite.errors import InvalidSpec

DEFAULT = "ctrl-p,ctrl-q"
_CONTROL = "@abcdefghijklmnopqrstuvwxyz[\\]^_"


def parse(text: str) -> bytes:
    """The bytes of a sequence such as "ctrl-p,ctrl-q" or "ctrl-x,a". Raises InvalidSpec."""
    if not text:
        raise InvalidSpec("expected keys, for example ctrl-p,ctrl-q")
    return bytes(_key(word) for word in text.split(","))


def _key(word: str) -> int:
    name = word.strip().lower()
    if name.startswith("ctrl-") and len(name) == 6 and name[5] in _CONTROL:
        return _CONTROL.index(name[5])
    if len(word) == 1 and word.isascii() and word.isprintable():
        return ord(word)
    raise InvalidSpec(
        f"unknown character {word!r}: a key is one character or ctrl- and a letter or one of"
        " @ [ \\ ] ^ _"
    )


class Detector:
    """Watches what is typed for the sequence.

    The beginning of a sequence is held back until the next key shows what it was.
    """

    def __init__(self, sequence: bytes) -> None:
        self._sequence = sequence
        self._held = b""

    def feed(self, data: bytes) -> tuple[bytes, bool]:
        """What goes to the container, and whether the sequence was typed to its end.

        What follows the sequence is dropped.
        """
        out = bytearray()
        for value in data:
            self._held += bytes((value,))
            if self._held == self._sequence:
                return bytes(out), True
            while not self._sequence.startswith(self._held):
                out += self._held[:1]
                self._held = self._held[1:]
        return bytes(out), False
