"""How a service's published ports are written in lists."""

from __future__ import annotations

import pytest

from swarmlite.model.service_rows import published
from swarmlite.proto.types_pb2 import PortConfig


def port(published: int, target: int, host_ip: str = "") -> PortConfig:
    return PortConfig(
        published_port=published,
        target_port=target,
        host_ip=host_ip,
        publish_mode=PortConfig.INGRESS,
    )


@pytest.mark.parametrize(
    ("ports", "words"),
    [
        ([port(8080, 80)], "*:8080->80/tcp"),
        ([port(8081, 81), port(8080, 80)], "*:8080-8081->80-81/tcp"),
        ([port(8080, 80, "192.0.2.1")], "192.0.2.1:8080->80/tcp"),
        ([port(8080, 80, "fd00::5"), port(8081, 81, "fd00::5")], "[fd00::5]:8080-8081->80-81/tcp"),
        (
            [port(8080, 80, "192.0.2.1"), port(8081, 81, "192.0.2.2"), port(8082, 82)],
            "*:8082->82/tcp, 192.0.2.1:8080->80/tcp, 192.0.2.2:8081->81/tcp",
        ),
    ],
)
def test_ports_say_where_they_are_published(ports: list[PortConfig], words: str) -> None:
    """Neighbours are one range, those of one address by themselves."""
    assert published(ports) == words
