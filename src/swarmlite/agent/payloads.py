"""Secrets and configs of running tasks: on a tmpfs of the agent's own, never on a disk.

Shape: RUN_DIR/secrets is one tmpfs; below it a folder a container with `secrets/` (bound read-only
on /run/secrets) and `files/N` (bound read-only where their targets say).
"""

from __future__ import annotations

import asyncio
import logging
import os
import posixpath
from collections.abc import Callable, Mapping
from pathlib import Path

from swarmlite.errors import FailedPrecondition, InvalidSpec
from swarmlite.kernel import mounting
from swarmlite.model import templates
from swarmlite.model.numerals import decimal
from swarmlite.proto.objects_pb2 import Config, Node, Secret, Task
from swarmlite.proto.types_pb2 import FileTarget, Mount
from swarmlite.storage import trees

log = logging.getLogger(__name__)

SECRETS_TARGET = "/run/secrets"
TMPFS_MAGIC = 0x01021994


class PayloadFiles:
    """Writes the payloads of one container at a time; all are gone with `remove`."""

    def __init__(self, root: Path) -> None:
        """`root` becomes the tmpfs; nothing is mounted before `mount`."""
        self._root = root

    def mount(self) -> None:
        """Mount the tmpfs unless an earlier start did. Raises FailedPrecondition."""
        self._root.mkdir(mode=0o700, parents=True, exist_ok=True)
        if self._root.is_mount():
            return
        options = b"mode=0700,size=256m"
        flags = mounting.MS_NOSUID | mounting.MS_NODEV | mounting.MS_NOEXEC
        try:
            mounting.mount(b"tmpfs", os.fsencode(self._root), b"tmpfs", flags, options)
        except OSError as error:
            reason = os.strerror(error.errno or 0)
            raise FailedPrecondition(
                f"cannot mount a tmpfs for secrets on {self._root}: {reason}"
            ) from error

    def containers(self) -> list[str]:
        """Ids of containers that have a folder."""
        return sorted(entry.name for entry in self._root.iterdir()) if self._root.is_dir() else []

    def remove(self, container_id: str) -> None:
        """Forget a container's payloads; safe to repeat."""
        trees.sweep(self._root / container_id)

    def write(self, container_id: str, task: Task, node: Node, payloads: Payloads) -> list[Mount]:
        """Write what the task names and return the mounts for it, read-only.

        Raises InvalidSpec for a template that fails or a target that leaves its place.
        """
        folder = self._root / container_id
        self.remove(container_id)
        container = task.spec.container
        files = _Files(folder)
        data = payloads.data_of(task)
        context = templates.payload_context(task, node, data.secrets, data.configs)
        for reference in container.secrets:
            secret = payloads.secrets[reference.secret_id]
            content = _expanded(secret.spec.data, secret.spec.HasField("templating"), context)
            files.add(reference.file, reference.secret_name, SECRETS_TARGET, content)
        for config_reference in container.configs:
            if not config_reference.HasField("file"):
                continue
            config = payloads.configs[config_reference.config_id]
            content = _expanded(config.spec.data, config.spec.HasField("templating"), context)
            files.add(config_reference.file, config_reference.config_name, "/", content)
        return files.mounts()


class _Files:
    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._singles: list[tuple[Path, str]] = []
        self._secrets = False

    def add(self, file: FileTarget, name: str, base: str, content: bytes) -> None:
        target = posixpath.normpath(posixpath.join(base, file.name or name))
        if target == base or not target.startswith("/") or "\0" in target:
            raise InvalidSpec(f"invalid target {file.name!r} of {name}")
        if target.startswith(SECRETS_TARGET + "/"):
            path = self._folder / "secrets" / target.removeprefix(SECRETS_TARGET + "/")
            self._secrets = True
        else:
            path = self._folder / "files" / str(len(self._singles))
            self._singles.append((path, target))
        _write(path, file, content, self._folder)

    def mounts(self) -> list[Mount]:
        pairs = [(self._folder / "secrets", SECRETS_TARGET)] if self._secrets else []
        return [
            Mount(type=Mount.BIND, source=str(source), target=target, readonly=True)
            for source, target in [*pairs, *self._singles]
        ]


def _write(path: Path, file: FileTarget, content: bytes, root: Path) -> None:
    path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
    for folder in path.parents:
        if folder == root.parent:
            break
        folder.chmod(0o755)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o400)
    with os.fdopen(descriptor, "wb") as stream:
        stream.write(content)
        os.fchown(descriptor, _id(file.uid), _id(file.gid))
        os.fchmod(descriptor, (file.mode or 0o444) & 0o7777)


def _id(text: str) -> int:
    if not text:
        return 0
    if (number := decimal(text, 0, 2**31 - 1)) is None:
        raise InvalidSpec(f"the owner of a secret or config is a number, not {text[:40]!r}")
    return number


def _expanded(data: bytes, templated: bool, context: templates.Context) -> bytes:
    return templates.expand_payload(data, context) if templated else data


class Payloads:
    """The secrets and configs at hand, and waiting for those that are not."""

    def __init__(self) -> None:
        """Empty: before a session nothing is at hand."""
        self.secrets: Mapping[str, Secret] = {}
        self.configs: Mapping[str, Config] = {}
        self._changed = asyncio.Event()

    def replace(self, secrets: Mapping[str, Secret], configs: Mapping[str, Config]) -> None:
        """What the managers sent last; who waits looks again."""
        self.secrets, self.configs = secrets, configs
        self._changed.set()
        self._changed = asyncio.Event()

    def missing(self, task: Task) -> list[str]:
        """Names of what the task needs and that is not at hand."""
        container = task.spec.container
        return [
            f"secret {reference.secret_name}"
            for reference in container.secrets
            if reference.secret_id not in self.secrets
        ] + [
            f"config {reference.config_name}"
            for reference in container.configs
            if reference.config_id not in self.configs
        ]

    async def ready(self, task: Task, waiting: Callable[[list[str]], None]) -> None:
        """Returns once everything that the task names is at hand; `waiting` hears what is not."""
        while missing := self.missing(task):
            waiting(missing)
            await self._changed.wait()

    def data_of(self, task: Task) -> _Data:
        """Payloads by the names under which the task's templates ask for them."""
        container = task.spec.container
        return _Data(
            {
                reference.file.name or reference.secret_name: self.secrets[
                    reference.secret_id
                ].spec.data
                for reference in container.secrets
            },
            {
                reference.file.name or reference.config_name: self.configs[
                    reference.config_id
                ].spec.data
                for reference in container.configs
            },
        )


class _Data:
    def __init__(self, secrets: dict[str, bytes], configs: dict[str, bytes]) -> None:
        self.secrets = secrets
        self.configs = configs
