"""A steady load of small writes through whichever manager answers, and how long none was taken."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Sequence
from typing import Self

import grpc

from swarmlite.proto.control_pb2 import CreateConfigRequest
from swarmlite.proto.control_pb2_grpc import ControlStub
from swarmlite.proto.specs_pb2 import ConfigSpec

from .host import Host

ANSWER_S = 1.5
OPTIONS = [("grpc.default_authority", "localhost")]


class Writer:
    """Creates configs while inside the context; `gap_s` is the longest time without a write."""

    def __init__(self, managers: Sequence[Host], prefix: str = "c") -> None:
        """`managers` take turns; `prefix` begins the configs' names."""
        self.gap_s = 0.0
        self.written: list[str] = []
        """The names of what was acknowledged, or found to be there."""
        self._managers, self._prefix = list(managers), prefix
        self._stop = threading.Event()
        self._last = time.monotonic()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def _run(self) -> None:
        turn = itertools.cycle(self._managers)
        for number in itertools.count():
            while not self._stop.is_set() and not self._wrote(f"{self._prefix}{number}", turn):
                self._stop.wait(0.02)
            if self._stop.is_set():
                return
            self._stop.wait(0.05)

    def _wrote(self, name: str, turn: itertools.cycle[Host]) -> bool:
        spec = ConfigSpec(data=b"x")
        spec.annotations.name = name
        socket_path = next(turn).paths.manager_socket
        with grpc.insecure_channel(f"unix:{socket_path}", options=OPTIONS) as channel:
            try:
                ControlStub(channel).CreateConfig(CreateConfigRequest(spec=spec), timeout=ANSWER_S)
            except grpc.RpcError as error:
                if error.code() is not grpc.StatusCode.ALREADY_EXISTS:
                    return False
        now = time.monotonic()
        self.gap_s = max(self.gap_s, now - self._last)
        self._last = now
        self.written.append(name)
        return True

    def __enter__(self) -> Self:
        self._last = time.monotonic()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()
