"""What the kernel says of its file systems."""

from __future__ import annotations

from swarmlite.kernel.mounting import has_filesystem


def test_a_file_system_is_there_or_is_not() -> None:
    """One in a module that nobody has needed yet is asked for in tests/vm."""
    assert has_filesystem("overlay")
    assert has_filesystem("tmpfs")
    assert not has_filesystem("nosuchfs")
    assert not has_filesystem("nodev")
