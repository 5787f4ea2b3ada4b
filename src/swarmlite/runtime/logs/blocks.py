r"""A block of a log file as text, without an object a line: for whoever wants no more than text.

A block is taken apart here only where each of its lines is as the supervisor writes it:
`{"log":"TEXT","stream":"stdout","time":"2024-05-01T12:00:00.123456789Z"}`, with the same `attrs`
before the time in all. Quotes inside of a text are escaped, so that what stands between two texts
is found by one search for the whole block; texts are unescaped together, as one string of JSON.
For anything else (a torn line, one of another writer) `columns` is None, and `lines` reads it.
"""

from __future__ import annotations

import functools
import itertools
import json
import re
import time
from typing import NamedTuple

_HEAD, _STREAM, _TIME = b'{"log":"', b'","stream":"', b',"time":"'
_BETWEEN = b'"}\n' + _HEAD  # from the end of a time to the text of the next line
_STAMP = 30  # characters of a time, always with nanoseconds
_TEXT_AT = _STAMP + len(_BETWEEN)
_ENDED, _DOUBTFUL = b"\\n", b"\\\\n"


class Columns(NamedTuple):
    """The lines of one block: `texts` as they are escaped in the file, `times` as written."""

    streams: list[str]
    """Of each line; of one only where all lines are of the same."""
    times: list[bytes]
    texts: list[bytes]
    attrs: bytes
    """JSON, as it stands in each line; empty for none."""

    def ended(self) -> bool:
        """Whether each text is a whole line; false also where only a parser could say."""
        return all(text[-2:] == _ENDED and text[-3:] != _DOUBTFUL for text in self.texts)


def columns(block: bytes) -> Columns | None:
    """Whole lines of the file; None where they are not all alike."""
    first = block[: block.find(b"\n")]
    text_end, time_at = first.find(_STREAM), len(first) - _STAMP - 2
    between = first[text_end:time_at]
    stream_end = between.find(b'"', len(_STREAM)) + 1
    if text_end < len(_HEAD) or not between.endswith(_TIME) or not stream_end:
        return None
    attrs = between[stream_end : -len(_TIME)]
    stream = between[len(_STREAM) : stream_end - 1].decode("ascii", "replace")
    streams, pieces = [stream], block.split(between)
    if len(pieces) - 1 != block.count(b"\n"):
        parts = _separators(attrs).split(block)
        streams, pieces = [name.decode() for name in parts[1::2]], parts[0::2]
        if len(streams) != block.count(b"\n"):
            return None
    return _columns(streams, pieces, attrs)


def _columns(streams: list[str], pieces: list[bytes], attrs: bytes) -> Columns | None:
    """Of what stands around the separators: the first text, times with the next text, a time."""
    inner = pieces[1:-1]
    if (
        not pieces[0].startswith(_HEAD)
        or len(pieces[-1]) != _STAMP + 3
        or pieces[-1][_STAMP:] != b'"}\n'
        or any(piece[_STAMP:_TEXT_AT] != _BETWEEN for piece in inner)
    ):
        return None
    texts = [pieces[0][len(_HEAD) :], *[piece[_TEXT_AT:] for piece in inner]]
    times = [piece[:_STAMP] for piece in pieces[1:]]
    return Columns(streams, times, texts, attrs.removeprefix(b',"attrs":'))


@functools.lru_cache(16)
def _separators(attrs: bytes) -> re.Pattern[bytes]:
    return re.compile(_STREAM + b'(stdout|stderr)"' + re.escape(attrs + _TIME))


def joined(
    found: Columns, before: bytes = b"", *, timestamps: bool = False
) -> list[tuple[str, bytes]] | None:
    """Streams and their text, neighbouring lines of one stream as one; None if it is not JSON.

    Each line begins with its time and a space if asked for, then `before`, which needs no escape.
    """
    texts = found.texts
    if timestamps:
        before = b" " + before
        texts = [time + before + text for time, text in zip(found.times, texts, strict=True)]
    elif before:
        texts = [before + text for text in texts]
    if len(found.streams) == 1:
        streams, groups = found.streams, [b"".join(texts)]
    else:
        lines = zip(found.streams, texts, strict=True)
        runs = [
            (name, b"".join([text for _, text in run]))
            for name, run in itertools.groupby(lines, lambda line: line[0])
        ]
        streams, groups = [name for name, _ in runs], [text for _, text in runs]
    try:
        unescaped = json.loads(b'["' + b'","'.join(groups) + b'"]')
        encoded = [text.encode("utf-8", "surrogateescape") for text in unescaped]
    except (ValueError, AttributeError):
        return None
    return list(zip(streams, encoded, strict=True)) if len(encoded) == len(streams) else None


def written(time_ns: int) -> bytes:
    """A time as it stands in the file: these compare as the times do."""
    seconds, nanoseconds = divmod(time_ns, 10**9)
    clock = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds))
    return f"{clock}.{nanoseconds:09d}Z".encode()
