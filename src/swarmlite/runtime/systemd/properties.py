"""A spec's resources as properties of a unit, so that what systemd writes again is the same.

systemd writes the limits that it knows again at `daemon-reload`, and refuses no device unless told:
what only stood in the files would be lost then. What it has no property for stays in the files.
Source: systemd.resource-control(5), org.freedesktop.systemd1(5).
"""

from __future__ import annotations

from swarmlite import errors
from swarmlite.runtime.cgroups import devices

TYPE_CHECKING = False
if TYPE_CHECKING:
    Property = tuple[str, tuple[str, object]]

INFINITY = 2**64 - 1
MOST_CPUS = 8191
QUOTA_STEP_US = 10_000  # of a second: systemd rounds down to it
_SHARES_MOST, _WEIGHT_MOST = 262144, 10000


def accounts(kind: str) -> list[Property]:
    """What is to be counted, and so which controllers the unit gets."""
    io = "IOAccounting" if kind == "v2" else "BlockIOAccounting"
    names = ("CPUAccounting", "MemoryAccounting", "TasksAccounting", io)
    return [(name, ("b", True)) for name in names]


def limits(resources: dict, kind: str) -> list[Property]:  # type: ignore[type-arg]
    """Of those that the resources name; `kind` is v1, hybrid or v2."""
    memory, cpu = resources.get("memory") or {}, resources.get("cpu") or {}
    numbers: list[tuple[str, int | None]] = []
    limit, swap = memory.get("limit"), memory.get("swap")
    numbers.append(("MemoryMax" if kind == "v2" else "MemoryLimit", _or_infinity(limit)))
    if kind == "v2":
        if swap and limit and limit > 0:
            numbers.append(("MemorySwapMax", swap - limit if swap > 0 else INFINITY))
        numbers.append(("MemoryLow", _or_infinity(memory.get("reservation"))))
    if shares := cpu.get("shares"):
        shares = max(2, min(int(shares), _SHARES_MOST))
        weight = 1 + (shares - 2) * (_WEIGHT_MOST - 1) // (_SHARES_MOST - 2)
        numbers.append(("CPUWeight", weight) if kind == "v2" else ("CPUShares", shares))
    if quota := cpu.get("quota"):
        numbers.append(("CPUQuotaPerSecUSec", _a_second(int(quota), int(cpu.get("period") or 0))))
    pids = (resources.get("pids") or {}).get("limit")
    numbers.append(("TasksMax", _or_infinity(pids)))
    if io_weight := (resources.get("blockIO") or {}).get("weight"):
        numbers.append(("IOWeight" if kind == "v2" else "BlockIOWeight", int(io_weight)))
    found: list[Property] = [(name, ("t", n)) for name, n in numbers if n is not None]
    if kind == "v2":
        for key, name in (("cpus", "AllowedCPUs"), ("mems", "AllowedMemoryNodes")):
            if cpu.get(key):
                found.append((name, ("ay", _bits(cpu[key]))))
    return found


def _or_infinity(value: int | None) -> int | None:
    """None for what is not named."""
    return None if not value else INFINITY if value < 0 else int(value)


def _a_second(quota_us: int, period_us: int) -> int:
    if quota_us < 0:
        return INFINITY
    each_second = -(-quota_us * 1_000_000 // (period_us or 100_000))
    return -(-each_second // QUOTA_STEP_US) * QUOTA_STEP_US


def _bits(text: str) -> bytes:
    """`0-2,5` as a mask, of which the first byte holds 0 to 7."""
    mask = 0
    for part in text.split(","):
        first, _, last = part.strip().partition("-")
        if not first.isdigit() or not (last or first).isdigit() or int(last or first) > MOST_CPUS:
            raise errors.InvalidSpec(f"linux.resources.cpu: {text!r} is not a list such as 0-2,5")
        for number in range(int(first), int(last or first) + 1):
            mask |= 1 << number
    return mask.to_bytes((mask.bit_length() + 7) // 8, "little")


def devices_of(resources: dict) -> list[Property]:  # type: ignore[type-arg]
    """The devices that the rules leave, where they refuse all others; else systemd's are open."""
    rules = devices.rules(resources.get("devices") or [])
    open_to_all, left = not rules, []  # type: ignore[var-annotated]
    for rule in devices.with_needed(rules):
        allow, kind, major, minor, _ = rule
        if kind == "a" and (major, minor) == (None, None):
            open_to_all, left = allow, []
        elif allow:
            left.append(rule)
        else:
            left = [other for other in left if other[1:4] != rule[1:4]]
    if open_to_all:
        return []
    entries = [
        (name, access) for _, k, major, minor, access in left for name in _names(k, major, minor)
    ]
    return [("DevicePolicy", ("s", "strict")), ("DeviceAllow", ("a(ss)", entries))]


def _names(kind: str, major: int | None, minor: int | None) -> list[str]:
    """How systemd calls them; none for a major that no driver of this kernel has."""
    word = {"c": "char", "b": "block"}[kind]
    if major is None:
        return [f"{word}-*"]
    if minor is not None:
        return [f"/dev/{word}/{major}:{minor}"]
    return [f"{word}-{name}" for name in _drivers(word, major)]


def _drivers(word: str, major: int) -> list[str]:
    section, found = "", []
    with open("/proc/devices", encoding="utf-8") as file:  # noqa: PTH123
        for line in file:
            if line.endswith("devices:\n"):
                section = {"Character devices:\n": "char", "Block devices:\n": "block"}.get(
                    line, ""
                )
            elif section == word and line.split()[:1] == [str(major)]:
                found.append(line.split()[1])
    return found
