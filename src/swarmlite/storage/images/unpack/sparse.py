"""Maps of sparse members: GNU's old header, and its pax forms 0.0, 0.1 and 1.0.

Source: GNU tar's manual, "Storing Sparse Files". A map is a list of (offset, length): where in the
file each run of the member's data lies; the rest is holes.
"""

from __future__ import annotations

from collections.abc import Sequence

from swarmlite.storage.images.unpack.errors import BadLayer, TooBig, shown

Map = list[tuple[int, int]]
MAX_RUNS = 65_536
_NUMBER_BYTES = 20


def is_sparse(pax: dict[str, bytes]) -> bool:
    """Whether pax records say that a member is sparse."""
    return any(key.startswith("GNU.sparse.") for key in pax)


def in_data(pax: dict[str, bytes]) -> bool:
    """Whether the map stands before the data (1.0)."""
    return pax.get("GNU.sparse.major") == b"1" and pax.get("GNU.sparse.minor") == b"0"


def from_pax(pax: dict[str, bytes], name: str) -> Map:
    """The map of 0.0 (whose records were joined) or 0.1."""
    words = pax.get("GNU.sparse.map", b"").split(b",")
    return pairs([number(word, name) for word in words if word], name)


def real_size(pax: dict[str, bytes], name: str) -> int:
    """How long the file is."""
    for key in ("GNU.sparse.realsize", "GNU.sparse.size"):
        if key in pax:
            return number(pax[key], name)
    raise BadLayer(f"member {shown(name)} is sparse and has no size")


def number(word: bytes, name: str) -> int:
    """One number of a map."""
    if not word.isdigit() or len(word) > _NUMBER_BYTES:
        raise BadLayer(f"member {shown(name)} is sparse and its map is not a list of numbers")
    return int(word)


def pairs(numbers: Sequence[int], name: str) -> Map:
    """Numbers by twos."""
    if len(numbers) % 2:
        raise BadLayer(f"member {shown(name)} is sparse and its map ends early")
    if len(numbers) > 2 * MAX_RUNS:
        raise TooBig(f"member {shown(name)} is sparse and has more than {MAX_RUNS} runs")
    return list(zip(numbers[::2], numbers[1::2], strict=True))


def checked(found: Map, real: int, stored: int, name: str) -> Map:
    """The map, in order, inside of the file, and of as much data as there is."""
    end = 0
    for offset, length in found:
        if offset < end or offset + length > real:
            raise BadLayer(f"member {shown(name)} is sparse and its map does not fit its size")
        end = offset + length
    if sum(length for _, length in found) != stored:
        raise BadLayer(f"member {shown(name)} is sparse and its map does not fit its data")
    return [run for run in found if run[1]]
