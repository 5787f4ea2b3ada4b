"""The manager's process: the store, the servers and the election, one task group for its life.

Everything is in node.json and the certificates beside it; SIGTERM and SIGINT end it, after
the leadership was given up.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import signal
from collections import defaultdict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import grpc.aio

from swarmlite import logs, rpc
from swarmlite.errors import FailedPrecondition
from swarmlite.identity import node as identity
from swarmlite.identity.certificates import Certificates
from swarmlite.identity.lock import KeyLock
from swarmlite.paths import Paths
from swarmlite.proto.ca_pb2_grpc import add_CAServicer_to_server
from swarmlite.proto.control_pb2_grpc import add_ControlServicer_to_server
from swarmlite.proto.dispatcher_pb2_grpc import add_DispatcherServicer_to_server
from swarmlite.proto.observed_pb2_grpc import add_ObservedServicer_to_server

from . import members, networkkeys, roles, storekeys
from .ca import rotation
from .ca.service import CAService
from .controlapi.service import ControlService
from .dispatcher import Dispatcher, DispatcherService
from .dispatcher.carrying import Carrying
from .election import Election, run_leader
from .etcdcare.care import Care
from .etcdcare.health import Health
from .etcdcare.restarts import Restarts
from .isolation import kept_up
from .locking import Locking
from .logbroker import LogBroker
from .logforward import forwarder
from .loop import Tally
from .loops import leader_loops
from .observed import ManagerObserved
from .server import Register, serving
from .store import place
from .store.api import Fence
from .store.etcd import EtcdStore, open_store
from .store.etcd_client import EtcdClient
from .tunnels import Tunnels

log = logging.getLogger(__name__)

CERTIFICATE_CHECK_S = 5.0


@dataclass(frozen=True)
class ManagerConfig:
    """Frozen at the start; the daemon starts the manager again when node.json changes."""

    paths: Paths
    node_id: str
    listen_addr: str
    node: identity.NodeIdentity
    etcd_quota_bytes: int = 0
    """Of the own member; 0: not known."""

    @property
    def embedded(self) -> bool:
        """Whether this node runs a member of etcd, so that the managers keep the membership."""
        return self.node.external_etcd is None


def read_config(paths: Paths, etcd_quota_bytes: int = 0) -> ManagerConfig:
    """From node.json. Raises FailedPrecondition when this node is no manager."""
    node = identity.read(paths.node_file)
    if node is None or not node.manager:
        raise FailedPrecondition("this node is not a swarm manager")
    logs.node_id = node.node_id
    return ManagerConfig(paths, node.node_id, node.listen_addr, node, etcd_quota_bytes)


class Leading:
    """Whether this manager leads, for its dispatcher."""

    def __init__(self) -> None:
        self.now = False

    async def duty(self, fence: Fence) -> None:
        """A term's duty: True as long as it runs."""
        self.now = True
        try:
            await asyncio.Event().wait()
        finally:
            self.now = False


async def run(config: ManagerConfig) -> None:
    """Serve and lead until cancelled."""
    paths = config.paths
    client = place.client_of(config.node, paths)
    lock = KeyLock(paths)
    kept = storekeys.KeptKeys(paths.store_keys_file, partial(lock.write, "store.keys"))
    managers = storekeys.Managers(client, kept, config.node_id, paths.certificates_dir)
    try:
        async with open_store(
            client, kept.keys, learn=managers.learn, checked_as=config.node_id
        ) as store:
            sealing = partial(storekeys.keep_sealed, kept, managers, client, store)
            rotate = partial(storekeys.introduce, kept, managers)
            locking = Locking(lock, store)
            locking.follow()  # before anyone is answered
            await _serve_and_lead(config, client, store, kept, sealing, rotate, locking)
    finally:
        await client.close()


async def _serve_and_lead(
    config: ManagerConfig,
    client: EtcdClient,
    store: EtcdStore,
    kept: storekeys.KeptKeys,
    sealing: Callable[[Fence], Awaitable[None]],
    rotate: Callable[[], Awaitable[object]],
    locking: Locking,
) -> None:
    paths = config.paths
    leading = Leading()
    dispatcher = Dispatcher(store, config.node_id, is_leader=lambda: leading.now)
    forward = forwarder(paths.certificates_dir)
    broker = LogBroker(store, dispatcher.sessions, config.node_id, forward)
    dispatcher.logs = broker
    certificates = Certificates(paths.certificates_dir)
    dispatcher.carrying = Carrying(store, dispatcher.sessions, certificates)
    etcd_members = members.EtcdMembers(client) if config.embedded else None
    presence = members.Presence(client)

    def channel(address: str) -> grpc.aio.Channel:
        return rpc.secure_channel([address], paths.certificates_dir)

    dispatcher.tunnels = tunnels = Tunnels(store, dispatcher.sessions, config.node_id, channel)
    health = Health(
        client,
        store,
        config.node,
        config.etcd_quota_bytes,
        channel,
        paths.certificates_dir,
        presence.announced,
    )
    dispatcher.hand_over(presence.announced, channel)
    control = ControlService(
        store,
        config.node_id,
        broker,
        members=etcd_members,
        carrier=dispatcher.carrying,
        channel=channel,
        rotate=rotate,
        locked=locking.follow,
        tunnels=tunnels,
        health=health,
        figures=dispatcher.figures,
        checks=dispatcher.checks,
    )
    ca = CAService(
        store,
        etcd_members or members.NoMembers(),
        kept,
        external_etcd=partial(place.to_message, config.node, paths),
    )
    tallies: defaultdict[str, Tally] = defaultdict(Tally)
    observed = ManagerObserved(store, dispatcher, tallies, lambda: leading.now)
    services: list[Register] = [
        partial(add_ControlServicer_to_server, control),
        partial(add_DispatcherServicer_to_server, DispatcherService(dispatcher)),
        partial(add_ObservedServicer_to_server, observed),
        partial(add_CAServicer_to_server, ca),
    ]
    duties: list[Callable[[Fence], Awaitable[None]]] = [
        leading.duty,
        sealing,
        partial(rotation.keep, store),
        partial(networkkeys.keep, store),
        partial(
            members.keep,
            etcd_members,
            presence,
            store,
            config.node_id,
        ),
    ]
    election = Election(
        client, config.node_id, willing=lambda: roles.stands(store.view, config.node_id)
    )
    async with asyncio.TaskGroup() as group:
        group.create_task(dispatcher.run(), name="dispatcher")
        group.create_task(kept_up("locking", locking.run), name="locking")
        announcing = partial(presence.announce, config.node_id)
        group.create_task(kept_up("presence", announcing), name="presence")
        if config.embedded:
            care = Care(health, store, config.node_id, Restarts(paths.daemon_socket))
            group.create_task(kept_up("etcd's care", care.run), name="etcd's care")
        async with serving(
            services,
            lambda: store.view,
            socket_path=paths.manager_socket,
            listen_addr=config.listen_addr,
            certificates_dir=paths.certificates_dir,
            look_up=store.look_up,
        ):
            log.info("serving at %s and %s", config.listen_addr, paths.manager_socket)
            leading_on = partial(run_leader, store, election, leader_loops, duties, tallies=tallies)
            group.create_task(kept_up("leader", leading_on), name="leader")
            await kept_up("certificate", partial(_follow_certificate, store, config))


async def _follow_certificate(store: EtcdStore, config: ManagerConfig) -> None:
    """A new connection to etcd whenever the certificate for it was renewed; never returns."""
    stamp = partial(place.stamp, config.node, config.paths)
    seen = stamp()
    while True:
        await asyncio.sleep(CERTIFICATE_CHECK_S)
        try:
            found = stamp()
        except OSError:
            continue
        if found != seen:
            seen = found
            log.info("the certificate was renewed: connecting to etcd again")
            await store.reconnect()


async def run_until_signalled(config: ManagerConfig) -> None:
    """`run`, ended by SIGTERM or SIGINT."""
    loop = asyncio.get_running_loop()
    running = asyncio.ensure_future(run(config))
    signalled = False

    def stop() -> None:
        nonlocal signalled
        signalled = True
        running.cancel()

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop)
    try:
        await running
    except asyncio.CancelledError:
        if not signalled:
            raise


def parse_arguments(arguments: list[str] | None = None) -> ManagerConfig:
    """From the command line and node.json. Raises FailedPrecondition."""
    parser = argparse.ArgumentParser(prog="swarmlite-manager", description=__doc__)
    parser.add_argument("--state-dir", type=Path, required=True)
    parser.add_argument("--run-dir", type=Path, required=True)
    parser.add_argument("--etcd-quota-bytes", type=int, default=0)
    options = parser.parse_args(arguments)
    paths = Paths(options.state_dir.absolute(), options.run_dir.absolute())
    return read_config(paths, options.etcd_quota_bytes)
