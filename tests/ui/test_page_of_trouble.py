"""What is wrong with a cluster is seen in its overview, by the words that the real causes have."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace

import pytest
from small_manager import small_page

from swarmlite.agent.disk import DiskWatch
from swarmlite.identity import ageing
from swarmlite.ids import new_id
from swarmlite.manager.ca.root import WORKER, RootCA, Subject, new_request
from swarmlite.manager.etcdcare import health
from swarmlite.manager.store.api import Put
from swarmlite.proto.control_pb2 import StoreHealth, StoreMember
from swarmlite.proto.objects_pb2 import Node
from swarmlite.proto.specs_pb2 import NodeSpec
from swarmlite.proto.types_pb2 import NodeStatus

pytestmark = pytest.mark.filterwarnings("ignore:It is recommended to use web.RequestKey")
NOSPACE = 1
"""etcd's AlarmType."""


@pytest.fixture
def full_disk(tmp_path: Path) -> Iterator[Path]:
    if os.geteuid() != 0:
        pytest.skip("mounts a file system")
    folder = tmp_path / "disk"
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "none", folder], check=True)
    yield folder
    subprocess.run(["umount", folder], check=True)


def old_certificate() -> list[str]:
    """What a node says whose certificate of ninety days is 85 days old."""
    certificate = RootCA.create().issue(new_request()[1], Subject("n", WORKER, "c"))
    return ageing.warnings(certificate, datetime.now(UTC) + timedelta(days=85))


async def test_drain_down_full_disks_old_certificates_and_etcds_health_are_seen_at_a_glance(
    tmp_path: Path, full_disk: Path
) -> None:
    """Each in its column, counted above all of them; the store's in a banner."""
    watch = DiskWatch(full_disk, lambda: "")
    assert DiskWatch(tmp_path, lambda: "").warnings() == []
    members = [StoreMember(name="manager2", error="connection refused")]
    store = SimpleNamespace(warnings=health.warnings(StoreHealth(members=members), [NOSPACE]))
    made = {
        "drained": (NodeSpec.DRAIN, NodeStatus.READY, []),
        "gone": (NodeSpec.DRAIN, NodeStatus.DOWN, []),
        "filled": (NodeSpec.ACTIVE, NodeStatus.READY, watch.warnings()),
        "aged": (NodeSpec.ACTIVE, NodeStatus.READY, old_certificate()),
    }
    async with small_page(tmp_path, health=store) as page:
        for name, (availability, state, warnings) in made.items():
            node = Node(id=new_id())
            node.description.hostname = name
            node.spec.availability, node.status.state = availability, state
            node.description.warnings.extend(warnings)
            page.store.commit_now([Put(node)])
        _, text = await page.get("reader", "/")

    columns = re.findall(r'<section class="column ([^"]*)" data-node="(\w+)"', text)
    shown = {name: set(classes.split()) for classes, name in columns}
    assert shown == {
        "manager1": {"unknown", "active"},
        "drained": {"ready", "drain"},
        "gone": {"down", "drain"},
        "filled": {"ready", "active", "warned"},
        "aged": {"ready", "active", "warned"},
    }
    said = re.findall(r'<p class="short">([^<]*)', text)
    assert [line.partition(" at ")[0] for line in said] == [
        "its certificate ends", f"no space left on the disk of {full_disk}"
    ]  # fmt: skip
    banners = re.findall(r'<p class="banner">([^<]*)', text)
    assert banners[0].startswith("the cluster&#39;s store is full and takes no writes")
    assert banners[1] == "etcd on manager2 does not answer: connection refused"
    counts = re.search(r'<p class="counts">(.*)</p>', text)
    assert counts is not None
    assert re.sub(r"<[^>]*>", "", counts[1]) == (
        "1 node down, 3 nodes ready, 1 node unknown, 2 nodes drained, 2 nodes with warnings,"
        " 0 of 0 tasks run"
    )
    assert '<strong class="short">1 node down</strong>' in counts[1]
    assert '<strong class="short">2 nodes with warnings</strong>' in counts[1]
