"""What the host's rules are made of at each start of a container."""

from __future__ import annotations

from swarmlite.network.egress import EgressPort
from swarmlite.network.netlink import mac_of, mac_text
from swarmlite.network.view import View
from swarmlite.proto.dispatcher_pb2 import AssignmentChange, Endpoint


def place(number: int, host: str) -> Endpoint:
    endpoint = Endpoint(id=f"net/{number}", network_id="net", addr=f"10.0.0.{number}/24")
    endpoint.node_addr = host
    endpoint.node_addrs.extend([host, "fd00::1"])
    return endpoint


def test_the_addresses_of_nodes_follow_the_endpoints() -> None:
    """They are looked for once a change, and each change is seen."""
    view = View("here")
    assert not view.peers() and not view.node_addresses()
    first, second = place(1, "192.168.1.1"), place(2, "192.168.1.2")
    view.take([AssignmentChange(endpoint=first), AssignmentChange(endpoint=second)])
    assert view.peers() == {"192.168.1.1", "192.168.1.2"}
    assert view.peers() is view.peers()
    view.take([AssignmentChange(action=AssignmentChange.REMOVE, endpoint=first)])
    assert view.peers() == {"192.168.1.2"}
    assert view.node_addresses() == {"192.168.1.2", "fd00::1"}
    view.replace({}, {first.id: first}, {})
    assert view.peers() == {"192.168.1.1"}
    assert view.node_addresses() == {"192.168.1.1", "fd00::1"}


def test_a_container_may_send_from_its_own_addresses_only() -> None:
    port = EgressPort("p", "172.18.0.2", ("10.0.0.9",))
    mac = mac_text(mac_of("172.18.0.2"))
    assert port.sources == {f"{mac} . 172.18.0.2", f"{mac} . 10.0.0.9"}
    assert len(port.sources6) == 2 and all(":" in pair for pair in port.sources6)
    assert port == EgressPort("p", "172.18.0.2", ("10.0.0.9",))
