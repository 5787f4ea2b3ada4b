"""The invariants of a cluster under faults, each a function that answers the violations it found.

They judge what `sampler` saw and what the kernel has, never what the program says of itself.
"""

from __future__ import annotations

import stat
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from itertools import pairwise
from pathlib import Path

from .host import CommandFailed, Host
from .sampler import CGROUPS, Seen, Use, cgroups, containers

Samples = Sequence[tuple[float, frozenset[Seen]]]
MORE_DESCRIPTORS = 40
MORE_BYTES = 100 * 1024**2
"""What a process may have more after a fault than before it."""


def untouched(before: Iterable[Seen], after: Collection[Seen]) -> list[str]:
    """Every container of `before` still runs, by the same pid and start time."""
    return [
        f"{seen.task} on {seen.host}: pid {seen.pid} is gone or another"
        for seen in before
        if seen not in after
    ]


def one_a_place(samples: Samples, grace_s: float) -> list[str]:
    """No service's slot is filled by two running containers for longer than `grace_s`."""
    since: dict[str, float] = {}
    found: dict[str, str] = {}
    for at, seen in samples:
        filled: dict[str, list[Seen]] = defaultdict(list)
        for container in seen:
            filled[container.place].append(container)
        double = {place for place, tasks in filled.items() if len(tasks) > 1}
        since = {place: since.get(place, at) for place in double}
        for place, begun in since.items():
            if at - begun > grace_s:
                where = sorted(f"{task.task}@{task.host}" for task in filled[place])
                found[place] = f"{place} is filled {len(where)} times for {at - begun:.1f} s"
                found[place] += f": {', '.join(where)}"
    return list(found.values())


def filled(samples: Samples, places: Iterable[str], longest_s: float) -> list[str]:
    """None of `places` is empty for longer than `longest_s`."""
    found: dict[str, str] = {}
    since: dict[str, float] = {}
    for at, seen in samples:
        live = {container.place for container in seen}
        since = {place: since.get(place, at) for place in places if place not in live}
        for place, begun in since.items():
            if at - begun > longest_s:
                found[place] = f"{place} was empty for {at - begun:.1f} s"
    return list(found.values())


def monotonic(seen: Mapping[str, Mapping[int, tuple[int, int]]]) -> list[str]:
    """A task's state and desired state only rise: `seen` is, by task, both at each version."""
    found = []
    for task, versions in seen.items():
        ordered = sorted(versions.items())
        for (_, before), (version, after) in pairwise(ordered):
            if after[0] < before[0] or after[1] < before[1]:
                found.append(f"task {task} fell from {before} to {after} at version {version}")
    return found


def bounded(before: Iterable[Use], after: Iterable[Use]) -> list[str]:
    """Descriptors and memory of no process of a node have grown by more than a few."""
    known = {(use.host, use.process): use for use in before}
    found = []
    for use in after:
        old = known.get((use.host, use.process))
        if old is None:
            continue
        if use.descriptors > old.descriptors + MORE_DESCRIPTORS:
            found.append(
                f"{use.process} of {use.host} had {old.descriptors} descriptors and has"
                f" {use.descriptors}"
            )
        if use.memory_bytes > old.memory_bytes + MORE_BYTES:
            found.append(
                f"{use.process} of {use.host} had {old.memory_bytes >> 20} MiB and has"
                f" {use.memory_bytes >> 20}"
            )
    return found


def leaks(host: Host) -> list[str]:
    """What a host has that no running container of its own explains.

    Looks at sandboxes' namespaces, veths, mounts, cgroups, bundles, the supervisor's records and
    the processes of the host's pid namespace. Networks' own namespaces (`net-*`) are not judged:
    they are there while the node has a task on them or knows of them.
    """
    running = {seen.container_id for seen in containers([host])}
    count = len(running)
    found = []
    netns = [
        p.name for p in host.paths.netns_dir.glob("*") if not p.name.startswith(("net-", "host"))
    ]
    if len(netns) > count:
        found.append(f"{len(netns)} sandboxes of {count} containers: {sorted(netns)}")
    found += _links(host, count)
    found += [
        f"cgroup {path} of no container"
        for root in (CGROUPS, *(p for p in CGROUPS.iterdir() if p.is_dir() and not p.is_symlink()))
        for path in _subfolders(root / host.cgroup_parent.lstrip("/"))
        if path.name not in running
    ]
    found += [
        f"bundle {path.parent.name} of no container"
        for path in host.bundles().glob("*/config.json")
        if path.parent.name not in running
    ]
    found += [
        f"the supervisor's record {path.name} of no container"
        for path in (host.paths.state_dir / "supervisor").glob("*.json")
        if path.stem not in running
    ]
    found += [
        f"secrets of {path.name}, which does not run"
        for path in (host.paths.run_dir / "secrets").glob("*")
        if path.name not in running
    ]
    return [f"{host.name}: {line}" for line in [*found, *_mounts(host, running), *_strays(host)]]


def _subfolders(top: Path) -> list[Path]:
    return [path for path in top.iterdir() if path.is_dir()] if top.is_dir() else []


def _links(host: Host, count: int) -> list[str]:
    """A container has at most one veth on the host itself: of its egress."""
    shown = host.run("ip", "-br", "link", "show", "type", "veth").stdout
    veths = [
        line.split("@")[0].split()[0]
        for line in shown.splitlines()
        if line and not line.startswith(("eth0", "swarmlite"))
    ]
    return [f"{len(veths)} veths of {count} containers: {veths}"] if len(veths) > count else []


def _mounts(host: Host, running: Collection[str]) -> list[str]:
    """No mount of a container that is gone, seen from the host's own mount namespace."""
    mounted = host.run("cat", "/proc/self/mountinfo").stdout.splitlines()
    place = f"{host.paths.containers_dir}/"
    targets = [line.split()[4] for line in mounted]
    return [
        f"mount {target} of no container"
        for target in targets
        if target.startswith(place) and target[len(place) :].split("/")[0] not in running
    ]


def _strays(host: Host) -> list[str]:
    """Processes that belong neither to the node nor to a container that is known by its cgroup."""
    known = {
        int(pid)
        for group in cgroups(host.cgroup_parent)
        for pid in (group / "cgroup.procs").read_text().split()
    }
    try:
        namespace = Path(f"/proc/{host.pid}/ns/pid").stat().st_ino
    except (OSError, RuntimeError):
        return []
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            inside = _is_inside(folder, namespace)
            command = (
                (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            )
        except OSError:
            continue
        if inside and command and int(folder.name) not in known and not _of_the_node(command):
            found.append(f"process {folder.name} of no container: {command[:100]}")
    return found


def _is_inside(folder: Path, namespace: int) -> bool:
    return (folder / "ns/pid").stat().st_ino == namespace


def _of_the_node(command: str) -> bool:
    names = ("swarmlite", "host_init.py", "etcd ", "multiprocessing")
    return any(name in command for name in names)


PRIVATE = ("agent", "certificates", "containers", "etcd", "images", "logs", "netns", "secrets")


def open_to_others(top: Path) -> list[str]:
    """A node's directory, its sockets, keys and private folders that anyone but root may enter.

    What is a part of containers' file systems is theirs to read, below a directory of 0700. The
    socket of Docker's API is its group's.
    """
    found = []
    for path in (top, *top.glob("*"), *top.glob("certificates/*")):
        mode = path.lstat().st_mode
        private = path == top or path.name in PRIVATE or path.suffix == ".key"
        others = 0o007 if path.name == "docker.sock" else 0o077
        if (private or stat.S_ISSOCK(mode)) and stat.S_IMODE(mode) & others:
            found.append(f"{path} has mode {stat.S_IMODE(mode):o}")
    return found


def none(violations: Sequence[str], what: str = "") -> None:
    """Raises CommandFailed with all of them when there are any."""
    if violations:
        raise CommandFailed("\n".join([what or "an invariant is broken:", *violations]))
