"""What commands keep beside the compiled Python: the code of their modules, and filters."""

from __future__ import annotations

import marshal
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import swarmlite
from swarmlite.runtime.seccomp import kept
from swarmlite.runtime.seccomp.cache import Cache

PROFILE = {"defaultAction": "SCMP_ACT_ERRNO", "syscalls": []}
NARROW = {**PROFILE, "syscalls": [{"names": ["execve", "write"], "action": "SCMP_ACT_ALLOW"}]}
REPORT = """
import sys
sys.path.insert(0, sys.argv[1])
from swarmlite.runtime.command import packed
found = packed.use("run")
print(found)
from swarmlite.runtime.command import create
print(type(create.__loader__).__name__)
if not found:
    packed.keep("run")
"""


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """The package, where it can be changed."""
    package = Path(swarmlite.__file__).parent
    for name in ("__init__.py", "errors.py", "kernel", "runtime"):
        source, target = package / name, tmp_path / "swarmlite" / name
        if source.is_dir():
            shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            target.parent.mkdir(exist_ok=True)
            shutil.copy(source, target)
    return tmp_path


def report(copy: Path) -> list[str]:
    """Whether the modules were packed, and who loaded one of them."""
    command = [sys.executable, "-I", "-S", "-c", REPORT, str(copy)]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()


def test_modules_come_from_one_file_until_a_source_changes(copy: Path) -> None:
    assert report(copy) == ["False", "SourceFileLoader"]
    assert report(copy) == ["True", "_Finder"]
    with (copy / "swarmlite/runtime/oci/mounts.py").open("a") as file:
        file.write("# changed\n")
    assert report(copy) == ["False", "SourceFileLoader"]
    assert report(copy) == ["True", "_Finder"]


def test_a_file_that_is_damaged_is_passed_over(copy: Path) -> None:
    report(copy)
    (packed,) = copy.glob("**/*.packed")
    for data in (b"", packed.read_bytes()[:1000], marshal.dumps(7)):
        packed.write_bytes(data)
        assert report(copy) == ["False", "SourceFileLoader"]


def test_a_kept_filter_is_that_of_its_profile_only(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "__pycache__").mkdir()
    monkeypatch.setattr(kept, "_path", lambda _key: str(tmp_path / "__pycache__/filter"))
    made = Cache().oci(PROFILE)
    first, again = Cache(on_disk=True).oci(PROFILE), Cache(on_disk=True).oci(PROFILE)
    assert first.code == again.code == made.code
    assert vars(again).keys() == vars(made).keys()
    for name in ("lets_fork", "lets_drop", "lets_spawn"):
        assert getattr(again, name) == getattr(made, name)
    assert Cache(on_disk=True).oci(NARROW).code == Cache().oci(NARROW).code != made.code


def test_a_filter_of_other_sources_is_made_again(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(kept, "_path", lambda _key: str(tmp_path / "filter"))
    kept.write("key", (b"code", 0, True, True))
    assert kept.read("key") == (b"code", 0, True, True)
    monkeypatch.setattr(kept, "_stamps", lambda: [(0, 0)])
    assert kept.read("key") is None
