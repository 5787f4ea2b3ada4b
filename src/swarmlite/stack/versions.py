"""Versions of secrets and configs, whose data never changes: `password`, `password.v2`, and so on.

A version says by a label of which it is one, so that names that look alike are no versions. Pure.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeVar

from swarmlite.proto.objects_pb2 import Config, Secret

LABEL = "swarmlite.version-of"
Payload = TypeVar("Payload", Secret, Config)


def base_of(item: Secret | Config) -> str:
    """The name that it is a version of; its own for the first."""
    return item.spec.annotations.labels.get(LABEL) or item.spec.annotations.name


def number_of(item: Secret | Config) -> int:
    """1 for the first; 0 for what says that it is a version and is not called so."""
    name, base = item.spec.annotations.name, base_of(item)
    if name == base:
        return 1
    text = name.removeprefix(f"{base}.v")
    return int(text) if text.isascii() and text.isdigit() and len(text) < 10 else 0


def family(name: str, items: Iterable[Payload]) -> list[Payload]:
    """All versions of a name, the newest last; the name may be that of any of them."""
    known = list(items)
    base = next((base_of(i) for i in known if i.spec.annotations.name == name), name)
    return sorted((i for i in known if base_of(i) == base and number_of(i)), key=number_of)


def next_name(name: str, versions: Iterable[Secret | Config]) -> str:
    """What the next version is called."""
    known = list(versions)
    base = base_of(known[0]) if known else name
    return f"{base}.v{max(map(number_of, known), default=1) + 1}"


def newest(name: str, items: Iterable[Payload]) -> str:
    """The name of a name's newest version; the name itself where there is none."""
    versions = family(name, items)
    return versions[-1].spec.annotations.name if versions else name
