"""`swarmlite info`."""

from __future__ import annotations

from collections.abc import Iterator

import click

from swarmlite.cli import client
from swarmlite.cli.lazy import Command
from swarmlite.cli.output.gofunctions import to_json
from swarmlite.cli.output.gotemplate import Template
from swarmlite.cli.output.omitted import OMITTED
from swarmlite.cli.session import Session, pass_session
from swarmlite.docker import info as shapes
from swarmlite.docker.values import Json
from swarmlite.errors import SwarmliteError
from swarmlite.model import units
from swarmlite.proto.control_pb2 import (
    Empty,
    GetRequest,
    ListNodesResponse,
    ListRequest,
    StoreHealth,
    StoreHealthRequest,
)
from swarmlite.proto.host_pb2 import HostInfo
from swarmlite.proto.objects_pb2 import Cluster


@click.command("info", cls=Command)
@click.option("-f", "--format", "form", default="", help="'json' or a Go template.")
@pass_session
def command(session: Session, form: str) -> None:
    """Display information about this host and its swarm.

    In a context that leads to managers (swarm://) about the swarm.
    """
    if session.node.managers_only:
        info, shown = _of_managers(session)
        lines = _swarm_lines(shown["Swarm"])
    else:
        info = client.call(session.host.Info, Empty())
        shown, lines = shapes.info(info), _lines(info)
    if form == "json":
        click.echo(to_json(shown))
    elif form:
        click.echo(Template(form, omitted=OMITTED).render(shown))
    else:
        click.echo("\n".join(lines))
        if info.manager:
            _store(session, info)
    for warning in info.warnings:
        click.echo(f"WARNING: {warning}", err=True)


def _of_managers(session: Session) -> tuple[HostInfo, Json]:
    """What managers know, of no host."""
    cluster: Cluster = client.call(session.control.GetCluster, GetRequest(ref="default"))
    reply: ListNodesResponse = client.call(session.control.ListNodes, ListRequest())
    managers = [node.manager_status for node in reply.nodes if node.HasField("manager_status")]
    info = HostInfo(swarm_state="active", manager=True, cluster_id=cluster.id, managers=managers)
    counted = {"Managers": len(managers), "Nodes": len(reply.nodes)}
    return info, {"Swarm": shapes.swarm(info) | counted}


def _swarm_lines(swarm: Json) -> Iterator[str]:
    yield f"Swarm: {swarm['LocalNodeState']}"
    yield f" ClusterID: {swarm['Cluster']['ID']}"
    yield f" Managers: {swarm['Managers']}"
    yield f" Nodes: {swarm['Nodes']}"
    yield " Manager Addresses:"
    yield from (f"  {manager['Addr']}" for manager in swarm["RemoteManagers"] or ())


def _store(session: Session, info: HostInfo) -> None:
    """The managers' store, as this manager finds it now."""
    try:
        health: StoreHealth = client.call(session.control.GetStoreHealth, StoreHealthRequest())
    except SwarmliteError as error:
        info.warnings.append(f"the store's health is not known: {error}")
        return
    click.echo("\n".join(store_lines(health)))
    info.warnings.extend(health.warnings)


def store_lines(health: StoreHealth) -> Iterator[str]:
    """A section: etcd's members one by one."""
    quota = f", quota {units.format_bytes(health.quota_bytes)}" if health.quota_bytes else ""
    below = f", keys below {health.prefix}" if health.prefix else ""
    yield f"Store: {'external etcd' if health.external else 'etcd'}{quota}{below}"
    for member in health.members:
        who = member.endpoint if health.external else member.name
        if member.error:
            yield f" {who}: does not answer ({member.error})"
            continue
        role = "learner" if member.learner else "leader" if member.leader else "follower"
        line = f" {who}: {'' if health.external else role + ', '}etcd {member.version}"
        line += f", {units.format_bytes(member.size_bytes)} on disk"
        line += f" ({units.format_bytes(member.used_bytes)} used)"
        yield line + (f", syncs in {1000 * member.sync_s:.0f} ms" if member.sync_s else "")


def _lines(info: HostInfo) -> Iterator[str]:
    described = info.description
    yield f"Containers: {shapes.total(info)}"
    yield f" Running: {info.containers_running}"
    yield f" Paused: {info.containers_paused}"
    yield f" Stopped: {info.containers_stopped}"
    yield f"Images: {info.images}"
    yield f"Server Version: {described.engine.engine_version}"
    if info.storage_driver:
        yield f"Storage Driver: {info.storage_driver}"
    if info.cgroup_version:
        yield f"Cgroup Version: {info.cgroup_version.removeprefix('v')}"
    if info.log_drivers:
        yield "Plugins:"
        yield " Volume: local"
        yield f" Network: {' '.join(info.network_drivers)}"
        yield f" Log: {' '.join(info.log_drivers)}"
    yield f"Swarm: {info.swarm_state or 'inactive'}"
    if info.error:
        yield f" Error: {info.error}"
    if info.node_id:
        yield f" NodeID: {info.node_id}"
        yield f" Is Manager: {str(info.manager).lower()}"
        yield f" ClusterID: {info.cluster_id}"
        if info.managers:
            yield " Manager Addresses:"
            yield from (f"  {manager.addr}" for manager in info.managers)
    yield f"Capabilities: {' '.join(described.engine.capabilities)}"
    yield f"Kernel Version: {described.kernel_version}"
    yield f"Operating System: {described.os_name}"
    yield f"OSType: {described.platform.os}"
    yield f"Architecture: {described.platform.architecture}"
    yield f"CPUs: {units.format_cpus(described.resources.nano_cpus)}"
    yield f"Total Memory: {units.format_bytes(described.resources.memory_bytes)}"
    yield f"Name: {described.hostname}"
    yield f"Root Dir: {info.state_dir}"
