"""What a node holds, by a tunnel to it: much, with markup, or nothing that it would say."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, cast

import grpc.aio
import pytest
from small_manager import SmallPage, small_page

from swarmlite.manager.store.api import Put
from swarmlite.proto.control_pb2 import TunnelData
from swarmlite.proto.images_pb2 import ListImagesResponse, LocalImage
from swarmlite.proto.images_pb2_grpc import ImagesServicer, add_ImagesServicer_to_server
from swarmlite.proto.objects_pb2 import Node
from swarmlite.proto.types_pb2 import NodeStatus
from swarmlite.proto.volumes_pb2 import ListVolumesResponse, LocalVolume
from swarmlite.proto.volumes_pb2_grpc import VolumesServicer, add_VolumesServicer_to_server
from swarmlite.ui import nodes

pytestmark = pytest.mark.filterwarnings("ignore:It is recommended to use web.RequestKey")
MARKUP = "<b>x</b>"


class Images(ImagesServicer):
    """Six hundred."""

    async def List(self, *_: Any) -> ListImagesResponse:
        named = [LocalImage(repo_tags=[f"app:{n:03}"], size_bytes=2_000_000) for n in range(599)]
        return ListImagesResponse(images=[LocalImage(id="sha256:ab", containers=3), *named])


class Volumes(VolumesServicer):
    """One."""

    async def List(self, *_: Any) -> ListVolumesResponse:
        return ListVolumesResponse(
            volumes=[LocalVolume(name=MARKUP, driver="local", used_by=["c1", "c2"])]
        )


class Tunnels:
    """Each leads to a socket of this machine, as a node joins it; none where there is no socket."""

    def __init__(self, path: Path) -> None:
        self.path, self.asked = path, [""]

    async def serve(self, client: Any) -> None:
        self.asked.append((await client.read()).to.node)
        if not self.path.exists():
            await asyncio.Event().wait()
        reader, writer = await asyncio.open_unix_connection(self.path)
        ways: list[asyncio.Future[None]] = []
        try:
            await client.write(TunnelData())
            ways += [
                asyncio.ensure_future(_up(client, writer)),
                asyncio.ensure_future(_down(reader, client)),
            ]
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for way in ways:
                way.cancel()
            await asyncio.gather(*ways, return_exceptions=True)
            writer.close()


async def _up(client: Any, writer: asyncio.StreamWriter) -> None:
    while (message := await client.read()) is not grpc.aio.EOF and not message.end:
        writer.write(message.data)


async def _down(reader: asyncio.StreamReader, client: Any) -> None:
    while data := await reader.read(65536):
        await client.write(TunnelData(data=data))


@pytest.fixture
def tunnels(tmp_path: Path) -> Tunnels:
    return Tunnels(tmp_path / "held.sock")


@pytest.fixture
async def page(tmp_path: Path, tunnels: Tunnels) -> AsyncIterator[SmallPage]:
    async with small_page(tmp_path, tunnels) as made:
        yield made


def ready(page: SmallPage, state: NodeStatus.State.ValueType) -> str:
    """The id of the one node, which is in this state now."""
    node = cast(Node, next(iter(page.store.view.nodes)))
    node.status.state = state
    page.store.commit_now([Put(node)])
    return node.id


async def test_of_much_that_a_node_holds_a_page_shows_the_first_and_says_how_much_more_there_is(
    page: SmallPage, tunnels: Tunnels
) -> None:
    node_id = ready(page, NodeStatus.READY)
    server = grpc.aio.server()
    add_ImagesServicer_to_server(Images(), server)
    add_VolumesServicer_to_server(Volumes(), server)
    server.add_insecure_port(f"unix:{tunnels.path}")
    await server.start()
    try:
        status, text = await page.get("reader", f"/node/{node_id}")
    finally:
        await server.stop(0)
    assert (status, tunnels.asked[-1]) == (200, node_id)
    assert "<td>app:000</td><td>2 MB</td>" in text
    assert text.count("<td>app:") == nodes.MAX_HELD
    assert "and 100 more" in text
    assert MARKUP not in text
    assert "&lt;b&gt;x&lt;/b&gt;</td><td>local</td><td></td><td>2</td>" in text


async def test_a_node_that_says_nothing_has_a_page_all_the_same(
    page: SmallPage, tunnels: Tunnels, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that is down is not asked."""
    monkeypatch.setattr(nodes, "HELD_S", 0.2)
    node_id = ready(page, NodeStatus.DOWN)
    status, text = await page.get("reader", f"/node/{node_id}")
    assert (status, "The node does not say: it is down" in text) == (200, True)
    assert tunnels.asked == [""]
    ready(page, NodeStatus.READY)
    status, text = await page.get("reader", f"/node/{node_id}")
    assert (status, "it does not answer within 0.2 s" in text) == (200, True)
