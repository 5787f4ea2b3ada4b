"""Prometheus' text format, written by its own library from what processes said of themselves."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from swarmlite.proto.observed_pb2 import MetricFamily, MetricSample

TYPES = {
    MetricFamily.GAUGE: "gauge",
    MetricFamily.COUNTER: "counter",
    MetricFamily.HISTOGRAM: "histogram",
}


class _Said(Collector):
    """Families as the library wants them."""

    def __init__(self, families: Iterable[MetricFamily]) -> None:
        self._families = families

    def collect(self) -> Iterator[Metric]:
        """Each once."""
        for family in self._families:
            metric = Metric(family.name, family.help, TYPES[family.type])
            for sample in family.samples:
                _add(metric, family, sample)
            yield metric


def _add(metric: Metric, family: MetricFamily, sample: MetricSample) -> None:
    labels = dict(sample.labels)
    if family.type == MetricFamily.COUNTER:
        metric.add_sample(f"{family.name}_total", labels, sample.value)
    elif family.type == MetricFamily.GAUGE:
        metric.add_sample(family.name, labels, sample.value)
    else:
        total = 0
        for bound, count in zip([*map(str, sample.bounds), "+Inf"], sample.counts, strict=True):
            total += count
            metric.add_sample(f"{family.name}_bucket", {**labels, "le": bound}, total)
        metric.add_sample(f"{family.name}_count", labels, total)
        metric.add_sample(f"{family.name}_sum", labels, sample.sum)


def text(families: Iterable[MetricFamily], accept: str) -> tuple[bytes, str]:
    """The document and its content type, in the newest form that `accept` names."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Said(families))
    encoder, content_type = choose_encoder(accept)
    return encoder(registry), content_type
