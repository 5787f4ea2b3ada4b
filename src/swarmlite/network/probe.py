"""What this host lacks for our networks, one line each."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable

from swarmlite.errors import FailedPrecondition
from swarmlite.network import conntrack, netlink, netns, nft, vip_table


def probe() -> list[str]:
    """Try each kernel feature in a namespace of its own; a warning for each that is missing.

    Synchronous, some 10 ms, on a thread of its own (see `netns.Threads.run`); nothing is left.
    """
    warnings = []
    if nft.load() is None:
        if shutil.which("nft") is None and not os.access("/usr/sbin/nft", os.X_OK):
            return ["nftables is missing: install the packages nftables and libnftables1"]
        warnings.append(
            "libnftables.so.1 is missing: every change of the host's tables runs the nft command, "
            "which is slower; install the package libnftables1"
        )
    host = netns.open_own()
    try:
        namespace = netns.create(host)
        try:
            with netns.inside(namespace, host):
                warnings += [line for check in _CHECKS if (line := check(namespace))]
        finally:
            os.close(namespace)
    except OSError as error:
        warnings.append(f"network namespaces cannot be made ({error.strerror}): run as root")
    finally:
        os.close(host)
    return warnings


def _bridge(_: int) -> str:
    return _links([netlink.make_bridge("br0", 1450)], "bridges: kernel option CONFIG_BRIDGE")


def _vxlan(namespace: int) -> str:
    make = netlink.make_vxlan(
        "vx0", vni=1, local="127.0.0.1", port=4789, mtu=1450, namespace=namespace
    )
    return _links([make], "VXLAN: kernel option CONFIG_VXLAN")


def _links(messages: list[netlink.Message], what: str) -> str:
    channel = netlink.Socket()
    try:
        channel.send(messages)
    except OSError as error:
        return f"the kernel has no {what} ({error.strerror})"
    finally:
        channel.close()
    return ""


def _tables(_: int) -> str:
    try:
        vips = {"192.0.2.1": ["192.0.2.2", "192.0.2.3"]}
        nft.transact(vip_table.load(vips, start=0, ports=(5300, 5300)))
    except FailedPrecondition as error:
        return f"the kernel lacks what VIPs need of nftables: {error}"
    return ""


def _conntrack(_: int) -> str:
    try:
        conntrack.forget(["192.0.2.1"])
    except OSError as error:
        return f"connections to removed tasks cannot be cut ({error.strerror}): kernel 5.10 can"
    return ""


_CHECKS: list[Callable[[int], str]] = [_bridge, _vxlan, _tables, _conntrack]
