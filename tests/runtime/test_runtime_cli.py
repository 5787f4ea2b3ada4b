"""swarmlite-runtime as a containerd shim, a shell or a script calls it."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from oci_world import Runtime, ours

__all__ = ["ours"]

#: Becomes a subreaper, makes and starts a container, and hears of its end as a parent does.
REAPER = """
import ctypes, os, subprocess, sys
ctypes.CDLL(None).prctl(36, 1, 0, 0, 0)
command, bundle, name = sys.argv[1].split("|"), sys.argv[2], sys.argv[3]
null = open(os.devnull, "r+")
for words in (["create", "--bundle", bundle, "--pid-file", bundle + "/pid", name], ["start", name]):
    subprocess.run([*command, *words], check=True, stdin=null, stdout=null, stderr=null)
pid = int(open(bundle + "/pid").read())
print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
"""


def test_run_ends_as_the_program_does_and_leaves_nothing(ours: Runtime) -> None:
    """Output, exit code, an empty root."""
    _, bundle = ours.bundle("sh", "-c", "echo hello; exit 3")
    assert ours.run(bundle, code=3) == "hello\n"
    assert list(ours.root.iterdir()) == []


def test_whoever_calls_is_the_containers_parent(ours: Runtime) -> None:
    """A shim hears of the end by wait, as of any child's."""
    cid, bundle = ours.bundle("sh", "-c", "exit 5")
    command = "|".join(ours.words())
    done = subprocess.run(
        [sys.executable, "-c", REAPER, command, bundle, cid], capture_output=True, text=True,
        timeout=60, check=True,
    )  # fmt: skip
    assert done.stdout == "5\n"
    assert ours.state(cid)["status"] == "stopped"


def test_many_commands_at_once_on_one_root(ours: Runtime) -> None:
    """None shuts another out, and none waits for a container that is not its own."""
    long_running, _ = ours.create("sleep", "100")
    ours("start", long_running)

    def loop(number: int) -> int:
        for k in range(5):
            bundle = bundles[number][k]
            assert ours.run(bundle, code=7) == f"{number} {k}\n"
        return number

    bundles = [
        [ours.bundle("sh", "-c", f"echo {n} {k}; exit 7")[1] for k in range(5)] for n in range(4)
    ]
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(loop, range(4))) == [0, 1, 2, 3]
    assert ours.state(long_running)["status"] == "running"


def test_exec_runs_a_further_process_and_ends_as_it_does(ours: Runtime, tmp_path: Path) -> None:
    """By words, by a JSON process, and detached with a file of its pid."""
    cid, _ = ours.create("sleep", "100")
    ours("exec", cid, "true", code=1)  # it does not run yet
    ours("start", cid)
    assert ours("exec", cid, "hostname") == f"{cid}\n"
    assert ours("exec", "--env", "A=b", "--cwd", "/data", cid, "sh", "-c", "echo $A; pwd") == (
        "b\n/data\n"
    )
    ours("exec", cid, "sh", "-c", "exit 4", code=4)
    assert "executable file not found in $PATH" in ours("exec", cid, "nosuch", code=1)
    process = {
        "args": ["id", "-u"],
        "cwd": "/",
        "env": ["PATH=/bin"],
        "user": {"uid": 33, "gid": 33},
    }
    (tmp_path / "process.json").write_text(json.dumps(process))
    assert ours("exec", "--process", tmp_path / "process.json", cid) == "33\n"
    ours("exec", "--detach", "--pid-file", tmp_path / "pid", cid, "sleep", "90")
    pid = int((tmp_path / "pid").read_text())
    assert b"sleep\0" in Path(f"/proc/{pid}/cmdline").read_bytes()
    assert pid in json.loads(ours("ps", "--format", "json", cid))
    assert "sleep 90" in ours("ps", cid)


def test_a_terminal_goes_to_the_console_socket(ours: Runtime, tmp_path: Path) -> None:
    """The master of the pty, by SCM_RIGHTS; without a socket the create is refused."""
    cid, bundle = ours.bundle("sh", "-c", "tty; read line; echo got $line", terminal=True)
    assert "--console-socket" in ours("create", "--bundle", bundle, cid, code=1)
    path = tmp_path / "console.sock"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()
        ours("create", "--bundle", bundle, "--console-socket", path, cid)
        connection, _ = listener.accept()
        with connection:
            _, fds, _, _ = socket.recv_fds(connection, 64, 1)
    with os.fdopen(fds[0], "r+b", buffering=0) as console:
        ours("start", cid)
        console.write(b"typed\n")
        said = b""
        while b"got typed" not in said:
            said += console.read(4096)
    assert b"/dev/pts/0" in said or b"/dev/console" in said


def test_descriptors_are_handed_on_when_asked(ours: Runtime) -> None:
    """From 3 on, as many as --preserve-fds says; others are not."""
    _, bundle = ours.bundle("sh", "-c", "cat <&3; cat <&4 2>/dev/null || echo closed")
    reader, writer = os.pipe()
    os.write(writer, b"handed on\n")
    os.close(writer)
    command = ours.words("run", "--preserve-fds", "1", "--bundle", bundle, bundle.name)
    script = "import os, sys; [os.dup2(int(sys.argv[1]), n) for n in (3, 4)]"
    script += "; os.execv(sys.argv[2], sys.argv[2:])"
    done = subprocess.run(
        [sys.executable, "-c", script, str(reader), *command], pass_fds=[reader],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    os.close(reader)
    assert done.stdout == "handed on\nclosed\n", done.stderr


def test_what_waits_in_a_container_cannot_be_overwritten(ours: Runtime) -> None:
    """Its program is the interpreter, from a mount that is read-only for everybody.

    An image could have that run as /proc/self/exe and write to it (CVE-2019-5736).
    """
    cid, _ = ours.create("sleep", "100")
    pid = ours.state(cid)["pid"]
    assert os.statvfs(f"/proc/{pid}/exe").f_flag & os.ST_RDONLY
    assert not os.statvfs(sys.executable).f_flag & os.ST_RDONLY


def test_nothing_but_proc_takes_the_place_of_proc(ours: Runtime, tmp_path: Path) -> None:
    """An image's VOLUME /proc comes as a bind mount like any other (CVE-2019-16884)."""
    cid, bundle = ours.bundle("ls", "/proc/self/status")
    with ours.edit(bundle) as spec:
        spec["mounts"] = [m for m in spec["mounts"] if m["destination"] != "/proc"]
        spec["mounts"].append(
            {"source": str(tmp_path), "destination": "/proc", "options": ["rbind"]}
        )
    assert "must be a proc file system" in ours("create", "--bundle", bundle, cid, code=1)
    with ours.edit(bundle) as spec:
        spec["mounts"][-1]["source"] = "/proc"
        spec["linux"]["namespaces"] = [n for n in spec["linux"]["namespaces"] if n["type"] != "pid"]
    assert ours.run(bundle) == "/proc/self/status\n"


def test_pause_resume_update_list(ours: Runtime) -> None:
    """And what they refuse."""
    cid, _ = ours.create("sleep", "100")
    ours("start", cid)
    ours("pause", cid)
    assert ours.state(cid)["status"] == "paused"
    ours("exec", cid, "true", code=1)
    ours("resume", cid)
    assert ours.state(cid)["status"] == "running"
    assert "not paused" in ours("resume", cid, code=1)
    ours("update", "--resources", "-", cid, stdin='{"memory": {"limit": 50331648}}')
    assert cid in ours("list")
    listed = json.loads(ours("list", "--format", "json"))
    assert [(c["id"], c["status"]) for c in listed] == [(cid, "running")]
    assert ours("list", "-q") == f"{cid}\n"
    ours("kill", cid, "SIGKILL")
    ours.until(cid, "stopped")


def test_a_paused_container_can_be_killed_and_deleted(ours: Runtime) -> None:
    """Frozen processes of v1 do not even die."""
    cid, _ = ours.create("sleep", "100")
    ours("start", cid)
    ours("pause", cid)
    ours("delete", "--force", cid)
    assert list(ours.root.iterdir()) == []
    ours("delete", "--force", cid)  # as often as one likes


def test_a_spec_without_a_process_can_be_created_and_not_started(ours: Runtime) -> None:
    """As the specification has it."""
    cid, bundle = ours.bundle()
    with ours.edit(bundle) as spec:
        del spec["process"]
    ours.create(bundle=bundle)
    assert ours.state(cid)["status"] == "created"
    assert "no process to start" in ours("start", cid, code=1)


def test_a_hook_of_the_start_that_fails_takes_the_container_down(ours: Runtime) -> None:
    """And the last hooks still run."""
    cid, bundle = ours.bundle("sleep", "100")
    with ours.edit(bundle) as spec:
        spec["hooks"] = {
            "poststart": [{"path": "/bin/false"}],
            "poststop": [{"path": "/bin/touch", "args": ["touch", str(bundle / "stopped")]}],
        }
    ours.create(bundle=bundle)
    assert "hooks.poststart[0]: /bin/false: exit code 1" in ours("start", cid, code=1)
    assert (bundle / "stopped").exists()
    ours("state", cid, code=1)


def test_a_hook_that_hangs_is_ended_in_time(ours: Runtime) -> None:
    """By its own timeout."""
    cid, bundle = ours.bundle("true")
    with ours.edit(bundle) as spec:
        spec["hooks"] = {
            "prestart": [{"path": "/bin/sleep", "args": ["sleep", "100"], "timeout": 1}]
        }
    assert "did not end within" in ours("create", "--bundle", bundle, cid, code=1)


@pytest.mark.parametrize("kind", ["bounding", "ambient"])
def test_a_capability_that_cannot_be_given_is_a_warning(ours: Runtime, kind: str) -> None:
    """In the log as JSON, where there is one; the container runs."""
    _, bundle = ours.bundle("echo", "fine", capabilities={kind: ["CAP_NOSUCH", "CAP_CHOWN"]})
    log = bundle / "log"
    words = ("--log", log, "--log-format", "json")
    assert ours(*words, "run", "--bundle", bundle, bundle.name) == "fine\n"
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    assert {line["level"] for line in lines} == {"warning"}
    assert "CAP_NOSUCH" in lines[0]["msg"]


def test_what_a_host_has_not_is_said(ours: Runtime) -> None:
    """Never silence: a warning where the specification lets it go, else an error."""
    cid, bundle = ours.bundle("echo", "fine")
    with ours.edit(bundle) as spec:
        spec["linux"]["seccomp"] = {"defaultAction": "SCMP_ACT_NOTIFY"}
    assert "SCMP_ACT_NOTIFY" in ours("create", "--bundle", bundle, cid, code=1)
    with ours.edit(bundle) as spec:
        spec["linux"]["seccomp"] = {"defaultAction": "SCMP_ACT_ALLOW", "listenerPath": "/x"}
    assert "listenerPath" in ours("create", "--bundle", bundle, cid, code=1)
    with ours.edit(bundle) as spec:
        del spec["linux"]["seccomp"]
        spec["linux"]["intelRdt"] = {"closID": "x"}
    assert "intelRdt is not supported" in ours("create", "--bundle", bundle, cid, code=1)
    with ours.edit(bundle) as spec:
        del spec["linux"]["intelRdt"]
        spec["mounts"].append({"type": "nosuchfs", "destination": "/data"})
    assert "mount /data" in ours("create", "--bundle", bundle, cid, code=1)


def test_scheduling_is_the_specs(ours: Runtime) -> None:
    """Policy, nice value and the class of input and output."""
    _, bundle = ours.bundle(
        "sh", "-c", "cut -d' ' -f19,41 /proc/self/stat; ionice -p 0",
        scheduler={"policy": "SCHED_BATCH", "nice": 5},
        ioPriority={"class": "IOPRIO_CLASS_IDLE", "priority": 0},
    )  # fmt: skip
    assert ours.run(bundle).splitlines() == ["5 3", "idle"]


def test_features_and_spec(ours: Runtime, tmp_path: Path) -> None:
    """What it knows, and a config.json that runs."""
    features = json.loads(ours("features"))
    assert features["ociVersionMin"] == "1.0.0"
    assert {"prestart", "poststop"} <= set(features["hooks"])
    assert {"rro", "idmap", "rshared"} <= set(features["mountOptions"])
    ours("spec", "--bundle", tmp_path)
    assert json.loads((tmp_path / "config.json").read_text())["process"]["args"] == ["sh"]
    assert "exists" in ours("spec", "--bundle", tmp_path, code=1)


def test_errors_are_one_line_that_says_what_is_wrong(ours: Runtime, tmp_path: Path) -> None:
    """Wrong flags, ids, signals, bundles."""
    (tmp_path / "config.json").write_text('{"ociVersion": "1.1.0", "root": 5}')
    cid, _ = ours.create("sleep", "100")
    for words, text in (
        (("run", "--bundle", tmp_path, "x"), "root: must be an object"),
        (("run", "--bundle", "/nosuch", "x"), "/nosuch/config.json: No such file"),
        (("kill", cid, "NOSUCH"), "there is no signal 'NOSUCH'"),
        (("state", "nosuch"), "container nosuch does not exist"),
        (("state", "../x"), "container id"),
        (("create", "--nosuch", "x"), "unknown flag '--nosuch'"),
        (("nosuch",), "unknown command 'nosuch'"),
        (("state",), "id is missing"),
        (("create", "--preserve-fds", "x", "--bundle", tmp_path, "x"), "root: must be an object"),
    ):
        output = ours(*words, code=1)
        assert text in output
        assert output.count("\n") == 1, output
    assert list(ours.root.iterdir()) == [ours.root / cid]
