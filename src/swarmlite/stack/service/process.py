"""Keys of the process: image, command, environment, user, health, limits of the kernel."""

from __future__ import annotations

from swarmlite.model import devices
from swarmlite.stack import read
from swarmlite.stack.read import Handler
from swarmlite.stack.syntax import capabilities, security, small, volumes
from swarmlite.stack.tree import Node
from swarmlite.stack.world import Draft


def _image(node: Node, draft: Draft) -> None:
    draft.spec.task.container.image = read.line(node)


def _entrypoint(node: Node, draft: Draft) -> None:
    draft.spec.task.container.command[:] = read.strings(node)


def _command(node: Node, draft: Draft) -> None:
    draft.spec.task.container.args[:] = read.strings(node)


def _environment(node: Node, draft: Draft) -> None:
    lines = [f"{n}={v}" for n, v in read.pairs(node).items() if v is not None]
    with read.placed(node):
        draft.spec.task.container.env[:] = small.environment(lines, {})


def _env_file(node: Node, draft: Draft) -> None:
    """Its variables stand in environment."""


def _labels(node: Node, draft: Draft) -> None:
    draft.spec.task.container.labels.update(read.labels(node))


def _hostname(node: Node, draft: Draft) -> None:
    draft.spec.task.container.hostname = read.line_or_nothing(node)


def _user(node: Node, draft: Draft) -> None:
    draft.spec.task.container.user = "" if node.value is None else read.scalar(node)


def _groups(node: Node, draft: Draft) -> None:
    draft.spec.task.container.groups[:] = read.strings(node)


def _dir(node: Node, draft: Draft) -> None:
    draft.spec.task.container.dir = read.line_or_nothing(node)


def _init(node: Node, draft: Draft) -> None:
    draft.spec.task.container.init = read.boolean(node)


def _tty(node: Node, draft: Draft) -> None:
    draft.spec.task.container.tty = read.boolean(node)


def _stdin(node: Node, draft: Draft) -> None:
    draft.spec.task.container.open_stdin = read.boolean(node)


def _cgroupns(node: Node, draft: Draft) -> None:
    words = {"private": "private", "host": "host"}
    draft.spec.task.container.cgroupns_mode = read.word(node, words)


def _domain(node: Node, draft: Draft) -> None:
    draft.spec.task.container.domainname = read.line_or_nothing(node)


def _shm_size(node: Node, draft: Draft) -> None:
    draft.spec.task.container.shm_size_bytes = read.size(node)


def _privileged(node: Node, draft: Draft) -> None:
    draft.spec.task.container.privileged = read.boolean(node)


def _devices(node: Node, draft: Draft) -> None:
    for item in read.items(node):
        with read.placed(item):
            draft.spec.task.container.devices.append(devices.checked(read.line(item)))


def _security(node: Node, draft: Draft) -> None:
    for item in read.items(node):
        with read.placed(item):
            try:
                security.option(draft.spec.task.container, read.line(item), draft.world.folder)
            except OSError as error:
                raise item.error(f"cannot be read: {error.strerror}") from error


def _namespace(kind: str) -> Handler[Draft]:
    parse = security.namespace(kind)

    def handle(node: Node, draft: Draft) -> None:
        with read.placed(node):
            mode = parse(read.line_or_nothing(node))
        setattr(draft.spec.task.container, f"{kind}_mode", mode)

    return handle


def _read_only(node: Node, draft: Draft) -> None:
    draft.spec.task.container.read_only = read.boolean(node)


def _stop_signal(node: Node, draft: Draft) -> None:
    draft.spec.task.container.stop_signal = read.scalar(node)


def _cpuset(node: Node, draft: Draft) -> None:
    draft.spec.task.resources.cpuset_cpus = read.line(node)


def _cpu_shares(node: Node, draft: Draft) -> None:
    draft.spec.task.resources.cpu_shares = read.integer(node, 0, 2**18)


def _swappiness(node: Node, draft: Draft) -> None:
    draft.spec.task.resources.memory_swappiness = read.integer(node, 0, 100)


PINNED = ("always", "missing", "if_not_present", "build")
"""What comes to the same here: the image is pinned as it is deployed, and nodes get that one."""


def _pull_policy(node: Node, draft: Draft) -> None:
    if read.line(node) not in PINNED:
        draft.world.ignore("pull_policy", node)


def _grace(node: Node, draft: Draft) -> None:
    draft.spec.task.container.stop_grace_period.CopyFrom(read.duration(node))


def _oom(node: Node, draft: Draft) -> None:
    draft.spec.task.container.oom_score_adj = read.integer(node, -1000, 1000)


def _isolation(node: Node, draft: Draft) -> None:
    draft.spec.task.container.isolation = read.line(node)


def _sysctls(node: Node, draft: Draft) -> None:
    draft.spec.task.container.sysctls.update(read.labels(node))


def _cap_add(node: Node, draft: Draft) -> None:
    names = [capabilities.parse(read.line(item)) for item in read.items(node)]
    draft.spec.task.container.capability_add[:] = dict.fromkeys(names)


def _cap_drop(node: Node, draft: Draft) -> None:
    names = [capabilities.parse(read.line(item)) for item in read.items(node)]
    draft.spec.task.container.capability_drop[:] = dict.fromkeys(names)


def _ulimits(node: Node, draft: Draft) -> None:
    for name, item in read.mapping(node).items():
        both = item.value if isinstance(item.value, dict) else {"soft": item, "hard": item}
        soft, hard = (read.integer(both[key], -1) for key in ("soft", "hard"))
        with read.placed(item):
            draft.spec.task.container.ulimits.append(small.ulimit(name, soft, hard))


def _tmpfs(node: Node, draft: Draft) -> None:
    for item in read.items(node):
        with read.placed(item):
            draft.spec.task.container.mounts.append(volumes.parse_tmpfs(read.line(item)))


def _logging(node: Node, draft: Draft) -> None:
    read.fields(node, _LOGGING, draft)


def _log_driver(node: Node, draft: Draft) -> None:
    draft.spec.task.log_driver.name = read.line(node)


def _log_options(node: Node, draft: Draft) -> None:
    draft.spec.task.log_driver.options.update(read.labels(node))


_LOGGING: dict[str, Handler[Draft]] = {"driver": _log_driver, "options": _log_options}


def _healthcheck(node: Node, draft: Draft) -> None:
    read.fields(node, _HEALTH, draft)


def _test(node: Node, draft: Draft) -> None:
    draft.spec.task.container.healthcheck.test[:] = read.strings(node)


def _disable(node: Node, draft: Draft) -> None:
    if read.boolean(node):
        draft.spec.task.container.healthcheck.test[:] = ["NONE"]


def _retries(node: Node, draft: Draft) -> None:
    draft.spec.task.container.healthcheck.retries = read.integer(node, 0, 2**31 - 1)


def _health_duration(field: str) -> Handler[Draft]:
    def handle(node: Node, draft: Draft) -> None:
        getattr(draft.spec.task.container.healthcheck, field).CopyFrom(read.duration(node))

    return handle


_HEALTH: dict[str, Handler[Draft]] = {
    "test": _test,
    "interval": _health_duration("interval"),
    "timeout": _health_duration("timeout"),
    "retries": _retries,
    "start_period": _health_duration("start_period"),
    "start_interval": _health_duration("start_interval"),
    "disable": _disable,
}


def check(draft: Draft) -> None:
    """What must be there once all keys were read. Raises InvalidSpec."""
    if not draft.spec.task.container.image:
        raise draft.node.error("image is missing, and build too")


KEYS: dict[str, Handler[Draft]] = {
    "image": _image,
    "entrypoint": _entrypoint,
    "command": _command,
    "environment": _environment,
    "env_file": _env_file,
    "labels": _labels,
    "hostname": _hostname,
    "user": _user,
    "group_add": _groups,
    "working_dir": _dir,
    "init": _init,
    "tty": _tty,
    "cgroupns_mode": _cgroupns,
    "domainname": _domain,
    "shm_size": _shm_size,
    "stdin_open": _stdin,
    "privileged": _privileged,
    "devices": _devices,
    "security_opt": _security,
    "pid": _namespace("pid"),
    "ipc": _namespace("ipc"),
    "uts": _namespace("uts"),
    "userns_mode": _namespace("userns"),
    "cpuset": _cpuset,
    "cpu_shares": _cpu_shares,
    "mem_swappiness": _swappiness,
    "pull_policy": _pull_policy,
    "read_only": _read_only,
    "stop_signal": _stop_signal,
    "stop_grace_period": _grace,
    "oom_score_adj": _oom,
    "isolation": _isolation,
    "sysctls": _sysctls,
    "cap_add": _cap_add,
    "cap_drop": _cap_drop,
    "ulimits": _ulimits,
    "tmpfs": _tmpfs,
    "logging": _logging,
    "healthcheck": _healthcheck,
}
