"""The one writer of what a node is: node.json, and the certificates beside it."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import fcntl
import os
import ssl
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from pathlib import Path

from swarmlite.errors import FailedPrecondition
from swarmlite.kernel import durable
from swarmlite.paths import Paths
from swarmlite.storage import trees

from . import node
from .certificates import CERTIFICATE, KEY, ROOTS, Certificates, Stamp, stamp_of
from .lock import KeyLock
from .node import NodeIdentity

SCRATCH = "joining"
"""Where init and join prepare everything, inside the state directory."""
LOOK_EVERY_S = 1.0


class Identity:
    """Of the node in one state directory. Methods block; OSError leaves things as they were."""

    def __init__(self, paths: Paths) -> None:
        """Nothing is read or made yet."""
        self._paths = paths
        self.certificates = Certificates(paths.certificates_dir)
        self.lock = KeyLock(paths)

    def read(self) -> NodeIdentity | None:
        """None outside of a swarm. Raises FailedPrecondition for a node.json that is broken."""
        return node.read(self._paths.node_file)

    # coming and going
    def scratch(self) -> Path:
        """An empty folder to prepare a new identity in; an earlier attempt's rests are removed."""
        folder = self._paths.state_dir / SCRATCH
        trees.sweep(folder)
        folder.mkdir(mode=0o700, parents=True)
        return folder

    def put_in_place(self, folder: Path, made: NodeIdentity) -> None:
        """What `folder` holds (certificates, etcd, manager) becomes the node's; node.json last.

        Without node.json the rest is ignored and removed by the next attempt: a crash in between
        leaves the node outside of the swarm.
        """
        for name in ("certificates", "etcd", "manager"):
            target = self._paths.state_dir / name
            trees.sweep(target)
            if (folder / name).exists():
                durable.replace(folder / name, target)
        durable.write(self._paths.node_file, made.encoded())
        trees.sweep(folder)

    def remove(self) -> None:
        """Out of the swarm: node.json first, then what it named."""
        durable.remove(self._paths.node_file)
        for folder in (
            self._paths.certificates_dir,
            self._paths.etcd_dir,
            self._paths.manager_dir,
            self._paths.state_dir / SCRATCH,
        ):
            trees.sweep(folder)
        self.lock.forget()
        # The tasks' journal stays: the agent stops what it names, and empties it.
        durable.remove(self._paths.agent_dir / "managers.json", sync=False)

    # the certificates
    def replace_certificate(self, *, key: bytes, certificate: bytes, worker: bool = False) -> None:
        """Put a new pair in the place of the one there is; the key first, and sealed where the
        manager's keys are: a `worker`'s never is.

        What a crash leaves between the two renames does not match: `finish` completes it.
        """
        folder = self._paths.certificates_dir
        if self.lock.engaged and not worker:
            self._replace_sealed(key, certificate)
            return
        files = {folder / KEY: key, folder / CERTIFICATE: certificate}
        with _locked(folder):  # the agent renews, and a promotion does
            try:
                for path, content in files.items():
                    durable.create(durable.scratch_of(path), content)
            except OSError:
                for path in files:
                    durable.remove(durable.scratch_of(path), sync=False)
                raise
            for path in files:
                durable.replace(durable.scratch_of(path), path)

    def _replace_sealed(self, key: bytes, certificate: bytes) -> None:
        scratch = durable.scratch_of(self._paths.certificates_dir / CERTIFICATE)
        with _locked(self._paths.certificates_dir):
            try:
                durable.create(scratch, certificate)
                self.lock.write(KEY, key)
            except OSError:
                durable.remove(scratch, sync=False)
                raise
            durable.replace(scratch, self._paths.certificates_dir / CERTIFICATE)

    def finish(self) -> None:
        """Complete a replacement that a crash interrupted; forget one that had not begun."""
        folder = self._paths.certificates_dir
        key, certificate = (durable.scratch_of(folder / name) for name in (KEY, CERTIFICATE))
        begun = certificate.exists() and not key.exists()
        if self.lock.engaged:  # the key has no scratch then
            begun = begun and _is_pair(certificate, folder / KEY)
        if begun:
            durable.replace(certificate, folder / CERTIFICATE)
        for rest in (key, certificate):
            durable.remove(rest, sync=False)

    def trust(self, roots: bytes) -> bool:
        """Trust these roots from now on; False when they are the ones trusted already, or none."""
        if not roots or roots == self.certificates.roots:
            return False
        durable.write(self._paths.certificates_dir / ROOTS, roots)
        return True

    # the role
    def change_role(
        self,
        role: str,
        etcd: Mapping[str, str] | None = None,
        etcd_endpoints: Sequence[str] = (),
        external_etcd: Mapping[str, str] | None = None,
    ) -> bool:
        """Take another role in the same cluster; False when it is this node's already.

        `etcd`, its endpoints and `external_etcd` are a manager's, as node.json says. Raises
        FailedPrecondition outside of a swarm. Whoever follows `changes` sees it.
        """
        known = self.read()
        if known is None:
            raise FailedPrecondition("this node is not part of a swarm")
        if known.role == role:
            return False
        changed = dataclasses.replace(
            known,
            role=role,
            etcd=etcd,
            etcd_endpoints=tuple(etcd_endpoints),
            external_etcd=external_etcd,
            promoted=False,
            hindrance="",
        )
        durable.write(self._paths.node_file, changed.encoded())
        return True

    def promote(self, wanted: bool, hindrance: str = "") -> bool:
        """Note that the cluster wants this worker as a manager, or no longer, and what hinders it;
        False when that is known, or it is none. Whoever follows `changes` sees it.
        """
        known = self.read()
        if known is None or known.manager:
            return False
        changed = dataclasses.replace(known, promoted=wanted, hindrance=hindrance)
        if changed == known:
            return False
        durable.write(self._paths.node_file, changed.encoded())
        return True

    def restart_etcd_from(self, data: Path, node: NodeIdentity) -> None:
        """Put this manager's etcd in the place of the one there was, in one step; `node` is what
        node.json says then. Nobody may be using either. Raises FailedPrecondition on a worker.
        """
        known = self.read()
        if known is None or not known.manager:
            raise FailedPrecondition("this node is not a swarm manager")
        durable.sync_disk(data)
        durable.exchange(data, self._paths.etcd_dir)
        durable.write(self._paths.node_file, node.encoded())

    async def changes(self, look_every_s: float = LOOK_EVERY_S) -> AsyncIterator[None]:
        """Yields once for each time that node.json was found replaced, made or gone."""
        seen = self._stamp()
        while True:
            await asyncio.sleep(look_every_s)
            found = self._stamp()
            if found != seen:
                seen = found
                yield

    def _stamp(self) -> Stamp | None:
        try:
            return stamp_of(self._paths.node_file)
        except OSError:
            return None


def _is_pair(certificate: Path, key: Path) -> bool:
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_cert_chain(certificate, key)
    except (OSError, ssl.SSLError):
        return False
    return True


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """One process at a time; the lock ends with it."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def make_certificates(folder: Path, *, roots: bytes, key: bytes, certificate: bytes) -> None:
    """The folder and its files, in a place that nobody reads yet. Raises OSError."""
    folder.mkdir(mode=0o700)
    for name, content in ((ROOTS, roots), (KEY, key), (CERTIFICATE, certificate)):
        durable.create(folder / name, content)
    durable.sync_folder(folder)
