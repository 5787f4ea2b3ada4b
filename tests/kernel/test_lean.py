"""The kernel room stands on the standard library only, and errors of calls are OSErrors."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

import swarmlite
from swarmlite.kernel import mounting, namespaces, paths

ROOM = Path(swarmlite.__file__).parent / "kernel"
MODULES = sorted(path.stem for path in ROOM.glob("*.py") if path.stem != "__init__")


def test_every_module_loads_without_site_packages_and_without_the_rest_of_swarmlite() -> None:
    """As the supervisor and the runtime load it."""
    program = (
        f"import sys; sys.path.insert(0, {str(ROOM.parent.parent)!r})\n"
        f"import {', '.join(f'swarmlite.kernel.{name}' for name in MODULES)}\n"
        "own = [m for m in sys.modules if m.startswith('swarmlite.')]\n"
        "assert all(m.startswith('swarmlite.kernel') for m in own), own\n"
        "assert not {'asyncio', 'typing', 'subprocess'} & set(sys.modules), sorted(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-I", "-S", "-c", program], check=True, timeout=30)


def test_a_call_that_fails_says_which_and_why(tmp_path: Path) -> None:
    """errno is kept, and the words name the call."""
    directory = os.open(tmp_path, os.O_RDONLY | os.O_CLOEXEC)
    with pytest.raises(OSError, match="setns: Invalid argument") as refused:
        namespaces.setns(directory, namespaces.CLONE_NEWNET)
    os.close(directory)
    assert refused.value.errno == errno.EINVAL
    with pytest.raises(OSError, match="umount: ") as refused:
        mounting.umount(os.fsencode(tmp_path))
    assert refused.value.errno in (errno.EINVAL, errno.EPERM)


def test_a_path_is_opened_inside_its_root(tmp_path: Path) -> None:
    """Links, absolute ones too, lead nowhere but inside; without `follow` they are ELOOP."""
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/name").write_text("inside")
    (tmp_path / "link").symlink_to("/etc/name")
    root = os.open(tmp_path, os.O_PATH | os.O_CLOEXEC)
    try:
        with os.fdopen(paths.open_in_root(root, "link", os.O_RDONLY)) as file:
            assert file.read() == "inside"
        with pytest.raises(OSError) as refused:
            paths.open_in_root(root, "link", os.O_RDONLY, follow=False)
        assert refused.value.errno == errno.ELOOP
    finally:
        os.close(root)
