"""Published ports of the ingress: one owner for each protocol, number and host address."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from swarmlite.errors import AlreadyExists, ResourceExhausted
from swarmlite.model.validate.endpoint import where
from swarmlite.proto.types_pb2 import PortConfig

FIRST_AUTOMATIC, LAST_AUTOMATIC = 30000, 32767

Port = tuple[int, int]
"""A protocol and a number."""


def is_ingress(port: PortConfig) -> bool:
    """Whether the port is published on every node."""
    return port.publish_mode == PortConfig.INGRESS


class PublishedPorts:
    """Who has which port of the ingress."""

    def __init__(self) -> None:
        self._owners: dict[Port, dict[str, str]] = {}
        """By host address, empty for all of them."""
        self._cursor = FIRST_AUTOMATIC

    def release(self, owner: str) -> None:
        """Give back all that `owner` has; safe to repeat."""
        for port, owners in list(self._owners.items()):
            for address in [a for a, who in owners.items() if who == owner]:
                del owners[address]
            if not owners:
                del self._owners[port]

    def take(self, owner: str, ports: Sequence[PortConfig]) -> None:
        """Note what `owner` was given before; of two owners the first keeps it."""
        for port in ports:
            if is_ingress(port) and port.published_port:
                owners = self._owners.setdefault((port.protocol, port.published_port), {})
                owners.setdefault(where(port), owner)

    def allocate(
        self,
        owner: str,
        wanted: Sequence[PortConfig],
        before: Sequence[PortConfig],
        name_of: Callable[[str], str] = str,
    ) -> list[PortConfig]:
        """Every wanted port with its number, and nothing else left to `owner`.

        An automatic number stays what it was `before`; `name_of` an owner is for errors. Raises
        AlreadyExists and ResourceExhausted, when nothing has changed.
        """
        given = [_copy(port) for port in wanted]
        self._check(owner, given, name_of)
        self.release(owner)
        self.take(owner, given)
        kept = {_identity(p): p.published_port for p in before if is_ingress(p)}
        for port in given:
            if is_ingress(port) and not port.published_port:
                self._assign(owner, port, kept.get(_identity(port), 0))
        return given

    def _check(
        self, owner: str, given: Sequence[PortConfig], name_of: Callable[[str], str]
    ) -> None:
        automatic = 0
        for port in given:
            if not is_ingress(port):
                continue
            automatic += not port.published_port
            other = self._holder(owner, port)
            if other is not None:
                raise AlreadyExists(
                    f"port {port.published_port} is already published by service {name_of(other)}"
                )
        if automatic and self._free_automatic() < automatic:
            raise ResourceExhausted(
                f"no port left to publish between {FIRST_AUTOMATIC} and {LAST_AUTOMATIC}"
            )

    def _holder(self, owner: str, port: PortConfig) -> str | None:
        """Who else has the port on an address that meets its own."""
        address = where(port)
        for other, who in self._owners.get((port.protocol, port.published_port), {}).items():
            if who != owner and (other == address or not other or not address):
                return who
        return None

    def _free_automatic(self) -> int:
        used = {n for _, n in self._owners if FIRST_AUTOMATIC <= n <= LAST_AUTOMATIC}
        return LAST_AUTOMATIC - FIRST_AUTOMATIC + 1 - len(used)

    def _assign(self, owner: str, port: PortConfig, before: int) -> None:
        number = before
        while not number or (port.protocol, number) in self._owners:
            number = self._cursor
            self._cursor = number + 1 if number < LAST_AUTOMATIC else FIRST_AUTOMATIC
        port.published_port = number
        self._owners[port.protocol, number] = {where(port): owner}


def _identity(port: PortConfig) -> tuple[str, int, int]:
    return port.name, port.protocol, port.target_port


def _copy(port: PortConfig) -> PortConfig:
    copy = PortConfig()
    copy.CopyFrom(port)
    return copy
