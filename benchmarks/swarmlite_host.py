"""swarmlite on one host of namespaces, with the same calls as docker_peer."""

from __future__ import annotations

import os
from pathlib import Path

import grpc

from swarmlite.proto.control_pb2 import ListRequest
from swarmlite.proto.control_pb2_grpc import ControlStub
from swarmlite.proto.types_pb2 import UpdateStatus
from swarmlite.testing import Cluster
from swarmlite.testing import images as debian_images
from swarmlite.testing.registry import Registry

from .docker_peer import pids_in


class SwarmliteHost:
    """A cluster of one manager with a registry beside it; `with SwarmliteHost() as host`."""

    def __init__(self) -> None:
        self.cluster = Cluster(1, 0, name=f"b{os.getpid()}")

    def __enter__(self) -> SwarmliteHost:
        self.cluster.up()
        assert self.cluster.lan is not None
        self.registry = Registry(self.cluster.lan.gateway)
        self.registry.__enter__()
        self.registry.push(debian_images.busybox())
        self.image = f"{self.registry.address}/busybox:latest"
        self.cluster.manager.cli("image", "pull", "-q", self.image)
        self.channel = grpc.insecure_channel(f"unix:{self.cluster.manager.paths.manager_socket}")
        self.control = ControlStub(self.channel)
        return self

    def __exit__(self, *_: object) -> None:
        self.channel.close()
        self.registry.__exit__(None, None, None)
        self.cluster.down()

    def cli(self, *args: str) -> str:
        """`swarmlite ARGS...` on the host."""
        return self.cluster.manager.cli(*args)

    def running(self, service: str) -> int:
        """How many tasks of a service run."""
        answer = self.control.ListServices(ListRequest())
        for found in answer.services:
            if found.spec.annotations.name == service:
                return int(answer.status[found.id].running_tasks)
        return 0

    def updated(self, service: str) -> bool:
        """Whether the last update of a service has come to its end."""
        answer = self.control.ListServices(ListRequest())
        return any(
            found.update_status.state == UpdateStatus.COMPLETED
            for found in answer.services
            if found.spec.annotations.name == service
        )

    def containers(self) -> int:
        """How many containers run, or are about to."""
        return len(self.cluster.manager.containers())

    def daemon_pids(self, names: tuple[str, ...] = ("swarmlite", "python", "etcd")) -> list[int]:
        """swarmlited, agent, manager, etcd and the supervisor, as the machine sees them."""
        first = self.cluster.manager.pid
        return [
            pid
            for pid in pids_in(first, names)
            if pid != first and "host_init" not in Path(f"/proc/{pid}/cmdline").read_text()
        ]
