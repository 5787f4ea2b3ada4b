"""The OCI spec that a container gets when nothing else is said: Docker's defaults.

The caller fills in root, process.args, env, cwd, user, hostname, mounts, cgroupsPath and limits.
Extensions that swarmlite's runtime understands and others ignore:
- annotation `swarmlite.overlay`: `lowerdir=A:B,upperdir=U,workdir=W`, mounted at root.path;
- annotation `swarmlite.seccomp`: `default` for the built-in profile (used when linux.seccomp is
  absent), `unconfined` for none; `portable` writes it out for other runtimes;
- annotation `swarmlite.overlay-idmap`: `true` shows the overlay's lower layers under the ids of
  the container's new user namespace;
- annotation `swarmlite.system-mounts`: a JSON list of the places in /proc, /sys and /dev that
  mounts may take; where it is absent, all that the spec names;
- annotation `swarmlite.init`: `true` puts a small reaper at pid 1, which forwards signals;
- process.user.username: an image's USER ("redis", "1000", "redis:redis"), looked up in the
  container's own /etc/passwd and /etc/group, in place of uid and gid;
- process.user.additionalGroups: names (or numbers) of groups, looked up likewise.
"""

from __future__ import annotations

import copy
import glob
from typing import Any

from swarmlite.runtime.oci import capabilities

MASKED_PATHS = [
    *(
        f"/proc/{name}"
        for name in [
            "acpi",
            "asound",
            "interrupts",
            "kcore",
            "keys",
            "latency_stats",
            "sched_debug",
            "scsi",
            "timer_list",
            "timer_stats",
        ]
    ),
    "/sys/firmware",
    "/sys/devices/virtual/powercap",
]
READONLY_PATHS = [f"/proc/{name}" for name in ("bus", "fs", "irq", "sys", "sysrq-trigger")]
PATH = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
NAMESPACES = ("mount", "network", "uts", "pid", "ipc", "cgroup")


def _mount(kind: str, destination: str, *options: str, source: str | None = None) -> dict[str, Any]:
    return {
        "type": kind,
        "source": source or kind,
        "destination": destination,
        "options": list(options),
    }


MOUNTS = [
    _mount("proc", "/proc", "nosuid", "noexec", "nodev"),
    _mount("tmpfs", "/dev", "nosuid", "strictatime", "mode=755", "size=65536k"),
    _mount(
        "devpts", "/dev/pts", "nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620",
        "gid=5",
    ),
    _mount("sysfs", "/sys", "nosuid", "noexec", "nodev", "ro"),
    _mount("cgroup", "/sys/fs/cgroup", "ro", "nosuid", "noexec", "nodev"),
    _mount("mqueue", "/dev/mqueue", "nosuid", "noexec", "nodev"),
    _mount(
        "tmpfs", "/dev/shm", "nosuid", "noexec", "nodev", "mode=1777", "size=67108864",
        source="shm",
    ),
]  # fmt: skip


def _device(kind: str, major: int | None, minor: int | None, access: str) -> dict[str, Any]:
    rule: dict[str, Any] = {"allow": True, "type": kind, "access": access}
    if major is not None:
        rule["major"] = major
    if minor is not None:
        rule["minor"] = minor
    return rule


#: Everything refused, then mknod of anything, then use of what does no harm.
DEVICE_RULES = [
    {"allow": False, "access": "rwm"},
    _device("c", None, None, "m"),
    _device("b", None, None, "m"),
    *(
        _device("c", major, minor, "rwm")
        for major, minor in [
            (1, 3), (1, 5), (1, 7), (1, 8), (1, 9), (5, 0), (5, 1), (5, 2), (136, None),
        ]
    ),
]  # fmt: skip


def default_capabilities() -> dict[str, list[str]]:
    """Docker's fourteen: bounding, effective and permitted; none inheritable or ambient."""
    names = list(capabilities.DEFAULT)
    return {"bounding": names, "effective": list(names), "permitted": list(names)}


def default_spec() -> dict[str, Any]:
    """A new spec, the caller's to change."""
    thermal = sorted(glob.glob("/sys/devices/system/cpu/cpu[0-9]*/thermal_throttle"))  # noqa: PTH207
    return copy.deepcopy(
        {
            "ociVersion": "1.1.0",
            "process": {
                "terminal": False,
                "user": {"uid": 0, "gid": 0},
                "args": ["sh"],
                "env": [PATH],
                "cwd": "/",
                "capabilities": default_capabilities(),
                "noNewPrivileges": False,
            },
            "root": {"path": "rootfs", "readonly": False},
            "hostname": "",
            "mounts": MOUNTS,
            "annotations": {"swarmlite.seccomp": "default"},
            "linux": {
                "cgroupsPath": "",
                "namespaces": [{"type": kind} for kind in NAMESPACES],
                "resources": {"devices": DEVICE_RULES},
                "sysctl": {
                    "net.ipv4.ping_group_range": "0 2147483647",
                    "net.ipv4.ip_unprivileged_port_start": "0",
                },
                "maskedPaths": MASKED_PATHS + thermal,
                "readonlyPaths": READONLY_PATHS,
            },
        }
    )


def portable(spec: dict[str, Any]) -> dict[str, Any]:
    """A copy that asks other runtimes (crun, runc) for the same: seccomp written out."""
    from swarmlite.runtime.seccomp import profile

    spec = copy.deepcopy(spec)
    annotations = spec.get("annotations", {})
    if annotations.get("swarmlite.seccomp") == "default" and "seccomp" not in spec["linux"]:
        caps = spec["process"].get("capabilities", {}).get("bounding", [])
        spec["linux"]["seccomp"] = profile.default_oci(caps)
    return spec


def use_user_namespace(spec: dict[str, Any], first_id: int, count: int) -> None:
    """Give a default spec a user namespace whose ids 0 to `count` - 1 are those from `first_id`.

    The overlay's lower layers are shown under these ids as well, so that no file of an image is
    changed; what the container writes has its real ids. Ask `idmap.why_no_overlay` first whether
    the host can.
    """
    mapping = [{"containerID": 0, "hostID": first_id, "size": count}]
    linux = spec["linux"]
    linux["namespaces"].append({"type": "user"})
    linux["uidMappings"], linux["gidMappings"] = mapping, [dict(mapping[0])]
    spec["annotations"]["swarmlite.overlay-idmap"] = "true"
    sysctl = linux.get("sysctl") or {}
    if "net.ipv4.ping_group_range" in sysctl:
        sysctl["net.ipv4.ping_group_range"] = f"0 {count - 1}"  # groups that are not mapped: EINVAL
