"""macvlan and ipvlan: containers on the network of one of the host's own interfaces.

Off the path of most starts, so pyroute2 serves it; it is loaded when the first such network is
used, since loading it takes as long as hundreds of starts.
"""

from __future__ import annotations

import contextlib
import errno
import importlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from swarmlite.errors import FailedPrecondition
from swarmlite.model.numerals import decimal
from swarmlite.network.claims import Claims
from swarmlite.network.drivers.api import Plug
from swarmlite.network.netlink import mac_text

ALIAS = "swarmlite"
"""Marks the parents that were made here: they go with their network."""
_IPVLAN_MODES = {"l2": 0, "l3": 1, "l3s": 2}


@dataclass(frozen=True)
class SublinkShape:
    """What such a network is to be."""

    kind: str
    """macvlan or ipvlan."""
    mode: str
    parent: str
    """An interface of the host, or `eth0.100`, made when it is not there; empty: a private one."""
    network_id: str
    mtu: int = 0

    @property
    def interface(self) -> str:
        """The parent's name."""
        return self.parent or f"dm-{self.network_id[:12]}"


@contextlib.contextmanager
def _route() -> Iterator[Any]:
    with importlib.import_module("pyroute2").IPRoute() as route:
        yield route


def _reason(error: Exception) -> int:
    """The number of a pyroute2 error, of which not all are OSErrors."""
    return int(getattr(error, "code", 0) or getattr(error, "errno", 0) or 0)


@contextlib.contextmanager
def _needs(what: str) -> Iterator[None]:
    """Raises FailedPrecondition with `what` where the kernel does not know a kind of link."""
    try:
        yield
    except Exception as error:
        if _reason(error) != errno.EOPNOTSUPP:
            raise
        raise FailedPrecondition(what) from error


class Sublink:
    """See Driver."""

    inside = True

    def __init__(self, shape: SublinkShape) -> None:
        """Find or make the parent. Raises FailedPrecondition, OSError."""
        self.shape = shape
        self._build()

    def _build(self) -> bool:
        """Whether the parent had to be made."""
        name = self.shape.interface
        with _translated(self.shape), _route() as route:
            found = route.link_lookup(ifname=name)
            if found:
                self._index = int(found[0])
                return False
            self._make(route, name)
            self._index = int(route.link_lookup(ifname=name)[0])
            route.link("set", index=self._index, IFLA_IFALIAS=ALIAS)
            route.link("set", index=self._index, state="up")
            return True

    def _make(self, route: Any, name: str) -> None:
        if not self.shape.parent:
            with _needs(
                f"{self.shape.kind} without -o parent needs dummy devices, which this host's "
                "kernel lacks: name an interface of the host with -o parent"
            ):
                route.link("add", ifname=name, kind="dummy")
            return
        base, _, tag = name.rpartition(".")
        below = route.link_lookup(ifname=base) if base else []
        vlan = decimal(tag, 1, 4094)
        if not below or vlan is None:
            raise FailedPrecondition(f"-o parent: this host has no interface {name}")
        with _needs(f"parent {name} needs VLAN interfaces, which this host's kernel lacks"):
            route.link("add", ifname=name, kind="vlan", link=below[0], vlan_id=vlan)

    def attach(self, plug: Plug, *, namespace: int, index: int) -> None:
        """See Driver."""
        shape = self.shape
        options: dict[str, Any] = {"index": index} if index else {}
        if shape.kind == "macvlan":
            options |= {"macvlan_mode": shape.mode, "address": mac_text(plug.mac)}
        else:
            options |= {"ipvlan_mode": _IPVLAN_MODES[shape.mode]}
        if shape.mtu:
            options["mtu"] = shape.mtu
        with _translated(shape), _route() as route:
            route.link(
                "add",
                ifname=plug.interface,
                kind=shape.kind,
                link=self._index,
                net_ns_fd=namespace,
                **options,
            )

    def expect(self, plug: Plug) -> None:
        """See Driver: the interface lives in the sandbox only."""

    def detach(self, port: str) -> None:
        """See Driver."""

    def reconcile(self, claims: Claims) -> list[str]:
        """See Driver. What hung on a parent that was deleted is gone with it."""
        return [f"{self.shape.interface} made again"] if self._build() else []

    def close(self) -> None:
        """See Driver: nothing is held."""

    def destroy(self) -> None:
        """See Driver."""
        remove(self.shape)


@contextlib.contextmanager
def _translated(shape: SublinkShape) -> Iterator[None]:
    try:
        yield
    except (FailedPrecondition, OSError):
        raise
    except Exception as error:
        number = _reason(error)
        if number == errno.EOPNOTSUPP:
            raise FailedPrecondition(
                f"this host's kernel has no {shape.kind}: kernel option CONFIG_{shape.kind.upper()}"
            ) from error
        if number == errno.EBUSY:
            raise FailedPrecondition(
                f"interface {shape.interface} is in use by a bridge or another kind of network: "
                f"{shape.kind} needs it for itself"
            ) from error
        if not number:
            raise
        raise OSError(number, f"{shape.kind} on {shape.interface}: {error}") from error


def remove(shape: SublinkShape) -> None:
    """Take the parent away if it was made here. Raises OSError, FailedPrecondition."""
    if shape.parent and "." not in shape.parent:
        return
    with _translated(shape), _route() as route:
        for index in route.link_lookup(ifname=shape.interface):
            (link,) = route.get_links(index)
            if link.get("ifalias") == ALIAS:
                route.link("del", index=index)
