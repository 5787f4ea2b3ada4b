"""What a node spec may say."""

from __future__ import annotations

from swarmlite.errors import InvalidSpec
from swarmlite.model import permission_words
from swarmlite.proto.specs_pb2 import NodeSpec
from swarmlite.proto.types_pb2 import NodeRole

from . import checks


@checks.in_one_line
def validate_node(spec: NodeSpec) -> None:
    """Raise InvalidSpec for the first rule that `spec` breaks."""
    checks.member("--role", spec.desired_role, NodeRole)
    checks.member("--availability", spec.availability, NodeSpec.Availability)
    checks.duration("--drain-deadline", spec.drain_deadline)
    checks.member("membership", spec.membership, NodeSpec.Membership)
    checks.text("node name", spec.annotations.name)
    checks.labels("--label-add", spec.annotations.labels)
    for word in spec.allowed:
        try:
            permission_words.check(word)
        except InvalidSpec as error:
            raise InvalidSpec(f"--allow {error}") from error
    checks.unique("--allow", list(spec.allowed))
    checks.size("node", spec, checks.MAX_LABELS_BYTES)
