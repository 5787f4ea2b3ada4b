"""Overlays of many layers, on kernels that take them one by one and on those that do not."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = """
import errno, os, sys
from swarmlite.kernel import mounting
from swarmlite.runtime.supervisor import layers
scratch, lowers, one_by_one = sys.argv[1], sys.argv[2], sys.argv[3] == "True"
real = mounting.new_filesystem
def as_before_linux_6_8(kind, data, attributes):
    if any(key == b"lowerdir+" for key, _ in data):
        raise OSError(errno.EINVAL, "lowerdir+")
    return real(kind, data, attributes)
if not one_by_one:
    mounting.new_filesystem = as_before_linux_6_8
data = [(b"source", b"overlay"), (b"ro", None), (b"lowerdir", lowers.encode())]
tree = layers.overlay(data, mounting.MOUNT_ATTR_RDONLY, scratch.encode())
print(len(os.listdir(f"/proc/self/fd/{tree}")))
part = layers.part_of(tree, b"d7", scratch.encode())
print(os.listdir(f"/proc/self/fd/{part}"), os.listdir(scratch))
try:
    open(f"/proc/self/fd/{part}/x", "w")
except OSError as error:
    print(error.strerror)
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root: mounts")
@pytest.mark.parametrize("one_by_one", [True, False])
def test_an_overlay_has_as_many_layers_as_it_was_given(tmp_path: Path, one_by_one: bool) -> None:
    """Longer than an option of fsconfig(2); a part of it is a mount, and nothing else stays."""
    lowers = [tmp_path / f"a-layer-with-a-long-name-{number:040}" for number in range(9)]
    for number, lower in enumerate(lowers):
        (lower / f"d{number}").mkdir(parents=True)
        (lower / f"d{number}" / "f").touch()
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    names = ":".join(map(str, lowers))
    done = subprocess.run(
        ["unshare", "--mount", sys.executable, "-c", SCRIPT, scratch, names, str(one_by_one)],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == ["9", "['f'] []", "Read-only file system"]
