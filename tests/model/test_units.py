"""Durations, sizes and CPUs as users write them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from swarmlite.errors import InvalidSpec
from swarmlite.model import units


@pytest.mark.parametrize(
    ("text", "nanoseconds", "printed"),
    [
        ("0", 0, "0s"),
        ("10s", 10 * units.SECOND, "10s"),
        ("1h30m", 5400 * units.SECOND, "1h30m0s"),
        ("90m", 5400 * units.SECOND, "1h30m0s"),
        ("1.5s", 1_500_000_000, "1.5s"),
        (".5s", 500_000_000, "500ms"),
        ("1m1ms", 60_001_000_000, "1m0.001s"),
        ("250us", 250_000, "250µs"),
        ("7ns", 7, "7ns"),
        ("-2ms", -2_000_000, "-2ms"),
        ("2160h", 2160 * 3600 * units.SECOND, "2160h0m0s"),
    ],
)
def test_durations_are_gos(text: str, nanoseconds: int, printed: str) -> None:
    assert units.parse_duration(text) == nanoseconds
    assert units.format_duration(nanoseconds) == printed


@pytest.mark.parametrize(
    "text", ["", "10", "s", "10 s", "1d", "1h-", "--1s", "1s\n", "٣s", "9" * 30 + "h", "9" * 50_000]
)
def test_what_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(InvalidSpec):
        units.parse_duration(text)


@given(st.integers(-(2**62), 2**62))
def test_a_printed_duration_is_read_back(nanoseconds: int) -> None:
    assert units.parse_duration(units.format_duration(nanoseconds)) == nanoseconds


@given(st.integers(0, 2**60))
def test_a_duration_message_keeps_its_nanoseconds(nanoseconds: int) -> None:
    assert units.duration(nanoseconds).ToNanoseconds() == nanoseconds


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("0", 0),
        ("1024", 1024),
        ("512m", 512 * 2**20),
        ("512MB", 512 * 2**20),
        ("1.5GiB", 3 * 2**29),
        ("64 kB", 64 * 1024),
        ("1t", 2**40),
    ],
)
def test_sizes_are_powers_of_1024(text: str, size: int) -> None:
    assert units.parse_bytes(text) == size


@pytest.mark.parametrize("text", ["", "m", "-1", "1e9", "12x", "0x10", "1..5g", "9" * 30])
def test_what_is_no_size_is_refused(text: str) -> None:
    with pytest.raises(InvalidSpec):
        units.parse_bytes(text)


def test_sizes_print_as_docker_prints_them() -> None:
    assert units.format_bytes(512 * 2**20) == "512MiB"
    assert units.format_bytes(3 * 2**29) == "1.5GiB"
    assert units.format_size(4_261_550) == "4.26MB"
    assert units.format_size(0) == "0B"


@given(st.integers(0, 10**15))
def test_printed_cpus_are_read_back(nano: int) -> None:
    assert units.parse_cpus(units.format_cpus(nano)) == nano


@pytest.mark.parametrize("text", ["", "a", "-1", "1e3", "NaN", "inf", "0.0000000001"])
def test_what_is_no_number_of_cpus_is_refused(text: str) -> None:
    with pytest.raises(InvalidSpec):
        units.parse_cpus(text)
