"""Placement constraints: "node.labels.ssd == true", parsed once and matched against nodes.

Values compare without regard to case; a label that a node lacks is the empty string, so `!=`
holds there. `node.ip` takes an address or a CIDR. Architectures go by any of their common names.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache

from swarmlite.errors import InvalidSpec
from swarmlite.proto.objects_pb2 import Node
from swarmlite.proto.types_pb2 import MANAGER

NODE_LABEL = "node.labels."
ENGINE_LABEL = "engine.labels."
_OF_NODES = ("node.", "engine.")
FIXED_KEYS = (
    "node.id",
    "node.hostname",
    "node.ip",
    "node.role",
    "node.platform.os",
    "node.platform.arch",
)
KEYS = (*FIXED_KEYS, NODE_LABEL + "NAME", ENGINE_LABEL + "NAME")

_KEY = re.compile(r"[A-Za-z_][A-Za-z0-9\-_./]*")
_VALUE = re.compile(r"[A-Za-z0-9:\-_ .*()?+\[\]\\^$|/@,=]+")
_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64", "armv7l": "arm", "i386": "386"}


@dataclass(frozen=True, slots=True)
class Constraint:
    """One condition; `key` is in its canonical form, `value` as written."""

    key: str
    equal: bool
    value: str

    def __str__(self) -> str:
        return f"{self.key} {'==' if self.equal else '!='} {self.value}"

    def matches(self, node: Node) -> bool:
        """Whether `node` satisfies it."""
        if self.key == "node.ip":
            return _ip_matches(node.status.addr, self.value, self.equal)
        return (_value_of(node, self.key) == self._wanted()) == self.equal

    def _wanted(self) -> str:
        wanted = self.value.lower()
        return architecture(wanted) if self.key == "node.platform.arch" else wanted


def architecture(name: str) -> str:
    """Go's name of an architecture, whichever of its names is given."""
    return _ARCHITECTURES.get(name.lower(), name.lower())


@lru_cache(maxsize=4096)
def parse_one(text: str) -> Constraint:
    """One constraint as a user writes it. Raises InvalidSpec."""
    for operator in ("==", "!="):
        key, found, value = text.partition(operator)
        if found:
            break
    else:
        raise InvalidSpec(
            f'constraint {text!r}: expected one of "==" and "!=", as in node.role==manager'
        )
    value = value.strip()
    if not _VALUE.fullmatch(value):
        raise InvalidSpec(f"constraint {text!r}: value {value!r} is empty or has odd characters")
    constraint = Constraint(_canonical_key(key.strip(), text), operator == "==", value)
    _check_value(constraint, text)
    return constraint


def parse(texts: Iterable[str]) -> list[Constraint]:
    """All of a service's constraints. Raises InvalidSpec for the first that is malformed."""
    return [parse_one(text) for text in texts]


def matches(constraints: Sequence[Constraint], node: Node) -> bool:
    """Whether `node` satisfies every one."""
    return all(constraint.matches(node) for constraint in constraints)


def spread_value(node: Node, descriptor: str) -> str:
    """The value that a `spread=` preference groups nodes by; empty where the node has none."""
    if not descriptor.lower().startswith(_OF_NODES):
        return ""
    return _value_of(node, _canonical_key(descriptor, descriptor), fold=False)


def check_spread(descriptor: str) -> None:
    """Raise InvalidSpec unless a preference may spread over this: whatever constraints go by.

    What is of neither nodes nor engines is taken as Docker does: no node has it, so all are alike.
    """
    if not descriptor or descriptor.lower().startswith(_OF_NODES):
        _canonical_key(descriptor, f"spread={descriptor}")


def _canonical_key(key: str, text: str) -> str:
    lowered = key.lower()
    if lowered in FIXED_KEYS:
        return lowered
    for prefix in (NODE_LABEL, ENGINE_LABEL):
        if lowered.startswith(prefix) and len(key) > len(prefix) and _KEY.fullmatch(key):
            return prefix + key[len(prefix) :]
    raise InvalidSpec(f"constraint {text!r}: unknown key {key!r}; expected {', '.join(KEYS)}")


def _check_value(constraint: Constraint, text: str) -> None:
    if constraint.key == "node.ip":
        try:
            ipaddress.ip_network(constraint.value, strict=False)
        except ValueError as error:
            raise InvalidSpec(
                f"constraint {text!r}: {constraint.value!r} is neither an address nor a CIDR"
            ) from error
    if constraint.key == "node.role" and constraint.value.lower() not in ("manager", "worker"):
        raise InvalidSpec(f"constraint {text!r}: expected manager or worker")


def _value_of(node: Node, key: str, *, fold: bool = True) -> str:
    if key.startswith(NODE_LABEL):
        value = node.spec.annotations.labels.get(key[len(NODE_LABEL) :], "")
    elif key.startswith(ENGINE_LABEL):
        value = node.description.engine.labels.get(key[len(ENGINE_LABEL) :], "")
    elif key == "node.id":
        value = node.id
    elif key == "node.hostname":
        value = node.description.hostname
    elif key == "node.role":
        value = "manager" if node.role == MANAGER else "worker"
    elif key == "node.platform.os":
        value = node.description.platform.os
    elif key == "node.platform.arch":
        value = architecture(node.description.platform.architecture)
    else:
        value = node.status.addr
    return value.lower() if fold else value


def _ip_matches(addr: str, wanted: str, equal: bool) -> bool:
    try:
        inside = ipaddress.ip_address(addr) in ipaddress.ip_network(wanted, strict=False)
    except ValueError:
        return False  # an address that is not known satisfies neither
    return inside == equal
