"""A real systemd, first in namespaces of its own, with no units but ours; and runtimes in there."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from oci_world import OURS, Runtime

from swarmlite.runtime.cgroups import base

SYSTEMD = "/lib/systemd/systemd"
WAIT_S = 120.0
#: It sees groups, files of /run and sysctls of its own only; the first word is what it does then.
SCRIPT = r"""
set -eu
mount --make-rprivate /
mount -t proc proc /proc
mount --bind /proc/sys /proc/sys
mount -o remount,bind,ro /proc/sys
mount -t tmpfs -o mode=755 tmpfs /run
hierarchies=$1
umount -R /sys/fs/cgroup
if [ "$hierarchies" = v2 ]; then
    mount -t cgroup2 cgroup2 /sys/fs/cgroup
else
    mount -t tmpfs -o mode=755 tmpfs /sys/fs/cgroup
    for options in $hierarchies; do
        name=${options#name=}
        mkdir "/sys/fs/cgroup/$name"
        case $options in
        unified) mount -t cgroup2 cgroup2 /sys/fs/cgroup/unified ;;
        name=*) mount -t cgroup -o "none,$options" cgroup "/sys/fs/cgroup/$name" ;;
        *) mount -t cgroup -o "$options" cgroup "/sys/fs/cgroup/$name" ;;
        esac
    done
fi
export container=other SYSTEMD_LOG_TARGET=console
export SYSTEMD_UNIT_PATH="$2:/run/systemd/transient:/run/systemd/system.control"
exec "$3" --system --unit=default.target --show-status=no
"""
JOIN = 'for group in $1; do echo $$ > "$group/cgroup.procs"; done; shift; exec "$@"'
NAMESPACES = ("--mount", "--pid", "--uts", "--ipc", "--net", "--cgroup")
UNIT = "[Unit]\nDescription=nothing\nDefaultDependencies=no\nAllowIsolate=yes\n"


def hindrance(kind: str) -> str:
    """Why there can be no systemd here on such cgroups; empty where there can."""
    if not Path(SYSTEMD).exists() or shutil.which("systemctl") is None:
        return "needs systemd's program (apt install systemd)"
    found = mounted()
    if kind == "v2" and not any(options == "unified" for options in found):
        return "this host has no unified hierarchy"
    if kind == "hybrid" and "name=systemd" not in found:
        return "this host has no v1 hierarchies with one of systemd's"
    said = subprocess.run([SYSTEMD, "--version"], capture_output=True, text=True, check=True).stdout
    if kind == "hybrid" and int(re.findall(r"\d+", said)[0]) >= 256:
        return "this systemd refuses v1"
    return ""


def mounted() -> dict[str, Path]:
    """The hierarchies of this host: v1's mount options (`unified` for v2), and where they are."""
    found = {}
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        before, _, after = line.partition(" - ")
        where, (kind, _, options) = before.split()[4], after.split()[:3]
        if kind == "cgroup2":
            found["unified"] = Path(where)
        elif kind == "cgroup":
            found[",".join(o for o in options.split(",") if o not in ("rw", "xattr"))] = Path(where)
    return found


class Systemd:
    """It runs; `kind` is that of its cgroups: hybrid or v2."""

    def __init__(self, kind: str, pid: int, groups: list[Path]) -> None:
        self.kind, self.pid, self.groups = kind, pid, groups

    def words(self, *words: str) -> list[str]:
        """A command line in there."""
        return ["nsenter", "-t", str(self.pid), "-m", "-p", "-C", "--wd=/", "--", *words]

    def try_do(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Run it in there."""
        return subprocess.run(
            self.words(*words), capture_output=True, text=True, timeout=WAIT_S, check=False,
            stdin=subprocess.DEVNULL,
        )  # fmt: skip

    def do(self, *words: str) -> str:
        """What it prints; it must succeed."""
        done = self.try_do(*words)
        assert done.returncode == 0, (words, done.stdout, done.stderr)
        return done.stdout

    def shows(self, unit: str, name: str) -> str:
        """A property of a unit."""
        return self.do("systemctl", "show", unit, "--value", "-p", name).strip()

    def until_gone(self, unit: str) -> None:
        """Wait until it has forgotten the units of that name, which takes it a turn of its loop."""
        deadline = time.monotonic() + WAIT_S
        words = ("systemctl", "list-units", "--all", "--plain", "--no-legend", unit)
        while (said := self.do(*words)) or self._groups(unit):
            assert time.monotonic() < deadline, (said, self._groups(unit))
            time.sleep(0.05)

    def _groups(self, unit: str) -> list[Path]:
        return [path for group in self.groups for path in group.rglob(unit)]


class InSystemd(Runtime):
    """Ours, typed in there with --systemd-cgroup."""

    systemd: Systemd

    def words(self, *words: str | Path) -> list[str]:
        """The whole command line."""
        ours = [*OURS, "--root", str(self.root), "--systemd-cgroup", *(str(word) for word in words)]
        return self.systemd.words(*ours)


@contextmanager
def systemd(kind: str, folder: Path) -> Iterator[Systemd]:
    """One of these cgroups, which leaves nothing behind."""
    (folder / "default.target").write_text(UNIT)
    name = f"swarmlite-systemd-{os.getpid()}"
    there = mounted()
    groups = [where / name for where in there.values()]
    for group in groups:
        _make(group)
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(
            ["sh", "-c", JOIN, "sh", " ".join(map(str, groups)),
             "unshare", *NAMESPACES, "--fork", "--kill-child", "sh", "-c", SCRIPT, "sh",
             "v2" if kind == "v2" else " ".join(there), str(folder), SYSTEMD],
            stdin=subprocess.DEVNULL, stdout=log, stderr=log,
        )  # fmt: skip
    try:
        made = Systemd(kind, _child(process, folder), groups)
        deadline = time.monotonic() + WAIT_S
        while made.try_do("systemctl", "is-active", "default.target").returncode:
            assert process.poll() is None and time.monotonic() < deadline, (
                folder / "log"
            ).read_text()
            time.sleep(0.1)
        yield made
    finally:
        process.kill()
        process.wait()
        deadline = time.monotonic() + WAIT_S
        while [group for group in groups if not base.remove(str(group))]:
            assert time.monotonic() < deadline, "its groups stay"
            time.sleep(0.05)


def _make(group: Path) -> None:
    group.mkdir()
    for name in ("cpuset.cpus", "cpuset.mems"):  # v1's takes no process before
        above = group.parent / name
        if above.exists() and not (group / name).read_text().strip():
            (group / name).write_text(above.read_text())


def _child(process: subprocess.Popen[bytes], folder: Path) -> int:
    """The first process of its namespaces, once it is systemd."""
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    deadline = time.monotonic() + WAIT_S
    while process.poll() is None and time.monotonic() < deadline:
        for pid in children.read_text().split():
            if os.path.realpath(f"/proc/{pid}/exe") == os.path.realpath(SYSTEMD):
                return int(pid)
        time.sleep(0.02)
    raise AssertionError((folder / "log").read_text())
