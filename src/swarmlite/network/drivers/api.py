"""What every kind of network does for a sandbox."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from swarmlite.network.claims import Claims

NEXT_HOP6 = "fe80::1"
NEXT_HOP_MAC = bytes.fromhex("02534c000001")
"""Who leads IPv6 on, on every overlay: its own bridge."""


@dataclass(frozen=True)
class Plug:
    """A sandbox's place on a network."""

    port: str
    """The name of the host's end, unique on this host; drivers without one use it as a key."""
    interface: str
    """The name of the sandbox's end."""
    address: str
    prefix: int
    mac: bytes
    address6: str = ""
    prefix6: int = 0


class Driver(Protocol):
    """One network in this host's kernel. On threads of `netns.Threads` only.

    Making one makes its kernel objects or takes up those that are there.
    """

    @property
    def inside(self) -> bool:
        """Whether a place is its sandbox's interface only, which is to be taken away there: what
        others may have next would else be in use for as long as the namespace lasts.
        """

    def attach(self, plug: Plug, *, namespace: int, index: int) -> None:
        """Put an interface, down and without addresses, into `namespace`.

        `index`: what it is to have there; 0: the kernel's choice. Raises OSError,
        FailedPrecondition; failed: nothing of it is left.
        """

    def expect(self, plug: Plug) -> None:
        """Count what an earlier process attached as ours."""

    def detach(self, port: str) -> None:
        """Forget a place; its interface goes with the sandbox's namespace. Safe to repeat."""

    def reconcile(self, claims: Claims) -> list[str]:
        """Repair what differs from what was made; one line for each repair. Raises OSError.

        Ports that nobody claims go.
        """

    def close(self) -> None:
        """Let go of descriptors; what is in the kernel stays."""

    def destroy(self) -> None:
        """Take all of it out of the kernel; safe when nothing is there. Raises OSError."""
