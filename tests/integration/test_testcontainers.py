"""testcontainers' modules and wait strategies, with databases of Debian's packages."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from client_node import ClientNode
from client_node import node as node_of_the_cluster

from swarmlite.testing import images, oci
from swarmlite.testing.containers.leading import leading_to

__all__ = ["node_of_the_cluster"]
pytestmark = [pytest.mark.timeout(240), pytest.mark.machine]
EXAMPLES = Path(__file__).parents[2] / "compose-examples" / "voting"


def postgres() -> oci.BuiltImage:
    """The example's; Debian's psql is a script of Perl, which is not in it."""
    writer = oci.TarWriter()
    script = '#!/bin/sh\nexec /usr/lib/postgresql/*/bin/psql "$@"\n'
    writer.file("usr/local/bin/psql", script, mode=0o755)
    return images.build(EXAMPLES / "db").with_layer(oci.layer(writer.tar()))


@pytest.fixture(scope="module")
def node(node_of_the_cluster: ClientNode) -> Iterator[ClientNode]:
    pytest.importorskip("testcontainers")
    found = node_of_the_cluster
    for image in (postgres(), images.build(EXAMPLES / "redis")):
        found.push(image)
    with leading_to(found.url, found.addr):
        yield found


def test_a_postgres_is_ready_when_it_answers_queries(node: ClientNode) -> None:
    """Its module waits by psql in the container, and knows the published port."""
    from testcontainers.community.postgres import PostgresContainer

    image = node.image("examples/postgres:latest")
    with PostgresContainer(image, username="postgres", dbname="postgres") as database:
        url = database.get_connection_url(driver=None)
        assert url.startswith(f"postgresql://postgres:test@{node.addr}:")
        ask = ["sh", "-c", "PGPASSWORD=test psql -h 127.0.0.1 -U postgres -Atc 'select 6 * 7'"]
        answer = database.exec(ask)
        assert (answer.exit_code, answer.output) == (0, b"42\n")


def test_a_redis_is_waited_for_by_port_by_command_and_by_both(node: ClientNode) -> None:
    """Strategies of its own kinds, one after the other."""
    from testcontainers.core.container import DockerContainer
    from testcontainers.core.network import Network
    from testcontainers.core.wait_strategies import (
        CompositeWaitStrategy,
        ContainerStatusWaitStrategy,
        ExecWaitStrategy,
        PortWaitStrategy,
    )

    image = node.image("examples/redis:latest")
    both = CompositeWaitStrategy(
        ContainerStatusWaitStrategy(),
        PortWaitStrategy(6379),
        ExecWaitStrategy(["redis-cli", "ping"]),
    )
    with Network() as network:
        server = (
            DockerContainer(image)
            .with_exposed_ports(6379)
            .with_network(network)
            .with_network_aliases("cache")
            .waiting_for(both)
        )
        with server, DockerContainer(image).with_command("sleep 60").with_network(network) as other:
            assert other.exec(["redis-cli", "-h", "cache", "set", "k", "v"]).output == b"OK\n"
            assert server.exec(["redis-cli", "get", "k"]).output == b"v\n"
            server.copy_into_container(b"text", "/tmp/file")
            assert server.exec(["cat", "/tmp/file"]).output == b"text"
            logs = b"".join(server.get_logs())
            assert b"Ready to accept connections" in logs


def test_http_health_and_files_are_waited_for(node: ClientNode, tmp_path: Path) -> None:
    """A server that is healthy, answers, and has written its file; the file is copied out."""
    from testcontainers.core.container import DockerContainer
    from testcontainers.core.wait_strategies import HealthcheckWaitStrategy, HttpWaitStrategy

    serve = "mkdir -p /www && echo it works >/www/index.html && exec httpd -f -h /www"
    second = 1_000_000_000
    server = (
        DockerContainer(node.image("busybox:latest"))
        .with_command(["sh", "-c", serve])
        .with_exposed_ports(80)
        .with_kwargs(healthcheck={"test": ["CMD", "true"], "interval": second, "retries": 3})
        .waiting_for(HealthcheckWaitStrategy())
    )
    with server:
        HttpWaitStrategy(80).for_status_code(200).wait_until_ready(server)
        server.copy_from_container("/www/index.html", tmp_path / "copy")
        assert (tmp_path / "copy").read_text() == "it works\n"
