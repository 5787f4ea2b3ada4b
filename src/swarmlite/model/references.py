"""References: the names of images in Docker's form, and what a task spec names.

An image's is [HOST[:PORT]/]PATH[:TAG][@DIGEST]. Loadable with the standard library only.
"""

from __future__ import annotations

import functools
import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from swarmlite.errors import InvalidSpec
from swarmlite.model.numerals import decimal

if TYPE_CHECKING:
    from swarmlite.proto.specs_pb2 import TaskSpec

HOST_GATEWAY = "host-gateway"
"""In place of an address in a spec's `hosts`: that of the host on which the container runs."""
HOST_NETWORK = "host"
BRIDGE_NETWORK = "bridge"
NO_NETWORK = "none"
INGRESS_NETWORK = "ingress"
"""The name under which `swarm init` makes the network of published ports."""

PREDEFINED_NETWORKS = frozenset({HOST_NETWORK, BRIDGE_NETWORK, NO_NETWORK})
"""Networks of each node: an attachment keeps their names, and no object stands for them."""

DEFAULT_DOMAIN = "docker.io"
DEFAULT_TAG = "latest"

_DOMAIN_LABEL = r"(?:[a-zA-Z0-9]|[a-zA-Z0-9][a-zA-Z0-9-]*[a-zA-Z0-9])"
_DOMAIN = re.compile(
    rf"(?:{_DOMAIN_LABEL}(?:\.{_DOMAIN_LABEL})*|\[[a-fA-F0-9:]+\])(?::[0-9]{{1,5}})?"
)
_COMPONENT = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_PATH = re.compile(rf"{_COMPONENT}(?:/{_COMPONENT})*")
_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}")
_DIGEST = re.compile(r"sha256:[a-f0-9]{64}|sha512:[a-f0-9]{128}")
_ID = re.compile(r"[a-f0-9]{64}")
_MAX_NAME = 255


def network_targets(spec: TaskSpec) -> set[str]:
    """Ids (names, in a spec not resolved yet) of the cluster's networks that it attaches to."""
    return {n.target for n in spec.networks} - PREDEFINED_NETWORKS


def secret_ids(spec: TaskSpec) -> set[str]:
    """Ids of the secrets that its container gets."""
    return {reference.secret_id for reference in spec.container.secrets}


def config_ids(spec: TaskSpec) -> set[str]:
    """Ids of the configs that its container gets."""
    return {reference.config_id for reference in spec.container.configs}


def is_digest(text: object) -> bool:
    """Whether `text` is a digest that may be used as a file's name."""
    return isinstance(text, str) and _DIGEST.fullmatch(text) is not None


def is_tag(text: str) -> bool:
    """Whether `text` may stand behind a name's colon."""
    return _TAG.fullmatch(text) is not None


@dataclass(frozen=True)
class Reference:
    """A parsed reference; `tag` is empty only where a digest stands."""

    domain: str
    path: str
    tag: str = ""
    digest: str = ""

    @classmethod
    def parse(cls, text: str) -> Reference:
        """The reference that `text` means, defaults filled in; raises InvalidSpec."""
        return _parsed(text)

    @classmethod
    def _parse(cls, text: str) -> Reference:
        if not text:
            raise InvalidSpec("invalid image reference: it is empty")
        if _ID.fullmatch(text):
            raise InvalidSpec(f"invalid image reference {text!r}: a bare image id is not a name")
        rest, at, digest = text.partition("@")
        if at and not is_digest(digest):
            raise _bad(text, "its digest must be sha256: and 64 hexadecimal digits")
        name, tag = _split_tag(rest)
        if tag is not None and not _TAG.fullmatch(tag):
            raise _bad(text, "its tag must be 1 to 128 letters, digits, '_', '.' and '-'")
        domain, path = _split_domain(name)
        if not _DOMAIN.fullmatch(domain) or not _valid_port(domain):
            raise _bad(text, f"{domain!r} is not a registry's HOST[:PORT]")
        if not _PATH.fullmatch(path):
            raise _bad(text, _why_bad_path(path))
        if len(f"{domain}/{path}") > _MAX_NAME:
            raise _bad(text[:40] + "...", f"its name is longer than {_MAX_NAME} characters")
        return cls(domain, path, tag or ("" if digest else DEFAULT_TAG), digest)

    @property
    def name(self) -> str:
        """As Docker shows it: without docker.io and library."""
        if self.domain != DEFAULT_DOMAIN:
            return f"{self.domain}/{self.path}"
        return self.path.removeprefix("library/")

    @property
    def tagged(self) -> str:
        """name:tag, or empty without a tag."""
        return f"{self.name}:{self.tag}" if self.tag else ""

    @property
    def target(self) -> str:
        """What a registry is asked for: the digest where there is one, else the tag."""
        return self.digest or self.tag

    @property
    def host(self) -> str:
        """HOST[:PORT] of the registry's API."""
        return "registry-1.docker.io" if self.domain == DEFAULT_DOMAIN else self.domain

    def pinned(self, digest: str) -> str:
        """name@digest."""
        return f"{self.name}@{digest}"

    def with_digest(self, digest: str) -> Reference:
        """The same name and tag, pinned."""
        return replace(self, digest=digest)

    def __str__(self) -> str:
        tag = f":{self.tag}" if self.tag else ""
        digest = f"@{self.digest}" if self.digest else ""
        return f"{self.name}{tag}{digest}"


@functools.lru_cache(maxsize=1024)  # the image of a service's tasks is asked for by each of them
def _parsed(text: str) -> Reference:
    return Reference._parse(text)


def _bad(text: str, why: str) -> InvalidSpec:
    return InvalidSpec(f"invalid image reference {text!r}: {why}")


def _split_tag(rest: str) -> tuple[str, str | None]:
    slash, colon = rest.rfind("/"), rest.rfind(":")
    if colon <= slash:
        return rest, None
    return rest[:colon], rest[colon + 1 :]


def _split_domain(name: str) -> tuple[str, str]:
    first, slash, rest = name.partition("/")
    looks_like_host = "." in first or ":" in first or first == "localhost" or first != first.lower()
    domain, path = (first, rest) if slash and looks_like_host else (DEFAULT_DOMAIN, name)
    if domain == "index.docker.io":
        domain = DEFAULT_DOMAIN
    if domain == DEFAULT_DOMAIN and path and "/" not in path:
        path = f"library/{path}"
    return domain, path


def _valid_port(domain: str) -> bool:
    port = re.search(r":([0-9]+)$", domain)
    return port is None or domain.endswith("]") or decimal(port[1], 1, 65535) is not None


def _why_bad_path(path: str) -> str:
    if path != path.lower():
        return "the name of a repository must be lower case"
    return "expected [HOST[:PORT]/]NAME[:TAG][@DIGEST]"
