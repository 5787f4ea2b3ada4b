"""Keys below a prefix of an etcd that others use too: put before them on the way there, taken off
on the way back. Everyone else of the store's room knows its own keys only.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from aetcd import rpc as etcd


class Prefix:
    """One prefix; empty in the managers' own etcd, where nothing is copied."""

    def __init__(self, prefix: bytes = b"") -> None:
        self._prefix = prefix

    def __call__(self, key: bytes) -> bytes:
        """A key, or the end of a range, as it lies there; no end stays none."""
        return self._prefix + key if key else key

    def asked(self, request: etcd.TxnRequest) -> etcd.TxnRequest:
        """The transaction on the keys as they lie there."""
        if not self._prefix:
            return request
        made = etcd.TxnRequest()
        made.CopyFrom(request)
        for compare in made.compare:
            compare.key = self(compare.key)
        for operation in (*made.success, *made.failure):
            part: Any = getattr(operation, operation.WhichOneof("request"))
            part.key = self(part.key)
            if hasattr(part, "range_end"):
                part.range_end = self(part.range_end)
        return made

    def answered(self, answer: etcd.TxnResponse) -> etcd.TxnResponse:
        """Its answer, with the keys as they were asked for."""
        if self._prefix:
            for response in answer.responses:
                if response.HasField("response_range"):
                    self.found(response.response_range.kvs)
        return answer

    def found(self, kvs: Sequence[etcd.KeyValue]) -> Sequence[etcd.KeyValue]:
        """The same keys without the prefix, in place."""
        if self._prefix:
            for kv in kvs:
                kv.key = kv.key[len(self._prefix) :]
        return kvs

    def happened(self, events: Sequence[etcd.Event]) -> Sequence[etcd.Event]:
        """The same events, in place."""
        self.found([event.kv for event in _of(events)] if self._prefix else ())
        return events


def _of(events: Iterable[etcd.Event]) -> Iterable[etcd.Event]:
    return (event for event in events if event.kv.key)
