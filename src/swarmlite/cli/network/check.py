"""`swarmlite network check`: the nodes of a network probe each other over it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import click

from swarmlite.cli import client
from swarmlite.cli.lazy import Command
from swarmlite.cli.session import Session, pass_session
from swarmlite.errors import Unavailable
from swarmlite.model.naturally import naturally
from swarmlite.proto.control_pb2 import CheckNetworkRequest, CheckNetworkResponse, PeerFinding


@click.command("check", cls=Command)
@click.argument("network")
@pass_session
def command(session: Session, network: str) -> None:
    """Probe a network of the swarm between all its nodes."""
    request = CheckNetworkRequest(ref=network)
    answers = list(client.stream(session.control.CheckNetwork(request)))
    failed = 0
    for line, fault in judge(network, answers):
        click.echo(line)
        failed += fault
    if failed:
        noun = "fault" if failed == 1 else "faults"
        raise Unavailable(f"network {network}: {failed} {noun} between its nodes")


def judge(network: str, answers: Sequence[CheckNetworkResponse]) -> Iterator[tuple[str, bool]]:
    """Lines, and whether each tells of a fault; one without a fault where there is none."""
    nodes = sorted(answers, key=lambda answer: naturally(_name(answer)))
    if len(nodes) < 2:
        where = f"on node {_name(nodes[0])} only" if nodes else "on no node"
        yield f"{network} is {where}: there is nothing to probe between nodes", False
        return
    able = [node for node in nodes if not node.findings.error]
    faults = [*_nodes(nodes), *_ways(able)]
    for node in able:
        for line in node.findings.repairs:
            yield f"{_name(node)}: repaired just now: {line}", False
    for line in faults:
        yield line, True
    if not faults:
        size = min(node.findings.mtu for node in able)
        yield f"{network}: all {len(able)} nodes hear each other, packets of {size} bytes", False


def _nodes(nodes: Sequence[CheckNetworkResponse]) -> Iterator[str]:
    for node in nodes:
        if node.findings.error:
            yield f"{_name(node)}: cannot be probed: {node.findings.error}"
    sizes = {node.findings.mtu for node in nodes if not node.findings.error}
    if len(sizes) > 1:
        said = ", ".join(f"{n.findings.mtu} on {_name(n)}" for n in nodes if n.findings.mtu)
        yield f"the nodes differ in the bytes of a packet: {said}"


def _ways(nodes: Sequence[CheckNetworkResponse]) -> Iterator[str]:
    """The faults of each way from a node to another."""
    for sender in nodes:
        for receiver in nodes:
            if sender is receiver:
                continue
            there, here = _finding(receiver, sender), _finding(sender, receiver)
            if there.heard_bytes < min(sender.findings.mtu, receiver.findings.mtu):
                why = _why(sender, receiver, there, here)
                yield f"{_name(sender)} to {_name(receiver)}: {why}"


def _why(
    sender: CheckNetworkResponse,
    receiver: CheckNetworkResponse,
    there: PeerFinding,
    here: PeerFinding,
) -> str:
    if there.heard_bytes:
        return (
            f"packets above {there.heard_bytes} bytes are lost: some link on the way takes less"
            f" than {_name(sender)}'s (make the network with -o"
            f" com.docker.network.driver.mtu={there.heard_bytes}, or mend the link)"
        )
    if here.sending:
        return f"nothing leaves {_name(sender)}: {here.sending}"
    if there.arriving:
        return f"nothing gets in at {_name(receiver)}: {there.arriving}"
    if there.arrived:
        return f"packets reach {_name(receiver)}, and no rule of nftables drops them there"
    return (
        f"nothing arrives at {_name(receiver)} ({receiver.node.addr}): between the hosts something"
        " drops UDP of the data path's port"
    )


def _finding(node: CheckNetworkResponse, other: CheckNetworkResponse) -> PeerFinding:
    """What a node has found of another one."""
    for peer in node.findings.peers:
        if peer.node_id == other.node.node_id:
            return peer
    return PeerFinding()


def _name(node: CheckNetworkResponse) -> str:
    return node.hostname or node.node.node_id
