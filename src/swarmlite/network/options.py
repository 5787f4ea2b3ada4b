"""The driver options of a host's network, with Docker's names, parsed once. Pure.

Options that no driver here knows are ignored, as Docker does.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping
from dataclasses import dataclass

from swarmlite.errors import InvalidSpec
from swarmlite.model.numerals import decimal

PREFIX = "com.docker.network."
NAME = f"{PREFIX}bridge.name"
ICC = f"{PREFIX}bridge.enable_icc"
MASQUERADE = f"{PREFIX}bridge.enable_ip_masquerade"
HOST_BINDING = f"{PREFIX}bridge.host_binding_ipv4"
MTU = f"{PREFIX}driver.mtu"
MODES = {
    "macvlan": ("macvlan_mode", ("bridge", "private", "vepa", "passthru")),
    "ipvlan": ("ipvlan_mode", ("l2", "l3", "l3s")),
}
"""A driver's option for its mode, and what it may be; the first is the default."""
_INTERFACE = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,14}")
_TRUE, _FALSE = ("1", "t", "true"), ("0", "f", "false")


@dataclass(frozen=True)
class Options:
    """What a network's options say."""

    interface: str = ""
    icc: bool = True
    """Whether containers on the network reach each other."""
    masquerade: bool = True
    host_binding: str = ""
    """The host address that ports are published on when none is named."""
    mtu: int = 0
    """0: the host's."""
    parent: str = ""
    mode: str = ""


def parse(driver: str, options: Mapping[str, str]) -> Options:
    """Raises InvalidSpec for a value that an option cannot have."""
    key, modes = MODES.get(driver, ("", ("",)))
    mode = options.get(key, "") or modes[0]
    if mode not in modes:
        raise InvalidSpec(f"-o {key}: {mode[:20]!r} is not one of {', '.join(modes)}")
    return Options(
        interface=_interface(NAME, options),
        icc=_flag(ICC, options),
        masquerade=_flag(MASQUERADE, options),
        host_binding=_address(options),
        mtu=_mtu(options),
        parent=_interface("parent", options),
        mode=mode,
    )


def _interface(key: str, options: Mapping[str, str]) -> str:
    name = options.get(key, "")
    if name and not _INTERFACE.fullmatch(name):
        raise InvalidSpec(f"-o {key}: {name[:20]!r} is not the name of an interface")
    return name


def _flag(key: str, options: Mapping[str, str]) -> bool:
    value = options.get(key, "") or "true"
    if value.lower() not in _TRUE + _FALSE:
        raise InvalidSpec(f"-o {key}: {value[:20]!r} is neither true nor false")
    return value.lower() in _TRUE


def _address(options: Mapping[str, str]) -> str:
    value = options.get(HOST_BINDING, "")
    try:
        return str(ipaddress.IPv4Address(value)) if value else ""
    except ValueError:
        raise InvalidSpec(f"-o {HOST_BINDING}: {value[:60]!r} is not an IPv4 address") from None


def _mtu(options: Mapping[str, str]) -> int:
    value = options.get(MTU, "")
    if not value:
        return 0
    if (mtu := decimal(value, 68, 65535)) is None:
        raise InvalidSpec(f"-o {MTU}: {value[:20]!r} is not a number from 68 to 65535")
    return mtu
