"""A container's log driver as the supervisor takes it: tags, labels and names filled in.

Names of hosts are resolved here, where a slow answer holds up this one start: the supervisor talks
to addresses only.
"""

from __future__ import annotations

import asyncio
import functools
import re
import socket
from pathlib import Path

from swarmlite.errors import FailedPrecondition
from swarmlite.model import log_drivers
from swarmlite.model.log_drivers import LogConfig, Syslog
from swarmlite.proto.containers_pb2 import Container
from swarmlite.runtime.client import Log, LogFile

LOG_NAME = "container.log"
SHORT = 12
MAX_NAME = 256  # of a label or variable that a pattern is tried on


def log_path(folder: Path) -> Path:
    """The file of a container's output, in its folder."""
    return Path(f"{folder}/logs/{LOG_NAME}")


async def log_of(container: Container, folder: Path) -> Log:
    """Where the container's output goes. `env` and `labels` are to be set.

    Raises InvalidSpec for a wrong driver or option, FailedPrecondition for a host without address.
    """
    driver = container.config.log_driver
    config = _parsed(driver.name, tuple(sorted(driver.options.items())))
    far = config.name == "journald" or config.syslog is not None
    tag = ""
    if config.tag or far:
        tag = log_drivers.expand_tag(config.tag, _tag_fields(container))
    chosen = _chosen(config, container)
    remote: dict[str, object] | None = None
    if config.name == "journald":
        remote = {"kind": "journald", "fields": _journal_fields(container, tag, chosen)}
    elif config.syslog is not None:
        remote = {"kind": "syslog", **await _syslog(config.syslog), "tag": tag}
    file = None
    if config.file is not None:
        attrs = {**({"tag": tag} if config.tag else {}), **chosen}
        file = LogFile(
            log_path(folder),
            max_bytes=config.file.max_bytes,
            max_files=config.file.max_files,
            compress=config.file.compress,
            attrs=attrs,
        )
    return Log(
        file, remote=remote, blocking=config.blocking, max_buffer_bytes=config.max_buffer_bytes
    )


@functools.lru_cache(64)
def _parsed(name: str, options: tuple[tuple[str, str], ...]) -> LogConfig:
    """A service's tasks have the same ones."""
    return log_drivers.parse(name, dict(options))


def _tag_fields(container: Container) -> dict[str, str]:
    image = container.image_id.removeprefix("sha256:")
    return {
        "ID": container.id[:SHORT],
        "FullID": container.id,
        "Name": container.config.name,
        "ImageID": image[:SHORT],
        "ImageFullID": container.image_id,
        "ImageName": container.config.spec.image,
        "DaemonName": "swarmlite",
        "Command": " ".join(container.args),
    }


def _chosen(config: LogConfig, container: Container) -> dict[str, str]:
    """The labels and variables that the options name."""
    if not (config.labels or config.env or config.labels_regex or config.env_regex):
        return {}
    variables = dict(entry.partition("=")[::2] for entry in container.env)
    result: dict[str, str] = {}
    for names, pattern, values in (
        (config.labels, config.labels_regex, dict(container.labels)),
        (config.env, config.env_regex, variables),
    ):
        wanted = re.compile(pattern) if pattern else None
        for name, value in sorted(values.items()):
            if name in names or (wanted and len(name) <= MAX_NAME and wanted.search(name)):
                result[name] = value
    return result


def _journal_fields(container: Container, tag: str, chosen: dict[str, str]) -> dict[str, str]:
    """Docker's names; a label or variable becomes a field of capitals, digits and underscores."""
    fields = {
        re.sub(r"[^A-Z0-9]", "_", name.upper()).lstrip("_"): value for name, value in chosen.items()
    }
    fields.pop("", None)
    return fields | {
        "CONTAINER_ID": container.id[:SHORT],
        "CONTAINER_ID_FULL": container.id,
        "CONTAINER_NAME": container.config.name,
        "CONTAINER_TAG": tag,
        "IMAGE_NAME": container.config.spec.image,
        "SYSLOG_IDENTIFIER": tag,
    }


async def _syslog(target: Syslog) -> dict[str, object]:
    wire: dict[str, object] = {
        "transport": target.kind,
        "path": target.path,
        "facility": target.facility,
        "format": target.format,
        "hostname": socket.gethostname(),
    }
    if target.kind in ("udp", "tcp"):
        wire["address"] = await _resolved(target)
        wire["port"] = target.port
    return wire


async def _resolved(target: Syslog) -> str:
    loop = asyncio.get_running_loop()
    try:
        found = await loop.getaddrinfo(target.host, target.port)
    except (OSError, UnicodeError) as error:
        raise FailedPrecondition(
            f"--log-opt syslog-address: {target.host}: {getattr(error, 'strerror', error)}"
        ) from error
    return str(found[0][4][0])
