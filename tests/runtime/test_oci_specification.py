"""What the OCI's runtime specification asks, of swarmlite-runtime and of crun alike."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest
from oci_world import Runtime, ours, runtime
from rt_harness import PARENT

__all__ = ["ours", "runtime"]


def test_a_container_goes_through_its_states(runtime: Runtime) -> None:
    """created, running, stopped; what a state does not allow is an error without effect."""
    cid, bundle = runtime.create("sh", "-c", "echo ran; sleep 100")
    state = runtime.state(cid)
    assert (state["id"], state["status"], state["bundle"]) == (cid, "created", str(bundle))
    assert state["ociVersion"].startswith("1.")
    assert Path(f"/proc/{state['pid']}").exists()
    assert (bundle / "out").read_text() == ""  # nothing runs before start
    runtime("start", cid)
    assert runtime.state(cid)["status"] == "running"
    runtime("start", cid, code=1)
    runtime("delete", cid, code=1)
    runtime("create", "--bundle", bundle, cid, code=1)  # its id is taken
    runtime("kill", cid, "KILL")
    runtime.until(cid, "stopped")
    assert (bundle / "out").read_text() == "ran\n"
    runtime("start", cid, code=1)
    runtime("kill", cid, "TERM", code=1)
    runtime("delete", cid)
    runtime("state", cid, code=1)


def test_a_change_of_the_bundle_after_the_create_has_no_effect(runtime: Runtime) -> None:
    """config.json is read once."""
    cid, bundle = runtime.create("echo", "first")
    with runtime.edit(bundle) as spec:
        spec["process"]["args"] = ["echo", "second"]
    runtime("start", cid)
    runtime.until(cid, "stopped")
    assert (bundle / "out").read_text() == "first\n"


def test_the_default_devices_work_whatever_the_list_of_devices_says(runtime: Runtime) -> None:
    """All denied, and nothing allowed: what the specification promises is there all the same."""
    script = "echo x > /dev/null; head -c 1 /dev/zero | wc -c; cat /dev/full | head -c 1 | wc -c"
    _, bundle = runtime.bundle("sh", "-c", script)
    with runtime.edit(bundle) as spec:
        spec["linux"]["resources"]["devices"] = [{"allow": False}]
    assert runtime.run(bundle) == "1\n1\n"


def test_a_device_of_the_spec_is_made_with_its_owner_and_mode(runtime: Runtime) -> None:
    """Also where no rule allows its use."""
    _, bundle = runtime.bundle("stat", "-c", "%F %t:%T %a %u:%g", "/dev/my", "/dev/pipe")
    with runtime.edit(bundle) as spec:
        spec["linux"]["devices"] = [
            {"path": "/dev/my", "type": "c", "major": 10, "minor": 200, "fileMode": 0o620,
             "uid": 5, "gid": 6},
            {"path": "/dev/pipe", "type": "p", "fileMode": 0o600},
        ]  # fmt: skip
    lines = runtime.run(bundle).splitlines()
    assert lines == ["character special file a:c8 620 5:6", "fifo 0:0 600 0:0"]


def test_a_mount_has_the_source_of_the_spec(runtime: Runtime) -> None:
    """As /proc/mounts shows it."""
    _, bundle = runtime.bundle("grep", " /data ", "/proc/mounts")
    with runtime.edit(bundle) as spec:
        spec["mounts"].append(
            {"type": "tmpfs", "source": "mysource", "destination": "/data",
             "options": ["size=1m", "mode=700"]}
        )  # fmt: skip
    assert runtime.run(bundle).startswith("mysource /data tmpfs rw")


def test_bind_mounts_take_every_option_of_access_times(runtime: Runtime, tmp_path: Path) -> None:
    """The kernel wants them cleared together."""
    words = {"noatime": "noatime", "relatime": "relatime", "strictatime": "rw", "nodiratime": "rw"}
    _, bundle = runtime.bundle("grep", " /m", "/proc/mounts")
    with runtime.edit(bundle) as spec:
        for word in words:
            spec["mounts"].append(
                {"source": str(tmp_path), "destination": f"/m{word}",
                 "options": ["rbind", "nosuid", word]}
            )  # fmt: skip
    found = {}
    for line in runtime.run(bundle).splitlines():
        fields = line.split()
        found[fields[1]] = fields[3].split(",")
    for word in words:
        assert "nosuid" in found[f"/m{word}"]
    assert "noatime" in found["/mnoatime"]
    assert "nodiratime" in found["/mnodiratime"]
    assert not {"noatime", "relatime"} & set(found["/mstrictatime"])


def test_an_oom_score_is_set_also_the_one_there_is(runtime: Runtime) -> None:
    """0 as well, which no process has to ask anybody for."""
    own = int(Path("/proc/self/oom_score_adj").read_text())
    for score in (own, 500):
        _, bundle = runtime.bundle("cat", "/proc/self/oom_score_adj", oomScoreAdj=score)
        assert runtime.run(bundle) == f"{score}\n"


def test_ambient_capabilities_reach_a_program_of_an_ordinary_user(runtime: Runtime) -> None:
    """Which has none else."""
    names = ["CAP_NET_BIND_SERVICE"]
    kinds = ("bounding", "permitted", "effective", "inheritable", "ambient")
    _, bundle = runtime.bundle(
        "grep", "CapAmb\\|CapEff", "/proc/self/status",
        capabilities=dict.fromkeys(kinds, names), user={"uid": 1000, "gid": 1000},
    )  # fmt: skip
    assert runtime.run(bundle).split()[1::2] == ["0000000000000400"] * 2


def test_hooks_of_every_kind_run_in_their_order_with_the_state(runtime: Runtime) -> None:
    """The first kinds during create, those of a start with it, the last after the delete."""
    cid, bundle = runtime.bundle("sh", "-c", "echo program >> /trace")
    trace = bundle / "rootfs/trace"
    inside = {"startContainer": "/trace"}
    kinds = ["prestart", "createRuntime", "createContainer", "startContainer", "poststart",
             "poststop"]  # fmt: skip
    with runtime.edit(bundle) as spec:
        spec["annotations"] = {"some.key": "some value"}
        spec["hooks"] = {
            kind: [
                {"path": "/bin/sh", "args": ["sh", "-c", script], "env": ["PATH=/bin:/usr/bin"]}
                for script in (
                    # crun 1.8 dies of SIGPIPE when a hook leaves its input unread
                    f"cat >/dev/null; echo {kind} >> {inside.get(kind, trace)}",
                    f"cat > {'/' if kind in inside else bundle / 'rootfs'}/state-{kind}",
                )
            ]
            for kind in kinds
        }
    runtime.create(bundle=bundle)
    assert trace.read_text().split() == kinds[:3]
    pid = runtime.state(cid)["pid"]
    runtime("start", cid)
    runtime.until(cid, "stopped")
    assert set(trace.read_text().split()) == {*kinds[:5], "program"}
    if runtime.name == "swarmlite":  # crun 1.8 may run poststart before it
        assert trace.read_text().split()[3] == "startContainer"
    runtime("delete", cid)
    assert trace.read_text().split()[-1] == "poststop"
    for kind in kinds:
        state = json.loads((bundle / f"rootfs/state-{kind}").read_text())
        assert state["id"] == cid
        assert state["annotations"] == {"some.key": "some value"}
        if runtime.name == "swarmlite":  # crun 1.8 tells startContainer of another bundle
            assert state["bundle"] == str(bundle)
            assert state["pid"] == (0 if kind == "poststop" else pid)


def test_a_hook_that_fails_ends_the_create(runtime: Runtime) -> None:
    """Nothing of the container stays."""
    cid, bundle = runtime.bundle("true")
    with runtime.edit(bundle) as spec:
        spec["hooks"] = {"createRuntime": [{"path": "/bin/false"}]}
    runtime("create", "--bundle", bundle, cid, code=1)
    runtime("state", cid, code=1)


def test_a_user_namespace_by_its_mappings(runtime: Runtime) -> None:
    """The rootfs belongs to the mapped root, as a caller without idmapped mounts has it."""
    _, bundle = runtime.bundle("sh", "-c", "cat /proc/self/uid_map; id -u; touch /tmp/x")
    for path in [bundle, *bundle.rglob("*")]:
        os.chown(path, 100000, 100000, follow_symlinks=False)
    for folder in [bundle, *bundle.parents]:
        if folder.stat().st_mode & 0o1 == 0:
            folder.chmod(folder.stat().st_mode | 0o1)
    with runtime.edit(bundle) as spec:
        mapping = [{"containerID": 0, "hostID": 100000, "size": 65536}]
        spec["linux"]["namespaces"].append({"type": "user"})
        spec["linux"]["uidMappings"] = spec["linux"]["gidMappings"] = mapping
        spec["linux"]["sysctl"] = {}
    lines = runtime.run(bundle).splitlines()
    assert lines[0].split() == ["0", "100000", "65536"]
    assert lines[1:] == ["0"]
    assert (bundle / "rootfs/tmp/x").stat().st_uid == 100000


def test_namespaces_are_inherited_or_joined_by_path(runtime: Runtime) -> None:
    """A kind that is not named is the runtime's own."""
    first, _ = runtime.create("sleep", "100")
    pid = runtime.state(first)["pid"]
    _, bundle = runtime.bundle(
        "sh", "-c", "for k in net uts ipc; do readlink /proc/self/ns/$k; done"
    )
    with runtime.edit(bundle) as spec:
        kept = [
            n for n in spec["linux"]["namespaces"] if n["type"] not in ("network", "uts", "ipc")
        ]
        joined = [{"type": "network", "path": f"/proc/{pid}/ns/net"},
                  {"type": "ipc", "path": f"/proc/{pid}/ns/ipc"}]  # fmt: skip
        spec["linux"]["namespaces"] = kept + joined
        spec["linux"]["sysctl"] = {}
        spec["hostname"] = ""
    expected = [f"/proc/{pid}/ns/net", "/proc/self/ns/uts", f"/proc/{pid}/ns/ipc"]
    links = [str(Path(path).readlink()) for path in expected]
    assert runtime.run(bundle).split() == links


def test_limits_reach_their_files(runtime: Runtime) -> None:
    """Memory, cpu, pids, and throttles of a block device that the host has."""
    cid, bundle = runtime.bundle("sleep", "100")
    with runtime.edit(bundle) as spec:
        spec["linux"]["resources"] |= {
            "memory": {"limit": 64 << 20},
            "cpu": {"shares": 512, "quota": 20000, "period": 100000},
            "pids": {"limit": 77},
        }
    runtime.create(bundle=bundle)
    pid = runtime.state(cid)["pid"]
    groups = dict(
        line.split(":", 2)[1:] for line in Path(f"/proc/{pid}/cgroup").read_text().splitlines()
    )
    if "memory" in groups:
        base = "/sys/fs/cgroup/{}" + groups["memory"] + "/{}"
        expected = {
            ("memory", "memory.limit_in_bytes"): 64 << 20, ("cpu", "cpu.shares"): 512,
            ("cpu", "cpu.cfs_quota_us"): 20000, ("pids", "pids.max"): 77,
        }  # fmt: skip
    else:
        base = "/sys/fs/cgroup{}" + groups[""] + "/{}"
        expected = {("", "memory.max"): 64 << 20, ("", "pids.max"): 77}
    for (controller, name), value in expected.items():
        assert int(Path(base.format(controller, name)).read_text()) == value
    runtime("update", "--pids-limit", "88", cid)
    controller, name = next(key for key in expected if key[1] == "pids.max")
    assert int(Path(base.format(controller, name)).read_text()) == 88


def test_throttles_of_a_block_device_reach_the_kernel(runtime: Runtime) -> None:
    """Bytes and operations, to be read and to be written."""
    disk = next((d for d in sorted(Path("/sys/block").iterdir()) if (d / "device").exists()), None)
    if disk is None or not Path("/sys/fs/cgroup/blkio/blkio.throttle.read_bps_device").exists():
        pytest.skip("needs a block device and the blkio controller of cgroups v1")
    number = (disk / "dev").read_text().strip()
    major, minor = (int(part) for part in number.split(":"))
    keys = {
        "throttleReadBpsDevice": "read_bps",
        "throttleWriteBpsDevice": "write_bps",
        "throttleReadIOPSDevice": "read_iops",
        "throttleWriteIOPSDevice": "write_iops",
    }
    cid, bundle = runtime.bundle("sleep", "100")
    with runtime.edit(bundle) as spec:
        spec["linux"]["resources"]["blockIO"] = {
            key: [{"major": major, "minor": minor, "rate": 102400 + k}]
            for k, key in enumerate(keys)
        }
    runtime.create(bundle=bundle)
    for k, name in enumerate(keys.values()):
        file = Path(f"/sys/fs/cgroup/blkio{PARENT}/{cid}/blkio.throttle.{name}_device")
        assert file.read_text() == f"{number} {102400 + k}\n"


def test_read_only_may_be_meant_for_all_that_is_mounted_below(
    runtime: Runtime, tmp_path: Path
) -> None:
    """`ro` is of the one mount, `rro` of the tree."""
    below = tmp_path / "tree/below"
    below.mkdir(parents=True)
    subprocess.run(["mount", "-t", "tmpfs", "tmpfs", below], check=True)
    try:
        script = "for k in ro rro; do for p in . below; do touch /$k/$p/x && echo $k $p; done; done"
        _, bundle = runtime.bundle("sh", "-c", f"exec 2>/dev/null; {script}; true")
        with runtime.edit(bundle) as spec:
            for word in ("ro", "rro"):
                spec["mounts"].append(
                    {"source": str(tmp_path / "tree"), "destination": f"/{word}",
                     "options": ["rbind", word]}
                )  # fmt: skip
        assert runtime.run(bundle) == "ro below\n"
    finally:
        subprocess.run(["umount", "-l", below], check=True)


def test_a_spec_of_another_version_or_with_a_wrong_value_is_refused(runtime: Runtime) -> None:
    """And nothing stays."""
    cid, bundle = runtime.bundle("true")
    with runtime.edit(bundle) as spec:
        spec["ociVersion"] = "invalid"
    if runtime.name == "crun":  # 1.8 refuses it, 1.21 does not
        runtime("create", "--bundle", bundle, cid, code=None)
        return
    runtime("create", "--bundle", bundle, cid, code=1)
    runtime("state", cid, code=1)


def test_what_a_spec_does_not_say_and_what_nobody_knows_are_no_errors(runtime: Runtime) -> None:
    """Unknown annotations and properties."""
    _, bundle = runtime.bundle("echo", "fine")
    with runtime.edit(bundle) as spec:
        spec["annotations"] = {"org.nobody": ""}
        spec["unknown"] = {"a": 1}
    assert runtime.run(bundle) == "fine\n"
