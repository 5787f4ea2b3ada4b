"""HostConfig: what of a container depends on its host, into its configuration."""

from __future__ import annotations

import json
from collections.abc import Iterable

from swarmlite.docker.fields import Fields
from swarmlite.docker.reading import binds, endpoints, mounts, resources
from swarmlite.errors import InvalidSpec
from swarmlite.model import log_drivers
from swarmlite.proto.containers_pb2 import ContainerConfig
from swarmlite.proto.specs_pb2 import ContainerSpec
from swarmlite.proto.types_pb2 import Privileges

RUNTIMES = ("", "swarmlite", "runc", "io.containerd.runc.v2")


def read(fields: Fields, config: ContainerConfig) -> None:
    """Everything of it, written into `config`. Raises InvalidSpec."""
    _refuse(fields)
    spec = config.spec
    config.resources.CopyFrom(resources.resources(fields))
    config.restart.CopyFrom(resources.restart_policy(fields.object("RestartPolicy")))
    logs = fields.object("LogConfig")
    config.log_driver.name = logs.text("Type")
    config.log_driver.options.update(logs.mapping("Config"))
    config.network_mode = fields.text("NetworkMode")
    config.ports.extend(endpoints.published(fields))
    config.publish_all = fields.flag("PublishAllPorts")
    config.auto_remove = fields.flag("AutoRemove")
    config.volumes_from.extend(fields.texts("VolumesFrom"))
    config.annotations.update(fields.mapping("Annotations"))
    _console(fields, config)
    _process(fields, spec)
    _namespaces(fields, spec)
    _names(fields, spec)
    _mounts(fields, spec)
    security(fields, spec)
    spec.isolation = fields.text("Isolation").lower()
    config.volume_driver = fields.text("VolumeDriver")


def _refuse(fields: Fields) -> None:
    """What is not honoured, said before anything is made."""
    if fields.text("Runtime") not in RUNTIMES:
        raise InvalidSpec(f"unknown or invalid runtime name: {fields.text('Runtime')[:60]}")
    if fields.text("Isolation").lower() not in ("", "default"):
        raise InvalidSpec(f"invalid isolation {fields.text('Isolation')[:40]!r}: use default")
    driver = fields.object("LogConfig").text("Type")
    if driver not in ("", "none", *log_drivers.OPTIONS):
        raise InvalidSpec(f"logger: no log driver named '{driver[:60]}' is registered")
    if fields.items("DeviceRequests"):
        raise InvalidSpec(
            "could not select a device driver for DeviceRequests: GPUs and CDI devices are not"
            " supported; Devices passes a device by its path"
        )
    if fields.mapping("StorageOpt"):
        raise InvalidSpec("StorageOpt: the storage driver has no options for one container")


def _console(fields: Fields, config: ContainerConfig) -> None:
    size = fields.items("ConsoleSize")
    if len(size) == 2 and all(isinstance(n, int) and 0 <= n < 2**16 for n in size):
        config.console_height, config.console_width = size
    elif size:
        raise fields.wrong("ConsoleSize", "expected [height, width]")


def _process(fields: Fields, spec: ContainerSpec) -> None:
    spec.capability_add.extend(capabilities(fields.words("CapAdd")))
    spec.capability_drop.extend(capabilities(fields.words("CapDrop")))
    spec.groups.extend(fields.texts("GroupAdd"))
    score = fields.number("OomScoreAdj")
    if not -1000 <= score <= 1000:
        raise InvalidSpec(f"Invalid value {score}, range for oom score adj is [-1000, 1000]")
    spec.oom_score_adj = score
    spec.privileged = fields.flag("Privileged")
    spec.read_only = fields.flag("ReadonlyRootfs")
    spec.sysctls.update(fields.mapping("Sysctls"))
    for each in fields.objects("Ulimits"):
        spec.ulimits.add(name=each.text("Name"), soft=each.number("Soft"), hard=each.number("Hard"))
    spec.devices.extend(_device(each) for each in fields.objects("Devices"))
    if fields.has("Init"):
        spec.init = fields.flag("Init")
    spec.shm_size_bytes = fields.number("ShmSize")


def capabilities(names: Iterable[str]) -> list[str]:
    """With CAP_ and in upper case, each once."""
    upper = (name.strip().upper() for name in names)
    return list(
        dict.fromkeys(n if n == "ALL" or n.startswith("CAP_") else f"CAP_{n}" for n in upper)
    )


def _device(fields: Fields) -> str:
    source = fields.text("PathOnHost")
    target = fields.text("PathInContainer") or source
    return f"{source}:{target}:{fields.text('CgroupPermissions') or 'rwm'}"


def _namespaces(fields: Fields, spec: ContainerSpec) -> None:
    spec.ipc_mode = fields.text("IpcMode")
    spec.pid_mode = fields.text("PidMode")
    spec.uts_mode = fields.text("UTSMode")
    spec.userns_mode = fields.text("UsernsMode")
    spec.cgroupns_mode = fields.text("CgroupnsMode")


def _names(fields: Fields, spec: ContainerSpec) -> None:
    spec.dns_config.nameservers.extend(fields.texts("Dns"))
    spec.dns_config.options.extend(fields.texts("DnsOptions"))
    spec.dns_config.search.extend(fields.texts("DnsSearch"))
    spec.hosts.extend(_host(text) for text in fields.texts("ExtraHosts"))


def _host(text: str) -> str:
    """ "name:IP" or "name=IP" as a line of hosts(5)."""
    name, found, address = text.partition("=" if "=" in text else ":")
    if not found or not name or not address:
        raise InvalidSpec(f'bad format for add-host: "{text[:80]}"')
    return f"{address.strip().strip('[]')} {name}"


def _mounts(fields: Fields, spec: ContainerSpec) -> None:
    driver = fields.text("VolumeDriver")
    spec.mounts.extend(binds.bind(text, driver) for text in fields.texts("Binds"))
    for each in fields.objects("Mounts"):
        mounts.mount(each, spec.mounts.add())
    spec.mounts.extend(binds.tmpfs(*pair) for pair in fields.mapping("Tmpfs").items())


def security(fields: Fields, spec: ContainerSpec) -> None:
    """SecurityOpt; paths of the system that are to be open come as empty lists."""
    for text in fields.texts("SecurityOpt"):
        _security_option(text, spec)
    opened = fields.raw("MaskedPaths") == [] and fields.raw("ReadonlyPaths") == []
    if opened and "systempaths=unconfined" not in spec.security_options:
        spec.security_options.append("systempaths=unconfined")


def _security_option(text: str, spec: ContainerSpec) -> None:
    name, equals, word = text.partition("=")
    if not equals:  # the older notation
        name, _, word = text.partition(":")
    if name == "no-new-privileges":
        if word not in ("", "true", "false"):
            raise InvalidSpec(f"invalid --security-opt {text[:60]!r}: expected true or false")
        spec.privileges.no_new_privileges = word != "false"
    elif name == "seccomp":
        _seccomp(word, spec.privileges.seccomp)
    elif name == "apparmor" and word == "unconfined":
        spec.privileges.apparmor.mode = Privileges.AppArmorOpts.DISABLED
    elif name in ("apparmor", "label") or text == "systempaths=unconfined":
        spec.security_options.append(text)
    else:
        raise InvalidSpec(f'invalid --security-opt 2: "{text[:60]}"')


def _seccomp(word: str, seccomp: Privileges.SeccompOpts) -> None:
    """A profile comes as its text: the client has read the file."""
    if word == "unconfined":
        seccomp.mode = Privileges.SeccompOpts.UNCONFINED
    elif word not in ("builtin", "default"):
        try:
            is_object = isinstance(json.loads(word), dict)
        except (ValueError, RecursionError) as error:
            raise InvalidSpec(f"decoding seccomp profile failed: {error}") from error
        if not is_object:
            raise InvalidSpec("decoding seccomp profile failed: expected a JSON object")
        seccomp.mode = Privileges.SeccompOpts.CUSTOM
        seccomp.profile = word.encode()
