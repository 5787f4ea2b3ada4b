"""A network of the swarm as tasks show it, which is another shape than `GET /networks` has."""

from __future__ import annotations

from swarmlite.proto.objects_pb2 import Network
from swarmlite.proto.types_pb2 import IPAMOptions, NetworkAttachment

from .network import VXLAN_OPTION
from .values import Json, compact, kept, meta, named


def attachment(value: NetworkAttachment, network: Network | None) -> Json:
    """A task's place on a network; `network` is unknown once it was removed."""
    shown: Json = {"ID": value.network_id, "Spec": {"Name": value.network_name}}
    if network is not None:
        shown = _network(network)
    return {
        "Network": shown,
        **compact({"Addresses": list(value.addresses)}),
    }


def _network(value: Network) -> Json:
    spec = value.spec
    driver = spec.driver.name or "overlay"
    options = dict(value.driver_state.options)
    if vni := options.pop("vni", ""):
        options[VXLAN_OPTION] = vni
    return {
        "ID": value.id,
        **meta(value.meta),
        "Spec": {
            **named(spec.annotations),
            "DriverConfiguration": compact({"Name": driver, "Options": dict(spec.driver.options)}),
            **compact(
                {
                    "IPv6Enabled": spec.ipv6_enabled,
                    "Internal": spec.internal,
                    "Attachable": spec.attachable,
                    "Ingress": spec.ingress,
                    "IPAMOptions": _ipam(spec.ipam),
                }
            ),
            "Scope": spec.scope or "swarm",
        },
        "DriverState": compact({"Name": driver, "Options": options}),
        "IPAMOptions": _ipam(value.ipam if value.ipam.configs else spec.ipam),
    }


def _ipam(value: IPAMOptions) -> Json:
    return kept(
        Driver={"Name": value.driver.name or "default"},
        **compact(
            {
                "Configs": [
                    compact(
                        {
                            "Subnet": c.subnet,
                            "Range": c.range,
                            "Gateway": c.gateway.partition("/")[0],
                        }
                    )
                    for c in value.configs
                ]
            }
        ),
    )
