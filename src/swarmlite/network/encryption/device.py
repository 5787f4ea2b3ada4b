"""The WireGuard device of a host, by pyroute2. Synchronous; on threads of `netns.Threads` only."""

from __future__ import annotations

import contextlib
import errno
import ipaddress
import os
from base64 import b64decode
from collections.abc import Iterable
from typing import Any, Protocol

from swarmlite.errors import FailedPrecondition
from swarmlite.network import netlink, netns, nft
from swarmlite.network.encryption.keys import Keys
from swarmlite.network.encryption.plan import (
    DEVICE,
    LIST_GUARD,
    NO_GUARD,
    PREFIX_LENGTH,
    Peer,
    changes,
    guard,
    text_of,
)


class Channel(Protocol):
    """What is asked of pyroute2's WireGuard."""

    def set(self, interface: str, **values: Any) -> Any:
        """Change the device, or one of its peers."""

    def info(self, interface: str) -> Any:
        """The device with its peers, in parts."""

    def close(self) -> Any:
        """Let go of it."""


class Device:
    """One host's. It is made when the first encrypted network is, and goes with the last."""

    def __init__(self, inner: str, port: int, vxlan_port: int) -> None:
        """`inner`: this node's address inside; `port`: where it takes what is encrypted."""
        self._inner, self._port, self._vxlan_port = inner, port, vxlan_port
        self._told: dict[bytes, Peer] = {}
        self._guard = ""
        """What nft lists of the guard that this process has loaded."""

    def apply(self, keys: Keys, wanted: dict[bytes, Peer], mtu: int, *, again: bool) -> int:
        """Make or mend the device and bring its peers to `wanted`; how many things that changed.

        `again`: the managers' key is another one. Raises OSError, FailedPrecondition.
        """
        # Imported here: most nodes have no encrypted network, and it is a fifth of what an agent
        # loads.
        from pyroute2.netlink.exceptions import NetlinkError

        try:
            self._keep_guard()  # before anything could be sent
            made = self._link(mtu)
            try:
                return made + self._fill(keys, wanted, again=again or made)
            except BaseException:
                if made:  # another time it is made as a whole
                    with contextlib.suppress(OSError):
                        self._delete()
                raise
        except NetlinkError as error:
            raise OSError(error.code, f"WireGuard: {error}") from error

    def _keep_guard(self) -> None:
        """Loaded only where it is not as it should be: whoever looks after other tables of this
        namespace loads them again after each change of the rules.
        """
        with contextlib.suppress(FailedPrecondition):  # deleted
            if self._guard and nft.ask(LIST_GUARD) == self._guard:
                return
        nft.run(guard(self._vxlan_port, self._inner))
        self._guard = nft.ask(LIST_GUARD)

    def _fill(self, keys: Keys, wanted: dict[bytes, Peer], *, again: bool) -> int:
        """Set what differs, whoever made the device and however far they came."""
        count = 0
        with contextlib.closing(_channel()) as channel:
            parts = list(channel.info(DEVICE))
            if identity_of(parts) != (keys.public, self._port):
                private = text_of(keys.private)
                channel.set(DEVICE, private_key=private, listen_port=self._port)
                count += 1
            for peer in changes(self._known(parts), wanted, keys.preshared, again=again):
                channel.set(DEVICE, peer=peer)
                count += 1
        self._told = dict(wanted)
        return count + self._address()

    def _known(self, parts: Iterable[Any]) -> dict[bytes, Peer]:
        """What the kernel has; where a node moved to by itself is not for us to take back."""
        found = peers_of(parts)
        for key, peer in found.items():
            told = self._told.get(key)
            if told is not None and told.inner == peer.inner:
                found[key] = told
        return found

    def _link(self, mtu: int) -> bool:
        """Whether the device had to be made."""
        with contextlib.closing(netlink.Socket()) as channel:
            link = channel.links().get(DEVICE)
            if link is None:
                channel.send([netlink.make_link(DEVICE, "wireguard", mtu)])
            elif link.mtu != mtu:
                channel.send([netlink.set_link(DEVICE, mtu=mtu)])
            return link is None

    def _address(self) -> bool:
        """Last of all: nothing is led to the device before it knows its peers. Whether it was due.

        Raises OSError.
        """
        with contextlib.closing(netlink.Socket()) as channel:
            link = channel.links().get(DEVICE)
            if link is None:
                raise OSError(errno.ENODEV, f"{DEVICE} was deleted")
            index = link.index
            if link.up and (index, self._inner, PREFIX_LENGTH) in channel.addresses6():
                return False
            with contextlib.suppress(OSError):
                channel.send([netlink.no_ipv6(index)])
            netns.write_sysctl(f"ipv6/conf/{DEVICE}/disable_ipv6", "0")
            channel.send(
                [
                    netlink.set_link(index),
                    netlink.add_address(index, self._inner, PREFIX_LENGTH),
                ]
            )
            return True

    @staticmethod
    def _delete() -> None:
        with contextlib.closing(netlink.Socket()) as channel:
            channel.send([netlink.delete_link(DEVICE)], ignore=[errno.ENODEV])

    @classmethod
    def remove(cls) -> None:
        """Nothing of it stays. Raises OSError, FailedPrecondition."""
        cls._delete()
        nft.run(NO_GUARD)


def _channel() -> Channel:
    from pyroute2.netlink.generic.wireguard import WireGuard  # here, as above

    found: Channel = WireGuard()
    return found


def identity_of(parts: Iterable[Any]) -> tuple[bytes, int]:
    """A device's own public key and its port; empty and 0 where it has none."""
    for part in parts:
        key = part.get("WGDEVICE_A_PUBLIC_KEY")
        return b64decode(key or b""), part.get("WGDEVICE_A_LISTEN_PORT") or 0
    return b"", 0


def peers_of(parts: Iterable[Any]) -> dict[bytes, Peer]:
    """The peers of a device as the kernel tells them; a peer in several parts is one."""
    found: dict[bytes, Peer] = {}
    for part in parts:
        for peer in part.get("WGDEVICE_A_PEERS") or ():
            key = b64decode(peer.get("WGPEER_A_PUBLIC_KEY"))
            end = peer.get("WGPEER_A_ENDPOINT") or {"addr": "", "port": 0}
            inner = [ip.get("addr", "") for ip in peer.get("WGPEER_A_ALLOWEDIPS") or ()]
            # Where a node is heard from is where it is: only the address inside says who it is.
            address = _outer(inner[0]) if inner else ""
            found[key] = Peer(key, address, end["port"])
    return found


def _outer(inner: str) -> str:
    """The data path address in an address of ours; empty for any other."""
    with contextlib.suppress(ValueError):
        number = int(ipaddress.IPv6Interface(inner).ip)
        return str(ipaddress.IPv4Address(number & 0xFFFFFFFF))
    return ""


def hindrance(host: int) -> str:
    """Why this kernel cannot encrypt, tried in a namespace of its own; empty where it can."""
    if not netns.has_ipv6():
        return "the kernel has no IPv6, by which encrypted networks are led"
    with netns.created(host) as namespace, contextlib.closing(netlink.Socket()) as channel:
        try:
            channel.send([netlink.make_link("wg0", "wireguard", 1420)])
        except OSError as error:
            return (
                "the kernel has no WireGuard: kernel option CONFIG_WIREGUARD, module wireguard"
                f" ({error.strerror or error})"
            )
        finally:
            os.close(namespace)
    return ""
