"""A node's spec."""

from __future__ import annotations

from swarmlite.docker.fields import Fields
from swarmlite.errors import InvalidSpec
from swarmlite.proto.specs_pb2 import NodeSpec
from swarmlite.proto.types_pb2 import NodeRole

from .values import word


def node_spec(sent: Fields) -> NodeSpec:
    """Name, Labels, Role, Availability: the whole spec, with both words said."""
    for key in ("Role", "Availability"):
        if not sent.text(key):
            raise InvalidSpec(f'invalid {key}: ""')
    spec = NodeSpec(membership=NodeSpec.ACCEPTED)
    spec.annotations.name = sent.text("Name")
    spec.annotations.labels.update(sent.mapping("Labels"))
    spec.desired_role = word(sent, "Role", NodeRole)
    spec.availability = word(sent, "Availability", NodeSpec.Availability)
    spec.allowed.extend(sent.texts("Allowed"))  # ours, beyond Docker's
    return spec
