"""What a container spec may say."""

# ruff: noqa: SIM905  # word lists read better as words
from __future__ import annotations

import re
from collections.abc import Callable

from swarmlite.errors import InvalidSpec
from swarmlite.model.image_sources import check_sources
from swarmlite.model.numerals import decimal
from swarmlite.model.references import HOST_GATEWAY, Reference
from swarmlite.model.signals import signal_number
from swarmlite.proto.specs_pb2 import ContainerSpec
from swarmlite.proto.types_pb2 import FileTarget, HealthConfig

from . import checks, mounts

CAPABILITIES = frozenset(
    """
    AUDIT_CONTROL AUDIT_READ AUDIT_WRITE BLOCK_SUSPEND BPF CHECKPOINT_RESTORE CHOWN DAC_OVERRIDE
    DAC_READ_SEARCH FOWNER FSETID IPC_LOCK IPC_OWNER KILL LEASE LINUX_IMMUTABLE MAC_ADMIN
    MAC_OVERRIDE MKNOD NET_ADMIN NET_BIND_SERVICE NET_BROADCAST NET_RAW PERFMON SETFCAP SETGID
    SETPCAP SETUID SYSLOG SYS_ADMIN SYS_BOOT SYS_CHROOT SYS_MODULE SYS_NICE SYS_PACCT SYS_PTRACE
    SYS_RAWIO SYS_RESOURCE SYS_TIME SYS_TTY_CONFIG WAKE_ALARM ALL
    """.split()
)
ULIMITS = frozenset(
    """
    core cpu data fsize locks memlock msgqueue nice nofile nproc rss rtprio rttime sigpending stack
    """.split()
)
MAX_HOSTNAME = 64
"""As many characters as the kernel takes."""
_SYSCTL = re.compile(r"[a-z0-9_][a-zA-Z0-9_.\-/]*")
_SYSCTLS = ("net.", "fs.mqueue.")
_IPC_SYSCTLS = frozenset(
    f"kernel.{name}" for name in ("msgmax msgmnb msgmni sem shmall shmmax shmmni"
                                  " shm_rmid_forced").split()
)  # fmt: skip
_HEALTH_TESTS = ("NONE", "CMD", "CMD-SHELL")


@checks.in_one_line
def validate_container(spec: ContainerSpec) -> None:
    """Raise InvalidSpec for the first rule that `spec` breaks."""
    for rule in RULES:
        rule(spec)


def _image(spec: ContainerSpec) -> None:
    if not spec.image:
        raise InvalidSpec("image: must be provided")
    Reference.parse(spec.image)
    check_sources(spec.pull_options.sources)


def _command(spec: ContainerSpec) -> None:
    for where, words in (("command", spec.command), ("args", spec.args)):
        for word in words:
            checks.text(where, word, lines=True)


def _environment(spec: ContainerSpec) -> None:
    for entry in spec.env:
        name, _, value = entry.partition("=")  # a bare NAME takes the image's away
        if not name or not name.isprintable():
            raise InvalidSpec(f"--env {entry[:60]!r}: expected NAME=value")
        checks.text(f"--env {name}", value, lines=True)
        checks.template(f"--env {name}", entry)


def _identity(spec: ContainerSpec) -> None:
    if "{{" in spec.hostname:
        checks.template("--hostname", spec.hostname)
    elif spec.hostname:
        checks.host_name("--hostname", spec.hostname, MAX_HOSTNAME)
    if spec.user:
        checks.user("--user", spec.user)
    for group in spec.groups:
        checks.group("--group", group)
    if spec.dir:
        checks.path("--workdir", spec.dir)
    checks.labels("--container-label", spec.labels)


def _terminal(spec: ContainerSpec) -> None:
    if spec.cgroupns_mode not in ("", "private", "host"):
        raise InvalidSpec(
            f"invalid cgroup namespace mode {spec.cgroupns_mode[:40]!r}: expected private or host"
        )
    if spec.shm_size_bytes < 0:
        raise InvalidSpec("SHM size can not be less than 0")
    if spec.domainname:
        checks.host_name("domainname", spec.domainname, MAX_HOSTNAME)


def _stopping(spec: ContainerSpec) -> None:
    if spec.stop_signal:
        signal_number(spec.stop_signal, "--stop-signal")
    checks.duration("--stop-grace-period", spec.stop_grace_period)


def _kernel(spec: ContainerSpec) -> None:
    for where, names in (("--cap-add", spec.capability_add), ("--cap-drop", spec.capability_drop)):
        for name in names:
            if name.upper().removeprefix("CAP_") not in CAPABILITIES:
                raise InvalidSpec(f"{where} {name[:40]!r}: no such capability")
    for name, value in spec.sysctls.items():
        checks.text(f"--sysctl {name[:60]!r}", value)
        allowed = name.startswith(_SYSCTLS) or name in _IPC_SYSCTLS
        if not allowed or not _SYSCTL.fullmatch(name) or ".." in name:
            raise InvalidSpec(
                f"--sysctl {name[:60]!r}: only net.*, fs.mqueue.* and kernel IPC settings"
                " belong to a container"
            )
    for ulimit in spec.ulimits:
        _ulimit(ulimit.name, ulimit.soft, ulimit.hard)
    checks.unique("--ulimit", [u.name for u in spec.ulimits])
    checks.between("--oom-score-adj", spec.oom_score_adj, -1000, 1000)


def _ulimit(name: str, soft: int, hard: int) -> None:
    if name not in ULIMITS:
        raise InvalidSpec(f"--ulimit {name[:40]!r}: expected one of {', '.join(sorted(ULIMITS))}")
    if soft < -1 or hard < -1:
        raise InvalidSpec(f"--ulimit {name}: must be -1 (unlimited) or more")
    if hard != -1 and (soft == -1 or soft > hard):
        raise InvalidSpec(f"--ulimit {name}: the soft limit {soft} is above the hard limit {hard}")


def _name_resolution(spec: ContainerSpec) -> None:
    for line in spec.hosts:
        checks.text("--host", line)
        words = line.split()
        if len(words) < 2:
            raise InvalidSpec(f"--host {line[:60]!r}: expected an address and a name")
        if words[0] != HOST_GATEWAY:
            checks.address("--host", words[0])
        for name in words[1:]:
            checks.host_name("--host", name)
    for address in spec.dns_config.nameservers:
        checks.address("--dns", address)
    for where, values, like in (
        ("--dns-search", spec.dns_config.search, "a domain, such as example.com"),
        ("--dns-option", spec.dns_config.options, "an option of resolv.conf, such as ndots:2"),
    ):
        for value in values:
            if not re.fullmatch(r"[A-Za-z0-9_.:\-]{1,255}", value):
                raise InvalidSpec(f"{where} {value[:60]!r}: expected {like}")


def _health(spec: ContainerSpec) -> None:
    health: HealthConfig = spec.healthcheck
    if health.test and health.test[0] not in _HEALTH_TESTS:
        raise InvalidSpec(
            f"--health-cmd: {health.test[0][:40]!r} is not a kind of test, expected"
            f" {', '.join(_HEALTH_TESTS)}"
        )
    if health.test and health.test[0] != "NONE" and len(health.test) < 2:
        raise InvalidSpec("--health-cmd: the command is missing")
    for word in health.test:
        checks.text("--health-cmd", word, lines=True)
    for name in ("interval", "timeout", "start_period", "start_interval"):
        value = getattr(health, name)
        where = f"--health-{name.replace('_', '-')}"
        checks.duration(where, value)
        if 0 < value.ToNanoseconds() < 1_000_000:
            raise InvalidSpec(f"{where}: must be 1ms or more")
    checks.between("--health-retries", health.retries, 0, 1_000_000)


def _files(spec: ContainerSpec) -> None:
    targets = [mounts.normal(mount.target) for mount in spec.mounts]
    for secret in spec.secrets:
        if not secret.secret_id and not secret.secret_name:
            raise InvalidSpec("--secret: names no secret")
        targets.append(_file("--secret", secret.secret_name, secret.file, "/run/secrets/"))
    for config in spec.configs:
        if not config.config_id and not config.config_name:
            raise InvalidSpec("--config: names no config")
        targets.append(_file("--config", config.config_name, config.file, "/"))
    checks.unique("mount, secret and config targets", targets)


def _file(kind: str, source: str, file: FileTarget, base: str) -> str:
    where, name = f"{kind} {source}", file.name or source
    target = name if name.startswith("/") else base + name
    checks.path(f"{where}: target", target)
    if mounts.normal(target) in ("/", "/run/secrets"):
        raise InvalidSpec(f"{where}: target: names no file")
    for what, value in (("uid", file.uid), ("gid", file.gid)):
        if value and decimal(value, 0, 2**31 - 1) is None:
            raise InvalidSpec(f"{where}: {what} {value[:40]!r} is not a number")
    checks.between(f"{where}: mode", file.mode, 0, 0o7777)
    return mounts.normal(target)


RULES: tuple[Callable[[ContainerSpec], None], ...] = (
    _image,
    _command,
    _environment,
    _identity,
    _terminal,
    _stopping,
    _kernel,
    _name_resolution,
    _health,
    mounts.validate_mounts,
    _files,
)
