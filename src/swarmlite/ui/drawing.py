"""Which services and tasks are on which networks, as columns of names with lines between them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from swarmlite.proto.objects_pb2 import Network, Service, Task
from swarmlite.ui.cluster import task_name

LINE_HEIGHT, WIDTH, GAP = 26, 240, 120
MAX_DRAWN = 200
"""Of a column: the table below the picture has more."""
MAX_LETTERS = 32
"""What a column's width holds of a name."""


@dataclass(frozen=True)
class Word:
    """A name in a column, where it leads, and where it stands."""

    text: str
    href: str
    anchor: str
    x: int
    y: int

    @property
    def shown(self) -> str:
        """As much of it as there is room for."""
        return self.text if len(self.text) <= MAX_LETTERS else f"{self.text[: MAX_LETTERS - 1]}…"


@dataclass(frozen=True)
class Drawing:
    """`lines` are from x1, y1 to x2, y2; `left` is how many names had no room."""

    width: int
    height: int
    words: list[Word]
    lines: list[tuple[int, int, int, int]]
    left: int


Name = tuple[str, str]
"""A text and where it leads."""


def of_networks(networks: Sequence[Network], services: Sequence[Service]) -> Drawing:
    """Services at the left, networks at the right."""
    places = {network.id: row for row, network in enumerate(networks)}
    on = {service.id: _networks_of(service, networks) & set(places) for service in services}
    shown = [service for service in services if on[service.id]]
    links = [(0, row, places[each])
             for row, service in enumerate(shown) for each in sorted(on[service.id])]  # fmt: skip
    return _drawn(
        [[_service(each) for each in shown], [_network(each) for each in networks]], links
    )


def of_network(
    network: Network, services: Sequence[Service], tasks: Sequence[Task]
) -> Drawing:  # fmt: skip
    """Its tasks at the left, then their services, and the network; a task may be of no service."""
    mine = [task for task in tasks if any(p.network_id == network.id for p in task.networks)]
    ids = {task.service_id for task in mine}
    shown = [
        service for service in services
        if service.id in ids or network.id in _networks_of(service, [network])
    ]  # fmt: skip
    rows = {service.id: row for row, service in enumerate(shown)}
    mine.sort(key=lambda task: (rows.get(task.service_id, len(rows)), task.slot, task_name(task)))
    links = [(0, row, rows[task.service_id])
             for row, task in enumerate(mine) if task.service_id in rows]  # fmt: skip
    links += [(1, row, 0) for row in range(len(shown))]
    names = [(task_name(task), f"/ui/task/{task.id}") for task in mine]
    return _drawn([names, [_service(each) for each in shown], [_network(network)]], links)


def _networks_of(service: Service, networks: Sequence[Network]) -> set[str]:
    """Ids, of those that are given."""
    targets = {each.target for each in service.spec.task.networks}
    return {
        network.id
        for network in networks
        if targets & {network.id, network.spec.annotations.name}
        or (network.spec.ingress and service.endpoint.ports)
    }


def _service(service: Service) -> Name:
    return service.spec.annotations.name, f"/ui/service/{service.id}"


def _network(network: Network) -> Name:
    return network.spec.annotations.name, f"/ui/network/{network.id}"


def _drawn(columns: Sequence[Sequence[Name]], links: Iterable[tuple[int, int, int]]) -> Drawing:
    """A link is of a column's row to one of the next column's."""
    last = len(columns) - 1
    words = []
    for number, column in enumerate(columns):
        begin = number * (WIDTH + GAP)
        anchor, x = "middle", begin + WIDTH // 2
        if number in (0, last):
            anchor, x = ("start", begin + 6) if number else ("end", begin + WIDTH - 6)
        words += [Word(text, href, anchor, x, _middle(row) + 4)
                  for row, (text, href) in enumerate(column[:MAX_DRAWN])]  # fmt: skip
    lines = [
        (begin := number * (WIDTH + GAP) + WIDTH, _middle(row), begin + GAP, _middle(other))
        for number, row, other in links
        if max(row, other) < MAX_DRAWN
    ]
    return Drawing(
        width=len(columns) * (WIDTH + GAP) - GAP,
        height=max(1, *(min(len(column), MAX_DRAWN) for column in columns)) * LINE_HEIGHT,
        words=words,
        lines=lines,
        left=sum(max(0, len(column) - MAX_DRAWN) for column in columns),
    )


def _middle(row: int) -> int:
    return row * LINE_HEIGHT + LINE_HEIGHT // 2
