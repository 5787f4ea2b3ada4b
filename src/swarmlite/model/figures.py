"""What a process counts, as messages: a list of metric families that grows by plain calls."""

from __future__ import annotations

from collections.abc import Mapping

from swarmlite.proto.observed_pb2 import MetricFamily
from swarmlite.tallies import Durations

GAUGE, COUNTER, HISTOGRAM = MetricFamily.GAUGE, MetricFamily.COUNTER, MetricFamily.HISTOGRAM


class Figures:
    """Families under one prefix, in the order in which they are first named."""

    def __init__(self, prefix: str) -> None:
        """`prefix` begins each name: "swarmlite_agent"."""
        self._prefix = prefix
        self._families: dict[str, MetricFamily] = {}

    @property
    def families(self) -> list[MetricFamily]:
        """All of them."""
        return list(self._families.values())

    def gauge(self, name: str, help: str, value: float, **labels: str) -> None:
        """What is so now."""
        self._family(name, help, GAUGE).samples.add(value=value, labels=labels)

    def gauges(self, name: str, help: str, label: str, values: Mapping[str, float]) -> None:
        """One for each value of a label. The family is there without any too."""
        family = self._family(name, help, GAUGE)
        for key, value in values.items():
            family.samples.add(value=value, labels={label: key})

    def counter(self, name: str, help: str, value: float, **labels: str) -> None:
        """What has happened since the process began; `name` is without "_total"."""
        self._family(name, help, COUNTER).samples.add(value=value, labels=labels)

    def durations(self, name: str, help: str, value: Durations, **labels: str) -> None:
        """How long things took; `name` ends with "_seconds"."""
        self._family(name, help, HISTOGRAM).samples.add(
            labels=labels, bounds=value.bounds, counts=value.counts, sum=value.sum_s
        )

    def _family(self, name: str, help: str, type: MetricFamily.Type.ValueType) -> MetricFamily:
        name = f"{self._prefix}_{name}"
        if name not in self._families:
            self._families[name] = MetricFamily(name=name, help=help, type=type)
        return self._families[name]
