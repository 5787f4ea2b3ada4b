"""The keys that detach are found wherever the bytes are cut, and nothing else is lost."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from swarmlite.errors import InvalidSpec
from swarmlite.model import detach_keys as keys


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("ctrl-p,ctrl-q", b"\x10\x11"),
        ("ctrl-@", b"\x00"),
        ("ctrl-[", b"\x1b"),
        ("ctrl-x,a,B", b"\x18aB"),
        ("a", b"a"),
    ],
)
def test_sequences(text: str, wanted: bytes) -> None:
    assert keys.parse(text) == wanted


@pytest.mark.parametrize("text", ["", "ctrl-", "ctrl-1", "ab", "ctrl-p,", "é"])
def test_what_is_no_sequence(text: str) -> None:
    with pytest.raises(InvalidSpec):
        keys.parse(text)


@given(st.lists(st.binary(max_size=4), max_size=8), st.binary(max_size=6))
def test_what_is_typed_before_the_sequence_arrives_whole(chunks: list[bytes], after: bytes) -> None:
    """However the bytes are cut; what follows the sequence is dropped."""
    sequence = b"\x10\x11"
    typed = b"".join(chunks).replace(sequence, b"")
    detector, out, found = keys.Detector(sequence), b"", False
    for value in typed + sequence + after:
        piece, found = detector.feed(bytes((value,)))
        out += piece
        if found:
            break
    assert found
    whole = (typed + sequence).index(sequence)
    assert out == typed[:whole]


def test_the_beginning_of_a_sequence_that_was_none_is_sent() -> None:
    detector = keys.Detector(b"\x10\x11")
    assert detector.feed(b"a\x10") == (b"a", False)
    assert detector.feed(b"b") == (b"\x10b", False)
    assert detector.feed(b"\x10\x10") == (b"\x10", False)
    assert detector.feed(b"\x11z") == (b"", True)
