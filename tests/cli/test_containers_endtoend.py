"""The container commands against a real engine: words, output, exit codes, terminals."""

from __future__ import annotations

import json
import signal
import subprocess
import tarfile
import time
from collections.abc import Callable, Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest

SLEEP = ("sh", "-c", "trap 'exit 0' TERM; echo ready; while :; do sleep 0.1; done")


@pytest.fixture(autouse=True)
def tidy(host: Any) -> Iterator[None]:
    """Nothing of one test is there in the next."""
    yield
    if left := host.ok("ps", "-aq").split():
        host.ok("rm", "-f", "-v", *left)


def until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def state(host: Any, name: str) -> str:
    return str(host.ok("inspect", "-f", "{{.State.Status}}", name).strip())


# run
def test_run_shows_both_streams_and_ends_with_the_container_s_code(host: Any) -> None:
    result = host.cli("run", "--rm", host.image, "sh", "-c", "echo out; echo err >&2; exit 7")
    assert (result.status, result.out, result.err) == (7, "out\n", "err\n")
    assert host.ok("ps", "-aq") == ""


@pytest.mark.parametrize(
    ("words", "status"),
    [(("nosuch",), 127), (("/etc",), 126), (("sh", "-c", "sh -c 'kill -9 $$'; exit $?"), 137)],
)
def test_run_ends_as_a_shell_does(host: Any, words: tuple[str, ...], status: int) -> None:
    """127 there is no such command, 126 it cannot be run, 128 and the signal that ended it."""
    result = host.cli("run", "--rm", host.image, *words)
    assert result.status == status
    assert result.out == ""
    assert result.err.count("\n") == 1
    assert host.ok("ps", "-aq") == ""


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--pull", "never", "nosuch/image"), "nosuch/image"),
        (("--network", "nosuch"), "nosuch"),
        (("--volumes-from", "nosuch"), "nosuch"),
        (("-m", "4m"), "6MB"),
        (("--cpus", "1", "--cpu-quota", "5000"), "Conflicting options"),
        (("--device", "fuse"), "fuse"),
        (("--device-cgroup-rule", "x"), "x"),
    ],
)
def test_run_ends_with_125_when_the_engine_refuses(
    host: Any, words: tuple[str, ...], said: str
) -> None:
    image = () if "nosuch/image" in words else (host.image,)
    result = host.cli("run", "--rm", *words, *image, "true")
    assert result.status == 125
    assert said in result.err
    assert result.err.count("\n") == 1
    assert host.ok("ps", "-aq") == ""


def test_run_says_that_it_looks_for_a_missing_image(host: Any) -> None:
    result = host.cli("run", "--rm", "127.0.0.1:1/nosuch", "true")
    assert result.status == 125
    assert result.err.startswith("Unable to find image '127.0.0.1:1/nosuch:latest' locally\n")


def test_run_and_attach_say_in_one_line_that_the_engine_went_away(host: Any) -> None:
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    run = host.open("run", "--name", "left", host.image, *SLEEP, **pipes)
    assert run.stdout.readline() == b"ready\n"
    attach = host.open("attach", "left", **pipes)
    logs = host.open("logs", "-f", "left", **pipes)
    assert logs.stdout.readline() == b"ready\n"
    identity = host.ok("ps", "-q").strip()
    host.replace_agent()
    for process, status, said in (
        (run, 125, f"the engine of this host went away; container {identity} goes on"),
        (attach, 1, "went away"),
        (logs, 1, "went away"),
    ):
        _, error = process.communicate(timeout=60)
        assert (process.returncode, error.count(b"\n")) == (status, 1), error
        assert said in error.decode() and b"Stream removed" not in error
    assert host.ok("ps", "-q").strip() == identity
    host.ok("rm", "-f", "left")


def test_run_passes_standard_input_and_its_end(host: Any) -> None:
    """Two megabytes go in and come out, and the end of input ends the container."""
    data = bytes(range(256)) * 8192
    done = subprocess.run(
        [*host_argv(host), "run", "-i", "--rm", host.image, "cat"],
        input=data,
        capture_output=True,
        env=host.environment,
        timeout=60,
        check=True,
    )
    assert done.stdout == data
    assert host.ok("run", "--rm", host.image, "cat", stdin=b"not sent") == ""


def test_a_container_is_linked_to_another_until_the_link_is_removed(host: Any) -> None:
    host.ok("run", "-d", "--name", "upstream", host.image, *SLEEP)
    host.ok("run", "-d", "--name", "front", "--link", "upstream:db", host.image, *SLEEP)
    assert "db" in host.ok("exec", "front", "grep", "upstream", "/etc/hosts").split()
    assert host.cli("rm", "--link", "front").err == (
        "--link: front names no link; expected CONTAINER/ALIAS\n"
    )
    host.ok("rm", "--link", "front/db")
    assert "upstream" not in host.ok("inspect", "front", "--format", "{{.HostConfig.Links}}")
    host.ok("rm", "-f", "front", "upstream")


def host_argv(host: Any) -> tuple[str, ...]:
    from container_host import ARGV

    return ARGV


def test_a_detached_container_is_named_listed_and_logged(host: Any) -> None:
    identity = host.ok("run", "-d", "--name", "web", "-l", "a=b", host.image, *SLEEP).strip()
    assert len(identity) == 64
    lines = host.ok("ps").splitlines()
    assert lines[0].split() == [
        "CONTAINER", "ID", "IMAGE", "COMMAND", "CREATED", "STATUS", "PORTS", "NAMES",
    ]  # fmt: skip
    assert lines[1].startswith(identity[:12])
    assert lines[1].endswith("web")
    form = '{{.ID}} {{.State}} {{.Label "a"}}'
    assert host.ok("ps", "--no-trunc", "--format", form) == f"{identity} running b\n"
    assert host.ok("ps", "-q", "--filter", "name=web") == f"{identity[:12]}\n"
    assert json.loads(host.ok("ps", "--format", "json"))["Names"] == "web"
    until(lambda: host.ok("logs", "web") == "ready\n")
    assert host.ok("container", "logs", "-n", "0", "web") == ""
    stamped = host.ok("logs", "-t", "--since", "1h", identity[:6])
    assert stamped.endswith("Z ready\n") and len(stamped) == 37
    assert host.ok("logs", "--until", "1700000000.5", "web") == ""
    twice = host.cli("run", "-d", "--name", "web", host.image)
    assert twice.status == 125
    assert "web" in twice.err


def test_cidfile_holds_the_id_and_is_not_overwritten(host: Any, tmp_path: Path) -> None:
    path = tmp_path / "cid"
    line = ("run", "-d", "--cidfile", str(path), host.image, "true")
    assert host.ok(*line).strip() == path.read_text()
    again = host.cli(*line)
    assert again.status == 125
    assert "container ID file found" in again.err


# the life of a container
def test_a_container_lives_from_create_to_rm(host: Any) -> None:
    host.ok("create", "--name", "box", "-e", "A=1", "-m", "64m", host.image, *SLEEP)
    assert state(host, "box") == "created"
    for words, after in (
        (("start", "box"), "running"),
        (("pause", "box"), "paused"),
        (("unpause", "box"), "running"),
        (("restart", "-t", "5", "box"), "running"),
        (("stop", "--time=5", "box"), "exited"),
        (("start", "box"), "running"),
        (("kill", "-s", "KILL", "box"), "exited"),
    ):
        assert host.ok(*words) == "box\n"
        until(lambda after=after: state(host, "box") == after)
    assert host.ok("wait", "box") == "137\n"
    shown = json.loads(host.ok("inspect", "box"))[0]
    assert (shown["Name"], shown["State"]["ExitCode"]) == ("/box", 137)
    assert shown["HostConfig"]["Memory"] == 64 << 20
    assert "A=1" in shown["Config"]["Env"]
    assert host.ok("rename", "box", "moved") == ""
    assert host.ok("rm", "moved") == "moved\n"
    missing = host.cli("inspect", "moved")
    assert (missing.status, missing.out, missing.err) == (1, "[]\n", "no such object: moved\n")


def test_rm_of_what_runs_needs_force(host: Any) -> None:
    host.ok("run", "-d", "--name", "box", host.image, *SLEEP)
    refused = host.cli("rm", "box", "nosuch")
    assert refused.status == 1
    assert refused.err.count("\n") == 2
    assert host.ok("rm", "-f", "box") == "box\n"


def test_wait_prints_the_code_of_each(host: Any) -> None:
    host.ok("run", "-d", "--name", "one", host.image, "sh", "-c", "exit 3")
    host.ok("run", "-d", "--name", "two", host.image, "true")
    assert host.ok("wait", "one", "two") == "3\n0\n"


def test_start_attached_shows_output_and_ends_with_the_code(host: Any) -> None:
    host.ok("create", "--name", "box", host.image, "sh", "-c", "echo hi; exit 4")
    result = host.cli("start", "-a", "box")
    assert (result.status, result.out) == (4, "hi\n")


def test_prune_asks_and_then_removes_what_is_stopped(host: Any) -> None:
    host.ok("run", "--name", "old", host.image, "true")
    host.ok("run", "-d", "--name", "new", host.image, *SLEEP)
    asked = host.cli("container", "prune", stdin=b"n\n")
    assert asked.status == 1
    assert "This will remove all stopped containers." in asked.out
    assert host.cli("container", "prune", stdin=b"y\n").status == 0
    assert host.ok("ps", "-a", "--format", "{{.Names}}") == "new\n"


# exec
def test_exec_has_streams_environment_and_the_command_s_code(host: Any) -> None:
    host.ok("run", "-d", "--name", "box", host.image, *SLEEP)
    result = host.cli("exec", "-e", "A=1", "-w", "/tmp", "box", "sh", "-c", "echo $A $PWD; exit 3")
    assert (result.status, result.out) == (3, "1 /tmp\n")
    assert host.ok("exec", "-i", "box", "cat", stdin=b"typed") == "typed"
    assert host.cli("exec", "box", "nosuch").status == 127
    assert host.cli("exec", "box", "/etc").status == 126
    host.ok("exec", "-d", "box", "touch", "/made")
    until(lambda: host.cli("exec", "box", "test", "-e", "/made").status == 0)
    missing = host.cli("exec", "nosuch", "true")
    assert missing.status == 1
    assert "nosuch" in missing.err


@pytest.mark.parametrize("verb", ["run", "exec"])
def test_a_terminal_without_a_terminal_is_refused_in_words(host: Any, verb: str) -> None:
    """And neither hangs nor leaves a container behind."""
    if verb == "exec":
        host.ok("run", "-d", "--name", "box", host.image, *SLEEP)
    words = ("--rm", host.image) if verb == "run" else ("box",)
    result = host.cli(verb, "-it", *words, "sh")
    assert result.err.endswith("the input device is not a TTY\n")
    assert result.status == (125 if verb == "run" else 1)


# terminals
@pytest.mark.parametrize("verb", ["run", "exec"])
def test_a_terminal_has_its_size_follows_it_and_has_a_name(host: Any, verb: str) -> None:
    if verb == "exec":
        host.ok("run", "-d", "--name", "box", host.image, *SLEEP)
    words = ("--rm", host.image) if verb == "run" else ("box",)
    with host.terminal(verb, "-it", *words, "sh", rows=33, columns=101) as terminal:
        terminal.until(b"# ")
        terminal.type(b"stty size; echo $TERM\n")
        terminal.until(b"33 101")
        terminal.until(b"xterm")
        terminal.resize(20, 77)
        terminal.signal(signal.SIGWINCH)
        terminal.type(b"until stty size | grep -q '20 77'; do sleep 0.1; done; echo re''sized\n")
        terminal.until(b"resized")
        terminal.type(b"exit 5\n")
        assert terminal.ends() == 5


def test_ctrl_c_on_a_terminal_goes_to_the_container(host: Any) -> None:
    script = "trap 'exit 130' INT; echo go; while :; do sleep 0.1; done"
    with host.terminal("run", "-it", "--rm", host.image, "sh", "-c", script) as terminal:
        terminal.until(b"go")
        terminal.type(b"\x03")
        assert terminal.ends() == 130


def test_a_signal_without_a_terminal_goes_to_the_container(host: Any) -> None:
    """Unless --sig-proxy=false says otherwise; the container's own code comes back."""
    script = "trap 'echo caught; exit 9' INT; echo go; while :; do sleep 0.1; done"
    process = host.open(
        "run",
        "--rm",
        host.image,
        "sh",
        "-c",
        script,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == b"go\n"
    process.send_signal(signal.SIGINT)
    out, _ = process.communicate(timeout=60)
    assert (process.returncode, out) == (9, b"caught\n")


def test_detach_keys_leave_the_container_running_and_attach_comes_back(host: Any) -> None:
    with host.terminal("run", "-it", "--name", "box", host.image, "sh") as terminal:
        terminal.until(b"# ")
        terminal.type(b"\x10\x11")
        assert terminal.ends() == 0
    assert state(host, "box") == "running"
    with host.terminal("attach", "box") as terminal:
        terminal.type(b"echo b$((1+1))\n")
        terminal.until(b"b2")
        terminal.type(b"\x10\x11")
        terminal.until(b"read escape sequence")
        assert terminal.ends() == 1
    with host.terminal("attach", "--detach-keys", "ctrl-x,x", "box") as terminal:
        terminal.type(b"echo c$((1+2))\n")
        terminal.until(b"c3")
        terminal.type(b"exit 6\n")
        assert terminal.ends() == 6
    assert host.cli("attach", "box").err == "cannot attach to a stopped container, start it first\n"


# files
def test_cp_both_ways_by_docker_s_rules(host: Any, tmp_path: Path) -> None:
    host.ok("run", "-d", "--name", "box", host.image, *SLEEP)
    source = tmp_path / "source"
    (source / "below").mkdir(parents=True)
    (source / "below" / "file").write_text("content")
    (source / "link").symlink_to("below/file")
    host.ok("cp", str(source), "box:/tmp")
    assert host.ok("exec", "box", "cat", "/tmp/source/link") == "content"
    host.ok("cp", f"{source}/.", "box:/srv")
    assert host.ok("exec", "box", "cat", "/srv/below/file") == "content"
    host.ok("cp", "box:/srv/below", str(tmp_path / "back"))
    assert (tmp_path / "back" / "file").read_text() == "content"
    host.ok("cp", "box:srv/below/file", str(tmp_path))
    assert (tmp_path / "file").read_text() == "content"
    host.ok("cp", "-L", "box:/srv/link", str(tmp_path / "followed"))
    assert (tmp_path / "followed").read_text() == "content"
    for words in (("box:/nosuch", str(tmp_path)), (str(tmp_path / "nosuch"), "box:/tmp"),
                  (str(source), "box:/srv/below/file"), ("nosuch:/x", str(tmp_path))):  # fmt: skip
        refused = host.cli("cp", *words)
        assert refused.status == 1
        assert refused.err.count("\n") == 1


def test_cp_streams_archives(host: Any) -> None:
    host.ok("run", "-d", "--name", "box", host.image, *SLEEP)
    buffer = BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        info = tarfile.TarInfo("f")
        info.size = 4
        tar.addfile(info, BytesIO(b"data"))
    host.ok("cp", "-", "box:/tmp", stdin=buffer.getvalue())
    assert host.ok("exec", "box", "cat", "/tmp/f") == "data"
    done = subprocess.run(
        [*host_argv(host), "cp", "box:/tmp/f", "-"],
        capture_output=True,
        env=host.environment,
        timeout=60,
        check=True,
    )
    with tarfile.open(fileobj=BytesIO(done.stdout)) as tar:
        assert tar.getnames() == ["f"]


def test_diff_and_export(host: Any, tmp_path: Path) -> None:
    host.ok("run", "--name", "box", host.image, "sh", "-c", "echo x > /new; rm /bin/vi || true")
    changes = host.ok("diff", "box").splitlines()
    assert "A /new" in changes
    target = tmp_path / "out.tar"
    host.ok("export", "-o", str(target), "box")
    with tarfile.open(target) as tar:
        assert {"new", "bin/sh"} <= {name.removeprefix("./") for name in tar.getnames()}


# looking
def test_top_stats_port_and_update(host: Any) -> None:
    host.ok("run", "-d", "--name", "box", "-p", "127.0.0.1:18080:80", host.image, *SLEEP)
    assert host.ok("port", "box") == "80/tcp -> 127.0.0.1:18080\n"
    assert host.ok("port", "box", "80") == "127.0.0.1:18080\n"
    nothing = host.cli("port", "box", "81/udp")
    assert nothing.err == "no public port '81/udp' published for box\n"
    titles = host.ok("top", "box").splitlines()[0].split()
    assert "PID" in titles
    lines = host.ok("stats", "--no-stream").splitlines()
    assert lines[0].split()[:3] == ["CONTAINER", "ID", "NAME"]
    assert "box" in lines[1].split()
    assert host.ok("update", "-m", "100m", "--memory-swap", "-1", "box") == "box\n"
    assert host.ok("inspect", "-f", "{{.HostConfig.Memory}}", "box") == f"{100 << 20}\n"
    assert host.cli("update", "box").status == 1


def test_events_tell_the_life_of_a_container(host: Any) -> None:
    host.ok("run", "--rm", "--name", "told", host.image, "true")
    line = ("events", "--since", "5m", "--until", "0s", "--filter", "container=told")
    told = host.ok(*line, "--format", "{{.Action}}").split()
    assert [word for word in told if word in ("create", "start", "die", "destroy")] == [
        "create", "start", "die", "destroy",
    ]  # fmt: skip
    body = json.loads(host.ok(*line, "--format", "json").splitlines()[0])
    assert body["Actor"]["Attributes"]["name"] == "told"
    assert " container create " in host.ok(*line)


def test_volumes_live_from_create_to_prune(host: Any) -> None:
    assert host.ok("volume", "create", "--label", "a=b", "kept") == "kept\n"
    host.ok("run", "--name", "box", "-v", "kept:/data", host.image, "sh", "-c", "echo x > /data/f")
    assert host.ok("run", "--rm", "-v", "kept:/data:ro", host.image, "cat", "/data/f") == "x\n"
    assert json.loads(host.ok("volume", "inspect", "kept"))[0]["Labels"] == {"a": "b"}
    used = host.cli("volume", "rm", "kept")
    assert used.status == 1
    assert "in use" in used.err
    host.ok("rm", "box")
    assert "kept" in host.ok("volume", "prune", "-a", "-f")
    assert host.ok("volume", "ls", "-q") == ""


def test_networks_of_a_host_join_containers_by_name(host: Any) -> None:
    labels = ("--label", "tier=web", "--label", "a=b")
    identity = host.ok("network", "create", *labels, "--subnet", "10.77.0.0/24", "front").strip()
    try:
        tier = ("network", "ls", "--format", "{{.Name}}", "--filter", "label=tier")
        assert host.ok(*tier, "--filter", "label=a=b") == "front\n"
        assert host.ok(*tier, "--filter", "label=a=c") == ""
        listed = host.ok("network", "ls", "--format", "{{.Name}} {{.Driver}} {{.Scope}}")
        assert {"front bridge local", "bridge bridge local", "none null local"} <= set(
            listed.splitlines()
        )
        host.ok("run", "-d", "--name", "web", "--network", "front", host.image, *SLEEP)
        answer = host.ok("run", "--rm", "--network", "front", host.image, "nslookup", "web")
        assert "10.77.0." in answer
        shown = json.loads(host.ok("network", "inspect", "front"))[0]
        assert (shown["Id"], shown["IPAM"]["Config"][0]["Subnet"]) == (identity, "10.77.0.0/24")
        assert [c["Name"] for c in shown["Containers"].values()] == ["web"]
        assert host.cli("network", "rm", "front").status == 1
        host.ok("network", "connect", "bridge", "web")
        host.ok("network", "disconnect", "front", "web")
    finally:
        host.cli("rm", "-f", "web")
        assert host.ok("network", "rm", "front") == "front\n"


def test_images_are_inspected_tagged_and_pruned(host: Any) -> None:
    host.ok("tag", host.image, "mine:1")
    assert host.ok("image", "inspect", "-f", "{{.Os}}", "mine:1") == "linux\n"
    assert host.ok("inspect", "--type", "image", "-f", "{{.Os}}", host.image) == "linux\n"
    assert "Untagged: mine:1" in host.ok("rmi", "mine:1")
    assert "Total reclaimed space: 0B" in host.ok("image", "prune", "-f")
    assert host.cli("inspect", "--type", "image", "nosuch").status == 1


def test_system_tells_of_the_disk_and_prunes(host: Any) -> None:
    host.ok("run", "--name", "old", host.image, "true")
    kinds = [line.split()[0] for line in host.ok("system", "df").splitlines()]
    assert kinds == ["TYPE", "Images", "Containers", "Local", "Build"]
    assert "Containers space usage:" in host.ok("system", "df", "-v")
    asked = host.cli("system", "prune", stdin=b"\n")
    assert asked.status == 1
    assert "  - all stopped containers\n" in asked.out
    assert host.ok("system", "prune", "-f").splitlines()[0] == "Deleted Containers:"


def test_logs_follow_to_the_end_of_the_container(host: Any) -> None:
    """And what it writes meanwhile is shown as it comes."""
    script = "echo one; while [ ! -e /go ]; do sleep 0.1; done; echo two"
    host.ok("run", "-d", "--name", "told", host.image, "sh", "-c", script)
    process = host.open("logs", "-f", "told", stdout=subprocess.PIPE)
    assert process.stdout.readline() == b"one\n"
    host.ok("exec", "told", "touch", "/go")
    out, _ = process.communicate(timeout=60)
    assert (process.returncode, out) == (0, b"two\n")


def test_ps_shows_what_filters_ask_for(host: Any) -> None:
    host.ok("run", "-d", "--name", "first", "-l", "tier=web", host.image, *SLEEP)
    host.cli("run", "--name", "second", host.image, "sh", "-c", "exit 3")

    def names(*words: str) -> list[str]:
        return sorted(host.ok("ps", "--format", "{{.Names}}", *words).split())

    assert names() == ["first"]
    assert names("-a") == ["first", "second"]
    assert names("-l") == ["second"]
    assert names("-n", "2") == ["first", "second"]
    assert names("-a", "--filter", "status=exited") == ["second"]
    assert names("-a", "--filter", "exited=3") == ["second"]
    assert names("--filter", "label=tier=web") == ["first"]
    assert names("-a", "--filter", "name=sec") == ["second"]
    unknown = host.cli("ps", "--filter", "what=ever")
    assert unknown.status == 1
    assert "what" in unknown.err
    size = host.ok("ps", "-s").splitlines()
    assert size[0].split()[-1] == "SIZE"


def test_stats_stream_until_they_are_interrupted(host: Any) -> None:
    host.ok("run", "-d", "--name", "busy", host.image, *SLEEP)
    process = host.open("stats", "--format", "{{.Name}} {{.PIDs}}", "busy", stdout=subprocess.PIPE)
    for _ in range(2):
        assert process.stdout.readline().startswith(b"busy ")
    process.send_signal(signal.SIGINT)
    assert process.wait(60) == 130
    process.stdout.close()


def test_a_range_for_one_port_gives_the_first_that_is_free(host: Any) -> None:
    """8000-8002:80 is one port of the host, whichever nobody has; the fourth finds none."""
    line = ("run", "-d", "-p", "127.0.0.1:18200-18202:80", "--name")
    for name in ("one", "two", "three"):
        host.ok(*line, name, host.image, *SLEEP)
    found = [host.ok("port", name, "80").strip() for name in ("one", "two", "three")]
    assert found == [f"127.0.0.1:{18200 + n}" for n in range(3)]
    none = host.cli(*line, "four", host.image, *SLEEP)
    assert none.status == 125
    assert "no free port on this host from 18200 to 18202" in none.err
