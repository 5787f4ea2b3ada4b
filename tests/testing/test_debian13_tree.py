"""deploy/debian13.sh in a tree that busybox fills: what it runs, and that nothing of it stays."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from swarmlite.testing import images

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "deploy" / "debian13.sh"

PROGRAMS = (
    "cat",
    "env",
    "kill",
    "ls",
    "mkdir",
    "mount",
    "pivot_root",
    "sh",
    "sleep",
    "touch",
    "umount",
)
pytestmark = [
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root"),
    pytest.mark.skipif(not images.BUSYBOX.is_file(), reason="busybox-static is not installed"),
    pytest.mark.skipif(not (ROOT / ".git").exists(), reason="copies what git lists: no clone here"),
]


@pytest.fixture
def tree(tmp_path: Path) -> Iterator[Path]:
    """A folder with a tree that needs no debootstrap."""
    root = tmp_path / "made" / "tree"
    for name in ("bin", "dev", "etc", "proc", "root", "run", "sys", "tmp"):
        (root / name).mkdir(parents=True)
    (root / "bin/busybox").write_bytes(images.BUSYBOX.read_bytes())
    (root / "bin/busybox").chmod(0o755)
    for name in [
        "cat",
        "env",
        "kill",
        "ls",
        "mkdir",
        "mount",
        "pivot_root",
        "sh",
        "sleep",
        "touch",
        "umount",
    ]:
        (root / "bin" / name).symlink_to("busybox")
    yield root
    assert str(tmp_path) not in Path("/proc/self/mountinfo").read_text()
    until(lambda: not inhabitants(root))


def start(tree: Path, *command: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [SCRIPT, *command],
        env={**os.environ, "SWARMLITE_DEBIAN13": str(tree.parent)},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def inhabitants(tree: Path) -> list[int]:
    """Processes whose root is the tree."""
    wanted = tree.stat()
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            root = (folder / "root").stat()
        except OSError:
            continue
        if (root.st_dev, root.st_ino) == (wanted.st_dev, wanted.st_ino):
            found.append(int(folder.name))
    return found


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_a_command_runs_in_a_copy_of_the_clone_and_gives_its_exit_code(tree: Path) -> None:
    running = start(tree, "sh", "-c", "ls / /proc/1/exe; cat pyproject.toml; exit 7")
    said, _ = running.communicate(timeout=60)
    assert running.returncode == 7, said
    assert 'name = "swarmlite"' in said
    assert "old" in said.split()
    assert "boot" not in said.split()


def test_cgroups_that_its_clusters_left_are_removed(tree: Path) -> None:
    name = f"/swarmlite-left{os.getpid()}"
    group = next(p for p in Path("/sys/fs/cgroup").rglob("cgroup.procs")).parent / name[1:]
    (group / "inner").mkdir(parents=True)
    note = tree / "tmp/swl-x/owner.json"
    note.parent.mkdir()
    note.write_text(f'{{"pid": 1, "start_ticks": 1, "cgroup_parent": "{name}"}}')
    start(tree, "sh", "-c", "exit 0").communicate(timeout=60)
    assert not group.exists()
    assert not note.parent.exists()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_when_it_is_interrupted_the_command_may_clean_up_and_nothing_stays(
    tree: Path, number: signal.Signals
) -> None:
    script = "trap 'touch /root/cleaned; exit 3' TERM; touch /root/up; while :; do sleep 0.1; done"
    running = start(tree, "sh", "-c", script)
    until((tree / "root/up").exists)
    running.send_signal(number)
    running.communicate(timeout=60)
    assert running.returncode == 128 + number
    assert (tree / "root/cleaned").exists()


def test_when_it_is_killed_the_command_ends_with_it(tree: Path) -> None:
    running = start(tree, "sh", "-c", "trap '' TERM; touch /root/up; while :; do sleep 1; done")
    until((tree / "root/up").exists)
    assert inhabitants(tree)
    running.kill()
    running.communicate(timeout=60)
    until(lambda: not inhabitants(tree))


def test_one_run_at_a_time_uses_a_tree(tree: Path) -> None:
    first = start(tree, "sh", "-c", "touch /root/up; while :; do sleep 1; done")
    until((tree / "root/up").exists)
    second = start(tree, "sh", "-c", "exit 0")
    said, _ = second.communicate(timeout=60)
    assert second.returncode == 1
    assert "another run uses" in said
    first.terminate()
    first.communicate(timeout=60)
