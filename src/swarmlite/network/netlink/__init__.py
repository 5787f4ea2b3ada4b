"""rtnetlink, the few messages that wire a host: raw on the path of a start, pyroute2 off it.

`constants` are the kernel's numbers, `attributes` packs, `links` and `routing` are the messages,
`channel` sends them. Source: rtnetlink(7).
"""

from swarmlite.network.netlink.attributes import (
    Message,
    address_bytes,
    attribute,
    attributes,
    family_of,
    mac_bytes,
    mac_of,
    mac_text,
    nested,
    text,
    u8,
    u32,
)
from swarmlite.network.netlink.channel import Link, Socket
from swarmlite.network.netlink.constants import (
    ACK,
    CREATE,
    DUMP,
    LOOPBACK,
    NETLINK_NETFILTER,
    NETLINK_ROUTE,
)
from swarmlite.network.netlink.links import (
    PortFlags,
    delete_link,
    make_bridge,
    make_veth,
    make_vxlan,
    no_ipv6,
    set_link,
    set_port,
)
from swarmlite.network.netlink.routing import (
    add_address,
    add_route,
    delete_address,
    delete_route,
    forward,
    neighbour,
    rule,
)

__all__ = [
    "ACK",
    "CREATE",
    "DUMP",
    "LOOPBACK",
    "NETLINK_NETFILTER",
    "NETLINK_ROUTE",
    "Link",
    "Message",
    "PortFlags",
    "Socket",
    "add_address",
    "add_route",
    "address_bytes",
    "attribute",
    "attributes",
    "delete_address",
    "delete_link",
    "delete_route",
    "family_of",
    "forward",
    "mac_bytes",
    "mac_of",
    "mac_text",
    "make_bridge",
    "make_veth",
    "make_vxlan",
    "neighbour",
    "nested",
    "no_ipv6",
    "rule",
    "set_link",
    "set_port",
    "text",
    "u8",
    "u32",
]
