"""HTTP proxies by environment, with the rules that Docker's users know.

http_proxy, https_proxy and no_proxy, in lower case or upper case. no_proxy is a list of names (with
all below them), .suffixes, addresses, CIDRs and HOST:PORT; * is everything. Loopback is never asked
for through a proxy.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping

from yarl import URL

_NAMES = ("http_proxy", "https_proxy", "no_proxy")


def proxy_for(url: URL, environment: Mapping[str, str]) -> URL | None:
    """The proxy to ask for `url`; None for none."""
    host = (url.host or "").lower()
    if host == "localhost" or _is_loopback(host) or not host:
        return None
    text = _variable(environment, f"{url.scheme}_proxy")
    if not text or _excepted(host, url.port or 0, _variable(environment, "no_proxy")):
        return None
    return URL(text if "://" in text else f"http://{text}")


def variables(environment: Mapping[str, str]) -> dict[str, str]:
    """What matters here of an environment."""
    return {key: value for key, value in environment.items() if key.lower() in _NAMES}


def _variable(environment: Mapping[str, str], name: str) -> str:
    return (environment.get(name) or environment.get(name.upper()) or "").strip()


def _is_loopback(host: str) -> bool:
    address = _address(host)
    return address is not None and address.is_loopback


def _address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(text)
    except ValueError:
        return None


def _excepted(host: str, port: int, exceptions: str) -> bool:
    return any(_covers(entry.strip().lower(), host, port) for entry in exceptions.split(","))


def _covers(entry: str, host: str, port: int) -> bool:
    if not entry:
        return False
    if entry == "*":
        return True
    address = _address(host)
    if "/" in entry:
        try:
            return address is not None and address in ipaddress.ip_network(entry, strict=False)
        except ValueError:
            return False
    name, colon, number = entry.rpartition(":")
    if colon and number.isdecimal() and _address(entry) is None:
        if int(number) != port:
            return False
        entry = name.strip("[]")
    if address is not None:
        return _address(entry) == address
    if entry.startswith("."):
        return host.endswith(entry)
    return host == entry or host.endswith(f".{entry}")
