"""A network's VXLAN device, sent through and listened to beside its containers."""

from __future__ import annotations

import contextlib
import ctypes
import socket
import struct
from collections.abc import Callable, Mapping

from swarmlite.network import netlink, netns
from swarmlite.network.checking.frames import ETHERTYPE, Frame, mac_of, pack, unpack
from swarmlite.network.drivers.overlay import VXLAN, Overlay

_ETH_P_ALL = 3
_SO_ATTACH_FILTER = 26
_BURST = 512


class _Program(ctypes.Structure):
    _fields_ = [("length", ctypes.c_ushort), ("filter", ctypes.c_void_p)]


class Wire:
    """Of one check on one network. Made and closed on a thread of `netns.Threads`."""

    def __init__(self, overlay: Overlay, host: int, tag: bytes, peers: Mapping[int, str]) -> None:
        """`peers`: the data path addresses by number. Raises OSError."""
        self._tag, self._peers = tag, peers
        with netns.inside(overlay.namespace, host):
            self._netlink = netlink.Socket()
            # All protocols: the bridge takes a frame before those who ask for one kind see it.
            self.socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
        try:
            self._index = self._netlink.index(VXLAN)
            _only(self.socket, ETHERTYPE)
            self.socket.setblocking(False)
            self.socket.bind((VXLAN, _ETH_P_ALL))
            self._netlink.send(self._entries(delete=False))
        except BaseException:
            self.close()
            raise

    def _entries(self, *, delete: bool) -> list[netlink.Message]:
        """Of the device only; what is forgotten here goes by its age."""
        return [
            netlink.probed(self._index, mac_of(self._tag, number), to=address, delete=delete)
            for number, address in self._peers.items()
        ]

    def send(self, frame: Frame) -> None:
        """What the kernel refuses is not heard, and counts as that."""
        with contextlib.suppress(OSError):
            self.socket.send(pack(self._tag, frame))

    def receive(self, take: Callable[[Frame], None]) -> None:
        """Hand over what has come, some hundreds at most."""
        for _ in range(_BURST):
            try:
                data = self.socket.recv(1 << 16)
            except OSError:  # nothing more, or the device was made again
                return
            frame = unpack(self._tag, data)
            if frame is not None:
                take(frame)

    def close(self) -> None:
        """Nothing of it stays; safe where the device is gone."""
        self.socket.close()
        with contextlib.suppress(OSError):
            if hasattr(self, "_index"):
                self._netlink.send(self._entries(delete=True))
        self._netlink.close()


def _only(packets: socket.socket, ethertype: int) -> None:
    """Have the kernel leave all other frames out: classic BPF, linux/filter.h."""
    code = b"".join(
        struct.pack("=HBBI", *instruction)
        for instruction in (
            (0x28, 0, 0, 12),  # ldh [12]
            (0x15, 0, 1, ethertype),  # jeq
            (0x06, 0, 0, 1 << 16),  # ret all of it
            (0x06, 0, 0, 0),  # ret none
        )
    )
    kept = ctypes.create_string_buffer(code)
    program = _Program(len(code) // 8, ctypes.cast(kept, ctypes.c_void_p))
    packets.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, bytes(program))
