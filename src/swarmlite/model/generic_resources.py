"""Generic resources: what a node has of a kind (GPUs), by count or by name, and who holds it.

A node declares `gpu=4`, or `gpu=UUID1` for each by its name; a service reserves a count of a kind,
or one by its name. Pure.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence

from swarmlite.model import resource_words
from swarmlite.proto.types_pb2 import GenericResource

Name = tuple[str, str]
"""A kind, and one of its names."""
ENVIRONMENT = "DOCKER_RESOURCE_"


def parse(texts: Iterable[str]) -> list[GenericResource]:
    """What a node declares. Raises InvalidSpec."""
    return [
        GenericResource(kind=kind, discrete=int(value))
        if resource_words.is_count(value)
        else GenericResource(kind=kind, named=value)
        for kind, value in resource_words.parse(texts)
    ]


def names(resources: Iterable[GenericResource]) -> list[Name]:
    """Those that have a name."""
    return [(r.kind, r.named) for r in resources if r.WhichOneof("resource") == "named"]


def choose(
    available: Sequence[GenericResource],
    taken: Collection[Name],
    wanted: Mapping[str, int],
    by_name: Collection[Name],
) -> list[GenericResource]:
    """What a task gets of a node that has enough: names where the node has such, else counts.

    `wanted` counts those of `by_name` too.
    """
    result = []
    for kind, amount in wanted.items():
        of_kind = [name for name in names(available) if name[0] == kind]
        if not of_kind:
            result.append(GenericResource(kind=kind, discrete=amount))
            continue
        asked = [name for name in of_kind if name in by_name]
        free = [name for name in of_kind if name not in taken and name not in by_name]
        chosen = [*asked, *free][:amount]
        result += [GenericResource(kind=kind, named=name) for _, name in chosen]
    return result


def environment(assigned: Iterable[GenericResource]) -> list[str]:
    """What a task's process is told, a variable a kind, in Docker's form."""
    values: dict[str, list[str]] = {}
    for one in assigned:
        named = one.WhichOneof("resource") == "named"
        values.setdefault(one.kind.upper(), []).append(one.named if named else str(one.discrete))
    return [f"{ENVIRONMENT}{kind}={','.join(found)}" for kind, found in values.items()]
