"""What of encryption this node has in its kernel and on its disk; one event loop's."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import socket
from pathlib import Path

from swarmlite.errors import FailedPrecondition
from swarmlite.model.encryption import is_encrypted
from swarmlite.network import netlink
from swarmlite.network.encryption import keys as kept
from swarmlite.network.encryption import plan
from swarmlite.network.encryption.device import Device, hindrance
from swarmlite.network.encryption.keys import Keys
from swarmlite.network.encryption.plan import DEVICE, PORT, Peer
from swarmlite.network.netns import Threads
from swarmlite.network.view import View
from swarmlite.proto.types_pb2 import Encryption

log = logging.getLogger(__name__)


class Encrypting:
    """The device follows the view: it is there while some encrypted network is."""

    def __init__(
        self, threads: Threads, view: View, path: Path, *, data_path_addr: str, vxlan_port: int
    ) -> None:
        """`path`: of the keys' file. Nothing is touched before `start`."""
        self._threads, self._view, self._path = threads, view, path
        self.inner = plan.inner_address(data_path_addr)
        self._device = Device(self.inner, PORT, vxlan_port)
        self._keys: Keys | None = None
        self._reason = "it was not tried"
        self._told: bytes = b""
        self._lock = asyncio.Lock()
        self._there = True
        """Whether a device may be there: one that an earlier process left goes too."""

    async def start(self) -> None:
        """Find out whether this node can encrypt, and by which key. Raises OSError."""
        if not self._view.node_id:
            self._reason = "the node is in no swarm"
            return
        self._reason = await self._threads.run(self._try)
        if self._reason:
            return
        try:
            self._keys = await asyncio.to_thread(kept.load, self._path)
        except OSError as error:  # a full disk: the host's other networks work
            self._reason = f"its key cannot be kept: {error.strerror}"

    def _try(self) -> str:
        with contextlib.closing(netlink.Socket()) as channel:
            if DEVICE in channel.links():
                return ""
        return hindrance(self._threads.host) or _taken(PORT)

    def describe(self) -> Encryption:
        """For the managers."""
        if self._keys is None:
            return Encryption(reason=self._reason)
        return Encryption(public_key=self._keys.public, port=PORT)

    def preshare(self, key: bytes) -> bool:
        """Take the managers' key; whether it is another one, which `apply` is to spread."""
        if self._keys is None or not key or key == self._keys.preshared:
            return False
        self._keys = Keys(self._keys.private, key)
        return True

    def check(self) -> None:
        """Raise FailedPrecondition where this node can take part in no encrypted network."""
        if self._keys is None:
            raise FailedPrecondition(f"encrypted networks cannot be used here: {self._reason}")

    async def apply(self, mtu: int, *, needed: bool = False) -> int:
        """Bring the device to what the view says; how much of it that changed.

        `mtu`: of the data path; `needed`: also where the view has no encrypted network any more,
        for one is in use here. Raises OSError, FailedPrecondition.
        """
        async with self._lock:
            if not (needed or any(map(is_encrypted, self._view.networks.values()))):
                await self._remove()
                return 0
            self.check()
            keys = self._keys
            assert keys is not None
            wanted: dict[bytes, Peer] = plan.peers(self._view)
            again = keys.preshared != self._told
            self._there = True
            changed = await self._threads.run(
                lambda: self._device.apply(keys, wanted, mtu - plan.OVERHEAD, again=again)
            )
            if again:
                self._told = keys.preshared
                await asyncio.to_thread(kept.keep, self._path, keys)
            return changed

    async def _remove(self) -> None:
        if self._there:
            await self._threads.run(Device.remove)
            self._there, self._told = False, b""

    async def forget(self) -> None:
        """This node is in no swarm any longer. Raises OSError, FailedPrecondition."""
        async with self._lock:
            await self._remove()
            self._keys, self._reason = None, "the node is in no swarm"
            await asyncio.to_thread(lambda: self._path.unlink(missing_ok=True))


def _taken(port: int) -> str:
    """Whether somebody else listens at a port of the calling thread's namespace, in words."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.bind(("", port))
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                return f"UDP port {port} is taken on this host"
            raise
    return ""
