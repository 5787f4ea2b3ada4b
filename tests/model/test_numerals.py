"""Whole numbers of any length."""

from __future__ import annotations

import pytest

from swarmlite.errors import InvalidSpec
from swarmlite.model import generic_resources, timestamps
from swarmlite.model.numerals import decimal


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("1", 1), ("65535", 65535), ("007", 7), ("0" * 5000 + "80", 80), ("0", None),
        ("65536", None), ("9" * 5000, None), ("", None), ("-1", None), ("+1", None), (" 1", None),
        ("1_0", None), ("\u0663", None), ("\u00b2", None), ("0x10", None), ("1.0", None),
    ],
)  # fmt: skip
def test_a_number_within_bounds_or_none(text: str, number: int | None) -> None:
    assert decimal(text, 1, 65535) == number


@pytest.mark.parametrize("text", ["gpu=" + "9" * 30, "gpu=" + "9" * 120])
def test_a_node_s_count_is_one_that_can_be_stored(text: str) -> None:
    with pytest.raises(InvalidSpec, match="a count is"):
        generic_resources.parse([text])


@pytest.mark.parametrize("text", ["9" * 5000, "\u00b2", "9" * 20, "1.5x", "1."])
def test_what_is_no_time_is_refused(text: str) -> None:
    with pytest.raises(InvalidSpec):
        timestamps.until_ns(text)
