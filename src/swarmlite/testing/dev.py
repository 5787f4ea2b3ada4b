"""`swarmlite dev`: a cluster on this machine for a person to use, and to break.

Each function is a command of its own, so what there is stands on disk (see `record`); the folder
also has a script for each host, which enters it. All raise NotFound where nothing is up.
"""

from __future__ import annotations

import json
import os
import shlex
import signal
import sys
import zlib
from pathlib import Path

from swarmlite.errors import AlreadyExists, FailedPrecondition, InvalidSpec, NotFound
from swarmlite.storage import trees

from . import cgroup_sweep, images, record
from .cluster import Cluster
from .host import Host
from .namespaces import kill_machine
from .registry import Registry
from .sampler import start_ticks

_DEFAULT = "/var/tmp/swarmlite-dev"
ROOT = Path(os.environ.get("SWARMLITE_DEV_DIR", _DEFAULT))
"""The hosts' disks; another folder is another cluster."""
NAME = "dev" if str(ROOT) == _DEFAULT else f"dev{zlib.crc32(os.fsencode(ROOT)) & 0xFFFF:04x}"
PROCESSES = ("daemon", "agent", "manager", "etcd", "supervisor")
REGISTRY_PORT = 5000


def up(
    nodes: int = 3,
    *,
    managers: int = 1,
    registry: bool = False,
    daemon_options: tuple[str, ...] = (),
) -> Cluster:
    """Bring up `nodes` hosts that outlive this process and answer the cluster.

    With `registry` one runs beside them, with the images of `images.ready`. Raises AlreadyExists
    when a cluster is up, FailedPrecondition without root.
    """
    if os.geteuid() != 0:
        raise FailedPrecondition(
            "swarmlite dev makes hosts of namespaces: run it as root, or with sudo"
        )
    if (ROOT / record.FILE).exists():
        raise AlreadyExists("a development cluster is up already: `swarmlite dev down` ends it")
    ROOT.mkdir(mode=0o700, parents=True, exist_ok=True)
    cluster = Cluster(
        managers,
        nodes - managers,
        name=NAME,
        outlive=True,
        root=ROOT,
        swarm=False,
        daemon_options=daemon_options,
    )
    cluster.up()
    # Before the swarm forms: whatever fails from here on, `dev down` finds what to end.
    _save(cluster)
    try:
        cluster.form_swarm()
        if registry:
            _start_registry(cluster)
    except BaseException:
        cluster.collect()
        down()
        raise
    return cluster


def cluster() -> Cluster:
    """The cluster that is up."""
    try:
        return record.read(ROOT)
    except FileNotFoundError as error:
        raise NotFound("no development cluster is up: `swarmlite dev up` makes one") from error
    except ProcessLookupError as error:
        raise NotFound(
            "the development cluster has ended, as at a boot of this machine:"
            " `swarmlite dev down` removes what it left"
        ) from error


def add(role: str) -> Host:
    """One more host, "manager" or "worker", joined."""
    there = cluster()
    try:
        return there.add(role)
    finally:
        _save(there)


def kill(name: str, process: str = "") -> None:
    """Cut a host's power, or kill one of its processes (see PROCESSES)."""
    there, host = _host(name)
    if process:
        _running(host).signal_process(process, signal.SIGKILL)
        return
    _running(host).kill()
    _save(there)


def boot(name: str, process: str = "") -> None:
    """Power a host on, or start its daemon. Raises FailedPrecondition when it runs."""
    there, host = _host(name)
    if process == "daemon":
        if _has_daemon(_running(host)):
            raise FailedPrecondition(f"the daemon of {name} runs")
        host.start_daemon(wait=False)
    elif process:
        raise InvalidSpec(f"the daemon of {name} starts its {process}: boot the daemon")
    elif host.machine is not None:
        raise FailedPrecondition(f"{name} is on")
    else:
        host.boot(wait=False)
    _save(there)
    there.wait(lambda: bool(host.status()), 30, f"the daemon of {name}")


def restart(name: str, process: str = "") -> None:
    """Power a host off and on, or end one of its processes and see it started again."""
    there, host = _host(name)
    if process == "daemon":
        _running(host).signal_process("daemon", signal.SIGTERM)
        there.wait(lambda: not _has_daemon(host), 30, f"the end of the daemon of {name}")
        boot(name, "daemon")
    elif process:
        old = _running(host).signal_process(process, signal.SIGTERM)
        there.wait(lambda: host.node_pid(process) != old, 30, f"another {process} of {name}")
    else:
        host.kill()
        _save(there)
        boot(name)


def registry_address() -> str:
    """HOST:PORT of the registry. Raises NotFound when there is none."""
    try:
        return str(json.loads((ROOT / "registry.json").read_text())["address"])
    except FileNotFoundError as error:
        raise NotFound("there is no registry: `swarmlite dev up --registry` starts one") from error


def environment(host: str = "manager1") -> dict[str, str]:
    """The variables that make the CLI of this shell talk to a host."""
    _, found = _host(host)
    return {key: found.environment[key] for key in ("SWARMLITE_STATE_DIR", "SWARMLITE_RUN_DIR")}


def down() -> None:
    """End the hosts and remove all that `up` made."""
    if not ROOT.exists():
        raise NotFound("no development cluster is up")
    try:
        ended = record.read(ROOT)
    except (FileNotFoundError, ProcessLookupError):
        pass  # the machine was booted, or `up` was killed: nothing in the folder runs
    else:
        for host in ended.hosts:
            host.kill()
        assert ended.lan is not None
        ended.lan.close()
    _end_registry()
    cgroup_sweep.remove(f"/swarmlite-{NAME}")
    trees.sweep(ROOT)


def _host(name: str) -> tuple[Cluster, Host]:
    there = cluster()
    try:
        return there, there.host(name)
    except KeyError as error:
        names = ", ".join(host.name for host in there.hosts)
        raise NotFound(f"there is no host {name}: there are {names}") from error


def _running(host: Host) -> Host:
    if host.machine is None:
        raise FailedPrecondition(f"{host.name} is off: `swarmlite dev boot {host.name}`")
    return host


def _has_daemon(host: Host) -> bool:
    from .host import CommandFailed

    try:
        return bool(host.node_pid("daemon"))
    except CommandFailed:
        return False


def _save(cluster: Cluster) -> None:
    """What is so now: the record, and a script a host.

    NAME COMMAND... runs a command on the host, in the folder where it is typed; without one, a
    shell.
    """
    record.write(cluster)
    (ROOT / "bin").mkdir(exist_ok=True)
    for host in cluster.hosts:
        script = ROOT / "bin" / host.name
        script.write_text(_script(host))
        script.chmod(0o755)


def _script(host: Host) -> str:
    if host.machine is None:
        return f"#!/bin/sh\necho '{host.name} is off: swarmlite dev boot {host.name}' >&2\nexit 1\n"
    variables = " ".join(f"{key}={shlex.quote(value)}" for key, value in host.environment.items())
    path = f"PATH={shlex.quote(str(Path(sys.executable).parent))}:$PATH"
    enter = shlex.join(host.machine.enter([])[:-1])
    return (
        "#!/bin/sh\n[ $# -gt 0 ] || set -- sh\n"
        f'exec {enter} --wdns="$PWD" -- env {variables} {path} "$@"\n'
    )


def _start_registry(cluster: Cluster) -> None:
    assert cluster.lan is not None
    registry = Registry(cluster.lan.gateway, port=REGISTRY_PORT, outlive=ROOT / "registry")
    registry.__enter__()  # it is left in `down`, which another process calls
    entry = {"pid": registry.pid, "start_ticks": start_ticks(registry.pid)}
    (ROOT / "registry.json").write_text(json.dumps({**entry, "address": registry.address}))
    for image in images.ready():
        registry.push(image)


def _end_registry() -> None:
    try:
        entry = json.loads((ROOT / "registry.json").read_text())
        if start_ticks(entry["pid"]) == entry["start_ticks"]:
            kill_machine(entry["pid"])
    except OSError:
        pass  # there is none, or it has ended
