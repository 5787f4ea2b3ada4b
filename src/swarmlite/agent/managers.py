"""Which managers there are: node.json's to begin with, then what the last session said, on disk."""

from __future__ import annotations

import json
import logging
import random
from collections.abc import Iterable, Sequence
from pathlib import Path

from swarmlite.kernel import durable

log = logging.getLogger(__name__)


class ManagerList:
    """Addresses ("IP:2377") to try, in rounds of random order; persisted beside the tasks."""

    def __init__(self, path: Path, configured: Sequence[str]) -> None:
        """`configured` serves when nothing was learnt yet, and after what was learnt has failed."""
        self._path = path
        self._configured = list(configured)
        self._learnt = self._read()
        self._round: list[str] = []

    def addresses(self) -> list[str]:
        """All that are known, those learnt last first."""
        return list(dict.fromkeys([*self._learnt, *self._configured]))

    def next(self) -> tuple[str, bool]:
        """The address to try next, and whether it is the last of its round: then back off more."""
        if not self._round:
            self._round = self.addresses()
            random.shuffle(self._round)
        return self._round.pop(), not self._round

    def learn(self, addresses: Iterable[str]) -> None:
        """What a manager said; written to disk when it differs."""
        learnt = sorted(set(addresses))
        if not learnt or learnt == self._learnt:
            return
        self._learnt = learnt
        self._round = []
        try:
            durable.write(self._path, json.dumps(learnt).encode())
        except OSError as error:
            log.warning("cannot keep the list of managers: %s", error)

    def _read(self) -> list[str]:
        try:
            content = json.loads(self._path.read_text())
        except (OSError, ValueError):
            return []
        return [entry for entry in content if isinstance(entry, str)]
