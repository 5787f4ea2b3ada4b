"""How the store's members are: each manager answers for its own, and asks the others for theirs."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from pathlib import Path

import grpc.aio

from swarmlite import rpc
from swarmlite.errors import SwarmliteError
from swarmlite.identity.node import NodeIdentity
from swarmlite.manager.store.api import Store
from swarmlite.manager.store.etcd_client import FULL, MANAGERS_NAME, Compacted, EtcdClient
from swarmlite.proto.control_pb2 import StoreHealth, StoreHealthRequest, StoreMember
from swarmlite.proto.control_pb2_grpc import ControlStub
from swarmlite.proto.types_pb2 import NodeRole

from . import disk

log = logging.getLogger(__name__)

ASK_S = 3.0
NOSPACE, CORRUPT = 1, 2
NEARLY_FULL = 0.8
Channel = Callable[[str], grpc.aio.Channel]


class Health:
    """As one manager sees it."""

    def __init__(
        self,
        client: EtcdClient,
        store: Store,
        node: NodeIdentity,
        quota_bytes: int,
        channel: Channel,
        certificates_dir: Path,
        seen: Callable[[], bool] = lambda: False,
    ) -> None:
        """`channel` leads to the manager at an address; `seen`: whether others see in the store
        that this manager lives.
        """
        self._seen = seen
        self.client, self.quota_bytes = client, quota_bytes
        self.busy = False
        """This manager's own member is being defragmented or restarted."""
        self.restart_wanted = False
        self.defragment_wanted = False
        self.warnings: list[str] = []
        """As they were found last."""
        self._store, self._node, self._channel = store, node, channel
        self._certificates_dir = certificates_dir
        self._syncs: dict[float, float] = {}
        self._sync_s = 0.0

    async def own(self) -> StoreMember:
        """This manager's member, or an external etcd as it reaches it. Raises nothing."""
        member = StoreMember(
            node_id=self._node.node_id,
            name=self._node.hostname,
            endpoint=", ".join(self.client.endpoints),
            busy=self.busy,
            restart_wanted=self.restart_wanted,
            defragment_wanted=self.defragment_wanted,
            sync_s=self._sync_s,
            seen=self._seen(),
        )
        try:
            status = await self.client.status()
        except (SwarmliteError, Compacted) as error:
            member.error = str(error)
            return member
        member.version = status.version
        member.size_bytes, member.used_bytes = status.dbSize, status.dbSizeInUse
        member.leader = status.leader == status.header.member_id
        member.learner = status.isLearner
        return member

    async def whole(self, request: StoreHealthRequest) -> StoreHealth:
        """Every member, and what is wrong. Raises nothing: what does not answer says why."""
        if request.own:
            return StoreHealth(members=[await self.own()])
        external = self._node.external_etcd
        health = StoreHealth(
            members=await self.members(),
            quota_bytes=0 if external else self.quota_bytes,
            external=external is not None,
            prefix=(external or {}).get("prefix", ""),
        )
        health.warnings.extend(warnings(health, await self.alarms()))
        self.warnings = list(health.warnings)
        return health

    async def alarms(self) -> list[int]:
        """The kinds of alarm that members raised; none while nobody can be asked."""
        try:
            return sorted({alarm.alarm for alarm in await self.client.alarms()})
        except (SwarmliteError, Compacted):
            return []

    async def members(self) -> list[StoreMember]:
        """Own and others', in the order of their names."""
        asked = [self.own()]
        if self._node.external_etcd is None:
            asked += [
                self._of(node.id, node.description.hostname, node.manager_status.addr)
                for node in self._store.view.nodes
                if node.role == NodeRole.MANAGER and node.id != self._node.node_id
            ]
        return sorted(await asyncio.gather(*asked), key=lambda member: member.name)

    async def _of(self, node_id: str, name: str, address: str) -> StoreMember:
        channel = self._channel(address)
        try:
            with rpc.translated(f"manager {address}"):
                answer: StoreHealth = await ControlStub(channel).GetStoreHealth(
                    StoreHealthRequest(own=True), timeout=ASK_S
                )
            return answer.members[0]
        except (SwarmliteError, IndexError) as error:
            return StoreMember(node_id=node_id, name=name, error=str(error) or "no answer")
        finally:
            await channel.close()

    async def look_at_disk(self) -> None:
        """How fast the own member's disk was since the last look. Raises nothing."""
        try:
            metrics = await asyncio.to_thread(
                disk.read, self.client.endpoints[0], self._certificates_dir, MANAGERS_NAME
            )
        except OSError as error:
            log.debug("etcd's metrics: %s", error)
            return
        now = disk.counted(metrics)
        if self._syncs:
            self._sync_s = disk.nine_of_ten(self._syncs, now)
        self._syncs = now


def warnings(health: StoreHealth, alarms: Sequence[int]) -> list[str]:
    """One line for each thing that is wrong, and what is to be done."""
    found = []
    if NOSPACE in alarms:
        found.append(FULL if not health.external else _EXTERNAL_FULL)
    elif health.quota_bytes:
        for member in health.members:
            if member.used_bytes > NEARLY_FULL * health.quota_bytes:
                share = member.used_bytes / health.quota_bytes
                found.append(
                    f"the store on {member.name} is full to {share:.0%}: remove what is not needed,"
                    " or start every manager's swarmlited with a greater --etcd-quota"
                )
    if CORRUPT in alarms:
        found.append(
            "etcd says that its members differ (alarm CORRUPT): take a backup, and demote and"
            " promote each manager but one that is right"
        )
    found += [
        f"the disk of {member.name} takes {1000 * member.sync_s:.0f} ms for a sync (nine of ten):"
        f" above {1000 * disk.SLOW_S:.0f} ms etcd may lose its leader; use a faster disk for"
        " /var/lib/swarmlite"
        for member in health.members
        if member.sync_s > disk.SLOW_S
    ]
    found += [
        f"etcd on {member.name} does not answer: {member.error}"
        for member in health.members
        if member.error
    ]
    return found


_EXTERNAL_FULL = (
    "etcd is full and takes no writes (alarm NOSPACE): compact and defragment it, or raise its"
    " quota, then etcdctl alarm disarm"
)
