"""swarmlite-runtime --systemd-cgroup beside a real systemd, on hybrid cgroups and on v2."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from oci_world import Runtime, ours
from systemd_world import InSystemd, Systemd, hindrance, systemd

from swarmlite import errors
from swarmlite.runtime.systemd import dbus, properties, scope

__all__ = ["ours"]

LIMITS = {
    "memory": {"limit": 64 << 20}, "pids": {"limit": 50},
    "cpu": {"shares": 512, "quota": 50000, "period": 100000},
}  # fmt: skip


@pytest.fixture(scope="module", params=["hybrid", "v2"])
def manager(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Systemd]:
    """systemd with no units but ours."""
    if reason := hindrance(request.param):
        pytest.skip(reason)
    with systemd(request.param, tmp_path_factory.mktemp("systemd")) as made:
        yield made


@pytest.fixture
def runtime(manager: Systemd, tmp_path: Path, busybox_root: Path) -> Iterator[InSystemd]:
    """Ours in there; at the end no unit and no group of it is left."""
    made = InSystemd("swarmlite", tmp_path, busybox_root)
    made.systemd = manager
    yield made
    for container_id in made.ids:
        made("delete", "--force", container_id, code=None)
    manager.until_gone("test-*")


def bundle(runtime: InSystemd, *args: str, **linux: Any) -> tuple[str, Path, str]:
    """An id, its bundle, and its unit's name."""
    container_id, made = runtime.bundle(*args)
    with runtime.edit(made) as spec:
        spec["linux"].pop("sysctl", None)  # they are read-only in there
        spec["linux"].update({"cgroupsPath": f"machine.slice:test:{container_id}", **linux})
    return container_id, made, f"test-{container_id}.scope"


def groups_of(manager: Systemd, pid: str) -> set[str]:
    """Where systemd and v1's controllers have a process, as systemd sees it."""
    lines = manager.do("cat", f"/proc/{pid}/cgroup").splitlines()
    found = {line.split(":")[1]: line.split(":")[2] for line in lines}
    names = (
        ("",)
        if manager.kind == "v2"
        else ("", "name=systemd", "memory", "pids", "devices", "freezer")
    )
    return {found[name] for name in names}


def test_a_container_is_in_the_scope_and_slice_that_its_spec_names(runtime: InSystemd) -> None:
    container_id, made, unit = bundle(runtime, "sleep", "1000")
    runtime("run", "--detach", "--bundle", made, container_id)
    group = f"/machine.slice/{unit}"
    manager = runtime.systemd
    assert manager.shows(unit, "ControlGroup") == group
    assert manager.shows(unit, "Delegate") == "yes"
    pid = str(runtime.state(container_id)["pid"])
    assert groups_of(manager, pid) == {group}
    runtime("exec", "--detach", "--pid-file", made / "pid", container_id, "sleep", "1000")
    assert groups_of(manager, (made / "pid").read_text()) == {group}
    assert len(json.loads(runtime("ps", "--format", "json", container_id))) == 2
    runtime("pause", container_id)
    assert runtime.state(container_id)["status"] == "paused"
    runtime("delete", "--force", container_id)
    manager.until_gone(unit)


def test_limits_are_systemd_s_too_and_stay_when_it_loads_again(runtime: InSystemd) -> None:
    """Without its word systemd would open every device at its next reload."""
    container_id, made, unit = bundle(runtime, "sleep", "1000", resources={
        **LIMITS, "devices": [{"allow": False, "access": "rwm"}],
    })  # fmt: skip
    manager = runtime.systemd
    if manager.kind == "v2" and "memory" not in manager.do(
        "cat", "/sys/fs/cgroup/cgroup.controllers"
    ):
        pytest.skip("this host's controllers are on v1")
    runtime("run", "--detach", "--bundle", made, container_id)
    v2 = manager.kind == "v2"
    memory, shares = ("MemoryMax", "CPUWeight") if v2 else ("MemoryLimit", "CPUShares")
    assert manager.shows(unit, memory) == str(64 << 20)
    assert manager.shows(unit, shares) == ("20" if v2 else "512")
    assert manager.shows(unit, "CPUQuotaPerSecUSec") == "500ms"
    assert manager.shows(unit, "TasksMax") == "50"
    assert manager.shows(unit, "DevicePolicy") == "strict"
    runtime("update", "--memory", "134217728", "--pids-limit", "77", container_id)
    manager.do("systemctl", "daemon-reload")
    assert manager.shows(unit, memory) == str(128 << 20)
    root = "/sys/fs/cgroup" if v2 else "/sys/fs/cgroup/memory"
    file = "memory.max" if v2 else "memory.limit_in_bytes"
    assert manager.do("cat", f"{root}/machine.slice/{unit}/{file}").strip() == str(128 << 20)
    for words, code in (("mknod /tmp/d b 254 0 && cat /tmp/d", 1), ("echo > /dev/null", 0)):
        runtime("exec", container_id, "sh", "-c", words, code=code)


def test_one_that_ended_by_itself_is_deleted(runtime: InSystemd) -> None:
    container_id, made, unit = bundle(runtime, "true")
    runtime("run", "--detach", "--bundle", made, container_id)
    runtime.until(container_id, "stopped")
    runtime("delete", container_id)
    runtime.systemd.until_gone(unit)


def test_a_scope_that_is_taken_stays_as_it_is(runtime: InSystemd) -> None:
    container_id, made, unit = bundle(runtime, "sleep", "1000")
    runtime("run", "--detach", "--bundle", made, container_id)
    _, other, _ = bundle(runtime, "sleep", "1000", cgroupsPath=f"machine.slice:test:{container_id}")
    assert f"{unit} exists" in runtime("create", "--bundle", other, other.name, code=1)
    assert runtime.state(container_id)["status"] == "running"
    assert runtime.systemd.shows(unit, "ActiveState") == "active"


def test_a_create_that_fails_leaves_no_scope(runtime: InSystemd) -> None:
    container_id, made, _ = bundle(runtime, "true")
    with runtime.edit(made) as spec:
        spec["mounts"].append(
            {"destination": "/x", "type": "bind", "source": "/nosuch", "options": ["bind"]}
        )
    assert "mount /x: /nosuch: No such file" in runtime(
        "create", "--bundle", made, container_id, code=1
    )


def test_without_systemd_it_says_so_and_leaves_nothing(ours: Runtime) -> None:
    """In a namespace with an empty /run, wherever this runs."""
    container_id, made = ours.bundle("true")
    with ours.edit(made) as spec:
        spec["linux"]["cgroupsPath"] = "system.slice:test:x"
    plain = ours.words
    script = 'mount -t tmpfs none /run && exec "$@"'
    ours.words = lambda *words: [  # type: ignore[method-assign]
        "unshare", "--mount", "--propagation", "private", "sh", "-c", script, "sh", *plain(*words),
    ]  # fmt: skip
    said = ours("--systemd-cgroup", "create", "--bundle", made, container_id, code=1)
    assert "no systemd answers at /run/systemd/private" in said and said.count("\n") == 1
    assert not (ours.root / container_id).exists()


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("", ("system.slice", "swarmlite-c1.scope")),
        ("system.slice:docker:c1", ("system.slice", "docker-c1.scope")),
        (":cri-containerd:c1", ("system.slice", "cri-containerd-c1.scope")),
        ("kubepods-besteffort.slice::c1", ("kubepods-besteffort.slice", "c1.scope")),
    ],
)
def test_the_path_names_slice_prefix_and_name(text: str, place: tuple[str, str]) -> None:
    assert scope.place(text, "c1") == place


@pytest.mark.parametrize(
    "text", ["/swarmlite/c1", "a:b", "x:docker:c1", ".slice:a:b", "a.slice:b:c/d", "a.slice:b:"]
)
def test_a_path_that_names_no_scope_is_refused(text: str) -> None:
    with pytest.raises(errors.InvalidSpec, match=r"linux\.cgroupsPath"):
        scope.place(text, "c1")


def test_devices_are_named_as_systemd_names_them() -> None:
    everything = [{"allow": True, "access": "rwm"}]
    assert properties.devices_of({"devices": everything}) == []
    assert properties.devices_of({}) == []
    deny = {"allow": False, "access": "rwm"}
    fuse = {"allow": True, "type": "c", "major": 10, "minor": 229, "access": "rwm"}
    found = dict(
        properties.devices_of(
            {"devices": [deny, fuse, {**fuse, "minor": 7}, {**fuse, "minor": 7, "allow": False}]}
        )
    )
    assert found["DevicePolicy"] == ("s", "strict")
    kind, entries = found["DeviceAllow"]
    assert kind == "a(ss)" and ("/dev/char/10:229", "rwm") in entries  # type: ignore[operator]
    assert ("char-pts", "rwm") in entries and ("/dev/char/10:7", "rwm") not in entries  # type: ignore[operator]


def test_limits_are_of_the_units_that_systemd_takes() -> None:
    cpu = {"cpus": "0-2,9", "quota": 12345, "period": 100000}
    found = dict(
        properties.limits({"cpu": cpu, "pids": {"limit": -1}, "memory": {"limit": -1}}, "v2")
    )
    assert found["AllowedCPUs"] == ("ay", b"\x07\x02")
    assert found["CPUQuotaPerSecUSec"] == ("t", 130000)
    assert found["TasksMax"] == found["MemoryMax"] == ("t", properties.INFINITY)
    with pytest.raises(errors.InvalidSpec, match="is not a list such as"):
        properties.limits({"cpu": {"cpus": "0-99999999"}}, "v2")


def test_values_come_back_as_they_were_sent() -> None:
    signature = "sa(sv)a{sv}ayubxn"
    values: list[object] = [
        "a", [("x", ("t", 2**63)), ("y", ("as", ["p", ""]))], [("k", ("b", 1))],
        [1, 255], 7, 1, -5, -2,
    ]  # fmt: skip
    out = bytearray()
    for kind, value in zip(dbus.split(signature), values, strict=True):
        dbus.encode(out, kind, value)
    reader = dbus.Reader(bytes(out), "little")
    read = [reader.value(kind) for kind in dbus.split(signature)]
    plain = ["a", [("x", 2**63), ("y", ["p", ""])], [("k", 1)], [1, 255], 7, 1, -5, -2]
    assert read == plain
