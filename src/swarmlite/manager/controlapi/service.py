"""The gRPC service: each call handed to its object's part. The roles are control.proto's."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable
from datetime import datetime
from typing import Any, Protocol

import grpc.aio

from swarmlite.errors import FailedPrecondition
from swarmlite.manager.ca import users
from swarmlite.manager.dispatcher.checking import Checks
from swarmlite.manager.store.api import Store
from swarmlite.proto import control_pb2 as pb
from swarmlite.proto import objects_pb2 as objects
from swarmlite.proto.control_pb2_grpc import ControlServicer

from .api import Api, utc_now
from .clusters import Clusters, Rotate
from .figures import AllFigures, Figures
from .images import Carrier, Images
from .network_checks import NetworkChecks
from .networks import Networks
from .nodes import Members, Nodes
from .payloads import Configs, Secrets
from .redaction import shown
from .services import Services
from .tasks import Tasks
from .watch import watch

Context = Any  # grpc.aio.ServicerContext; grpc ships no types


class Logs(Protocol):
    """Who answers ServiceLogs: the log broker."""

    def logs(self, request: pb.LogsRequest) -> AsyncIterator[pb.LogsResponse]:
        """Lines of the tasks that the request selects; ends as the request says."""


class Reaching(Protocol):
    """Who joins clients to tasks."""

    async def serve(self, client: Any) -> None:
        """A client's call, for as long as its tunnel lasts."""


class Health(Protocol):
    """Who answers GetStoreHealth: etcdcare.health."""

    warnings: list[str]

    async def whole(self, request: pb.StoreHealthRequest) -> pb.StoreHealth:
        """Raises nothing: what does not answer says why."""


class ControlService(ControlServicer):
    """Control of control.proto. Raises swarmlite's errors; the server's interceptor translates."""

    def __init__(
        self,
        store: Store,
        node_id: str,
        logs: Logs,
        now: Callable[[], datetime] = utc_now,
        members: Members | None = None,
        carrier: Carrier | None = None,
        channel: Callable[[str], grpc.aio.Channel] | None = None,
        rotate: Rotate | None = None,
        locked: Callable[[], None] | None = None,
        tunnels: Reaching | None = None,
        health: Health | None = None,
        figures: Figures | None = None,
        checks: Checks | None = None,
    ) -> None:
        """`members`: of the embedded etcd, where there is one; `channel` leads to a manager;
        `rotate` and `locked`: as Clusters; `health` is the store's; `checks` asks this
        manager's nodes.
        """
        self._api = Api(store, node_id, now)
        self._logs = logs
        self._health = health
        self._nodes = Nodes(self._api, members, self._warnings, channel)
        self._services = Services(self._api)
        self._tasks = Tasks(self._api)
        self._networks = Networks(self._api)
        self._secrets = Secrets(self._api)
        self._configs = Configs(self._api)
        self._clusters = Clusters(self._api, rotate, locked)
        self._images = Images(self._api, carrier, channel)
        self._tunnels = tunnels
        self._figures = AllFigures(self._api, figures, channel) if figures else None
        self._checks = NetworkChecks(self._api, checks, channel)

    def _warnings(self) -> Iterable[str]:
        return self._health.warnings if self._health else ()

    async def GetNode(self, request: pb.GetRequest, context: Context) -> objects.Node:
        """See control.proto."""
        return self._nodes.get(request)

    async def ListNodes(self, request: pb.ListRequest, context: Context) -> pb.ListNodesResponse:
        """See control.proto."""
        return self._nodes.list(request)

    async def UpdateNode(self, request: pb.UpdateNodeRequest, context: Context) -> objects.Node:
        """See control.proto."""
        return await self._nodes.update(request)

    async def RemoveNode(self, request: pb.RemoveNodeRequest, context: Context) -> pb.Empty:
        """See control.proto."""
        return await self._nodes.remove(request)

    async def GetService(self, request: pb.GetRequest, context: Context) -> objects.Service:
        """See control.proto."""
        return shown(self._services.get(request))

    async def ListServices(
        self, request: pb.ListRequest, context: Context
    ) -> pb.ListServicesResponse:
        """See control.proto."""
        return shown(self._services.list(request))

    async def ServiceRows(self, request: pb.Empty, context: Context) -> pb.Rows:
        """See control.proto."""
        return self._services.rows()

    async def CreateService(
        self, request: pb.CreateServiceRequest, context: Context
    ) -> objects.Service:
        """See control.proto."""
        return await self._services.create(request)

    async def UpdateService(
        self, request: pb.UpdateServiceRequest, context: Context
    ) -> objects.Service:
        """See control.proto."""
        return await self._services.update(request)

    async def RemoveService(self, request: pb.RemoveRequest, context: Context) -> pb.Empty:
        """See control.proto."""
        return await self._services.remove(request)

    async def GetTask(self, request: pb.GetRequest, context: Context) -> objects.Task:
        """See control.proto."""
        return shown(self._tasks.get(request))

    async def ListTasks(
        self, request: pb.ListTasksRequest, context: Context
    ) -> pb.ListTasksResponse:
        """See control.proto."""
        return shown(self._tasks.list(request))

    async def GetNetwork(self, request: pb.GetRequest, context: Context) -> objects.Network:
        """See control.proto."""
        return self._networks.get(request)

    async def ListNetworks(
        self, request: pb.ListRequest, context: Context
    ) -> pb.ListNetworksResponse:
        """See control.proto."""
        return self._networks.list(request)

    async def CreateNetwork(
        self, request: pb.CreateNetworkRequest, context: Context
    ) -> objects.Network:
        """See control.proto."""
        return await self._networks.create(request)

    async def RemoveNetwork(self, request: pb.RemoveRequest, context: Context) -> pb.Empty:
        """See control.proto."""
        return await self._networks.remove(request)

    async def GetSecret(self, request: pb.GetRequest, context: Context) -> objects.Secret:
        """See control.proto."""
        return self._secrets.get(request)

    async def ListSecrets(
        self, request: pb.ListRequest, context: Context
    ) -> pb.ListSecretsResponse:
        """See control.proto."""
        return self._secrets.list(request)

    async def CreateSecret(
        self, request: pb.CreateSecretRequest, context: Context
    ) -> objects.Secret:
        """See control.proto."""
        return await self._secrets.create(request)

    async def UpdateSecret(
        self, request: pb.UpdateSecretRequest, context: Context
    ) -> objects.Secret:
        """See control.proto."""
        return await self._secrets.update(request)

    async def RemoveSecret(self, request: pb.RemoveRequest, context: Context) -> pb.Empty:
        """See control.proto."""
        return await self._secrets.remove(request)

    async def GetConfig(self, request: pb.GetRequest, context: Context) -> objects.Config:
        """See control.proto."""
        return self._configs.get(request)

    async def ListConfigs(
        self, request: pb.ListRequest, context: Context
    ) -> pb.ListConfigsResponse:
        """See control.proto."""
        return self._configs.list(request)

    async def CreateConfig(
        self, request: pb.CreateConfigRequest, context: Context
    ) -> objects.Config:
        """See control.proto."""
        return await self._configs.create(request)

    async def UpdateConfig(
        self, request: pb.UpdateConfigRequest, context: Context
    ) -> objects.Config:
        """See control.proto."""
        return await self._configs.update(request)

    async def RemoveConfig(self, request: pb.RemoveRequest, context: Context) -> pb.Empty:
        """See control.proto."""
        return await self._configs.remove(request)

    async def GetCluster(self, request: pb.GetRequest, context: Context) -> objects.Cluster:
        """See control.proto."""
        return self._clusters.get(request)

    async def GetUnlockKey(
        self, request: pb.GetUnlockKeyRequest, context: Context
    ) -> pb.GetUnlockKeyResponse:
        """See control.proto."""
        return self._clusters.unlock_key()

    async def UpdateCluster(
        self, request: pb.UpdateClusterRequest, context: Context
    ) -> objects.Cluster:
        """See control.proto."""
        return await self._clusters.update(request)

    async def MakeLoginToken(
        self, request: pb.MakeLoginTokenRequest, context: Context
    ) -> pb.MakeLoginTokenResponse:
        """See control.proto."""
        return self._clusters.login_token(request)

    async def RemoveUser(self, request: pb.RemoveRequest, context: Context) -> pb.Empty:
        """See control.proto."""
        await users.remove(self._api.store, request.ref)
        return pb.Empty()

    async def GetStoreHealth(
        self, request: pb.StoreHealthRequest, context: Context
    ) -> pb.StoreHealth:
        """See control.proto."""
        return await self._health.whole(request) if self._health else pb.StoreHealth()

    async def GetFigures(self, request: pb.FiguresRequest, context: Context) -> pb.FiguresResponse:
        """See control.proto."""
        return await self._figures.get(request) if self._figures else pb.FiguresResponse()

    async def Watch(
        self, request: pb.WatchRequest, context: Context
    ) -> AsyncIterator[pb.WatchResponse]:
        """See control.proto."""
        async for response in watch(self._api, request):
            yield shown(response)

    async def ServiceLogs(
        self, request: pb.LogsRequest, context: Context
    ) -> AsyncIterator[pb.LogsResponse]:
        """See control.proto."""
        async for response in self._logs.logs(request):
            yield response

    async def CarryImage(
        self, request: pb.CarryImageRequest, context: Context
    ) -> AsyncIterator[pb.CarryImageResponse]:
        """See control.proto."""
        async for answer in self._images.carry(request):
            yield answer

    async def CheckNetwork(
        self, request: pb.CheckNetworkRequest, context: Context
    ) -> AsyncIterator[pb.CheckNetworkResponse]:
        """See control.proto."""
        async for answer in self._checks.check(request):
            yield answer

    async def TaskTunnel(  # type: ignore[override]  # grpc.aio takes a coroutine that reads and writes
        self, request_iterator: AsyncIterator[pb.TunnelData], context: Context
    ) -> None:
        """See control.proto."""
        if self._tunnels is None:
            raise FailedPrecondition("this manager has no tunnels")
        await self._tunnels.serve(context)
