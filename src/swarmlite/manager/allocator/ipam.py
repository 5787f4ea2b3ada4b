"""Address arithmetic on integers: pools of addresses in a subnet, and subnets of larger pools."""

from __future__ import annotations

import ipaddress
from collections import deque
from collections.abc import Callable, Iterable, Sequence

from swarmlite.errors import AlreadyExists, InvalidSpec, ResourceExhausted

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


def parse_network(text: str) -> Network:
    """A CIDR, host bits allowed. Raises InvalidSpec."""
    try:
        return ipaddress.ip_network(text, strict=False)
    except ValueError as error:
        raise InvalidSpec(f"subnet {text!r}: expected a CIDR such as 10.1.0.0/24") from error


def parse_address(text: str) -> int:
    """The number of an address, with or without a prefix length. Raises InvalidSpec."""
    try:
        return int(ipaddress.ip_interface(text).ip)
    except ValueError as error:
        raise InvalidSpec(f"{text!r} is not an IP address") from error


class AddressPool:
    """The addresses of one subnet. The next one is given, not the lowest: who knew of an
    address that was freed a moment ago must not meet somebody else there.
    """

    def __init__(self, subnet: Network, within: Network | None = None) -> None:
        self.subnet = subnet
        scope = within or subnet
        first, last = int(scope.network_address), int(scope.broadcast_address)
        base, end = int(subnet.network_address), int(subnet.broadcast_address)
        small = subnet.prefixlen >= subnet.max_prefixlen - 1
        self._first = first + (first == base and not small)
        self._last = last - (last == end and not small and subnet.version == 4)
        self._used: set[int] = set()
        self._cursor = self._first
        self._freed: deque[int] = deque()

    def __contains__(self, address: int) -> bool:
        return int(self.subnet.network_address) <= address <= int(self.subnet.broadcast_address)

    @property
    def used(self) -> int:
        """How many addresses are taken."""
        return len(self._used)

    def is_free(self, address: int) -> bool:
        """Whether nobody has this address of the subnet."""
        return address in self and address not in self._used

    def text(self, address: int) -> str:
        """The address as a CIDR with the subnet's prefix length."""
        return f"{self._bare(address)}/{self.subnet.prefixlen}"

    def _bare(self, address: int) -> str:
        if self.subnet.version == 4:
            return f"{address >> 24}.{address >> 16 & 255}.{address >> 8 & 255}.{address & 255}"
        return str(ipaddress.IPv6Address(address))

    def take(self, address: int) -> None:
        """Take this very address. Raises AlreadyExists, InvalidSpec when it is outside."""
        if address not in self:
            raise InvalidSpec(f"address {self._bare(address)} is not in {self.subnet}")
        if address in self._used:
            raise AlreadyExists(f"address {self._bare(address)} is already in use")
        self._used.add(address)

    def skip_used(self) -> None:
        """Go on after the highest taken address, as the allocator did that took them."""
        inside = [a for a in self._used if self._first <= a <= self._last]
        self._cursor = max(inside, default=self._first - 1) + 1

    def allocate(self) -> int:
        """The next address. Raises ResourceExhausted."""
        while self._cursor <= self._last:
            address, self._cursor = self._cursor, self._cursor + 1
            if address not in self._used:
                self._used.add(address)
                return address
        return self._allocate_freed()

    def _allocate_freed(self) -> int:
        for _ in range(2):
            while self._freed:
                address = self._freed.popleft()
                if address not in self._used:
                    self._used.add(address)
                    return address
            # Holes that were there before this pool was built are on no list.
            if self._last - self._first < 1 << 24:
                free = (a for a in range(self._first, self._last + 1) if a not in self._used)
                self._freed.extend(free)
        raise ResourceExhausted(f"no address left in {self.subnet}")

    def release(self, address: int) -> None:
        """Give an address back; safe to repeat."""
        if address in self._used:
            self._used.discard(address)
            if self._first <= address < self._cursor:
                self._freed.append(address)


class SubnetPool:
    """Subnets of one size, cut from the cluster's default pools in turn."""

    def __init__(self, pools: Sequence[Network], prefix_length: int) -> None:
        self._blocks = [
            (int(pool.network_address), 1 << max(0, prefix_length - pool.prefixlen), pool)
            for pool in pools
        ]
        self._length = prefix_length
        self._step = {p.version: 1 << (p.max_prefixlen - prefix_length) for p in pools}
        self._taken: dict[str, tuple[tuple[int, int, int], str]] = {}
        self._cursor = 0

    def overlaps(self, subnet: Network) -> str | None:
        """The taken subnet that this one overlaps, and whose it is, in words; or None."""
        first, last = int(subnet.network_address), int(subnet.broadcast_address)
        for text, ((version, low, high), owner) in self._taken.items():
            if version == subnet.version and low <= last and first <= high:
                return f"{text} of network {owner}" if owner else text
        return None

    def take(self, subnet: Network, owner: str = "") -> None:
        """Take this very subnet, for a network called `owner`.

        Raises AlreadyExists when it overlaps a taken one.
        """
        other = self.overlaps(subnet)
        if other is not None:
            raise AlreadyExists(f"subnet {subnet} overlaps {other}")
        self._taken[str(subnet)] = _bounds(subnet), owner

    def release(self, subnet: Network) -> None:
        """Give a subnet back; safe to repeat."""
        self._taken.pop(str(subnet), None)

    def allocate(
        self, owner: str = "", avoid: Callable[[Network], Network | None] = lambda _: None
    ) -> Network:
        """The next subnet that overlaps none.

        `avoid`: what one overlaps that had better not be overlapped; where nothing else is left it
        is given all the same. Raises ResourceExhausted.
        """
        total = sum(count for _, count, _ in self._blocks)
        position, end = self._cursor, self._cursor + total
        second: tuple[Network, int] | None = None
        while position < end:
            subnet, left = self._nth(position % total)
            if str(subnet) in self._taken or self.overlaps(subnet) is not None:
                position += 1
                continue
            blocked = avoid(subnet)
            if blocked is None:
                return self._given(subnet, position, owner)
            second = second or (subnet, position)
            beyond = int(blocked.broadcast_address) - int(subnet.network_address)
            position += min(beyond // self._step[subnet.version] + 1, left)
        if second is not None:
            return self._given(*second, owner)
        pools = ", ".join(str(pool) for _, _, pool in self._blocks) or "none"
        raise ResourceExhausted(f"no subnet of /{self._length} left in the address pools ({pools})")

    def _given(self, subnet: Network, position: int, owner: str) -> Network:
        self._cursor = position + 1
        self.take(subnet, owner)
        return subnet

    def _nth(self, index: int) -> tuple[Network, int]:
        """A subnet, and how many of its pool there are from it on."""
        for base, count, pool in self._blocks:
            if index < count:
                first = base + index * self._step[pool.version]
                return type(pool)((first, max(self._length, pool.prefixlen))), count - index
            index -= count
        raise IndexError(index)


def _bounds(subnet: Network) -> tuple[int, int, int]:
    return subnet.version, int(subnet.network_address), int(subnet.broadcast_address)


class NumberPool:
    """Numbers of a range, the next one and not the lowest: VNIs, published ports."""

    def __init__(self, first: int, last: int, what: str) -> None:
        self._first, self._last, self._what = first, last, what
        self._used: set[int] = set()
        self._cursor = first

    def take(self, number: int) -> None:
        """Take this very number, whether in the range or not. Raises AlreadyExists."""
        if number in self._used:
            raise AlreadyExists(f"{self._what} {number} is already in use")
        self._used.add(number)

    def release(self, numbers: Iterable[int]) -> None:
        """Give numbers back; safe to repeat."""
        self._used.difference_update(numbers)

    def allocate(self) -> int:
        """The next free number of the range. Raises ResourceExhausted."""
        size = self._last - self._first + 1
        for offset in range(size):
            number = self._first + (self._cursor - self._first + offset) % size
            if number not in self._used:
                self._used.add(number)
                self._cursor = number + 1 if number < self._last else self._first
                return number
        raise ResourceExhausted(f"no {self._what} left between {self._first} and {self._last}")


def mac_of(address: int) -> str:
    """The MAC of an endpoint: 02:42 and the four bytes of its IPv4 address."""
    return "02:42:" + (address & 0xFFFFFFFF).to_bytes(4, "big").hex(":")
