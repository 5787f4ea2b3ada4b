"""The small checks that every object's rules are made of. Each takes `where`, for its error."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Iterable, Mapping
from functools import wraps
from pathlib import PurePosixPath
from typing import ParamSpec

from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message

from swarmlite.errors import InvalidSpec
from swarmlite.model import templates
from swarmlite.model.numerals import decimal
from swarmlite.model.wording import one_line
from swarmlite.proto.types_pb2 import Annotations

MAX_LABEL_NAME = 1024
MAX_LABELS_BYTES = 256 * 1024
"""Of all labels of an object: beside a config's data they still fit into the store."""
MAX_SPEC_BYTES = 600 * 1024
"""Of a spec: the store takes 1.4 MB, and a service has the spec before it with it."""
MAX_USER = 256
MAX_DURATION_S = 10 * 365 * 24 * 3600
P = ParamSpec("P")
_DNS_LABEL = re.compile(r"[A-Za-z0-9](?:[-_]*[A-Za-z0-9]+)*")
_OBJECT_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")
_PAYLOAD_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9_.-]*[A-Za-z0-9])?")
_USER = re.compile(r"[A-Za-z0-9_.\-$]+(:[A-Za-z0-9_.\-$]+)?")
_HOST_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9_-]*[A-Za-z0-9])?(?:\.[A-Za-z0-9_-]+)*")


def in_one_line(validate: Callable[P, None]) -> Callable[P, None]:
    """The rules of an object, whose errors may name anything that stands in its spec."""

    @wraps(validate)
    def checked(*args: P.args, **kwargs: P.kwargs) -> None:
        try:
            validate(*args, **kwargs)
        except InvalidSpec as error:
            raise InvalidSpec(one_line(str(error))) from error

    return checked


def text(where: str, value: str, *, lines: bool = False) -> None:
    """No NUL, and no line breaks unless `lines`."""
    if "\0" in value:
        raise InvalidSpec(f"{where}: contains a NUL character")
    if not lines and ("\n" in value or "\r" in value):
        raise InvalidSpec(f"{where}: contains a line break")


def dns_name(where: str, value: str) -> None:
    """At most 63 letters, digits, - and _, with a letter or digit at either end."""
    if not value:
        raise InvalidSpec(f"{where}: must be provided")
    if len(value) > 63:
        raise InvalidSpec(f"{where}: {value[:20]!r}... has {len(value)} characters, 63 at most")
    if not value.isascii() or not _DNS_LABEL.fullmatch(value):
        raise InvalidSpec(
            f"{where}: {value!r} must be a valid DNS label: letters, digits, - and _,"
            " a letter or digit first and last"
        )


def object_name(where: str, value: str, longest: int = 63) -> None:
    """A name of letters, digits, - _ and . that begins with a letter or digit."""
    if not value:
        raise InvalidSpec(f"{where}: must be provided")
    if len(value) > longest:
        raise InvalidSpec(
            f"{where}: {value[:20]!r}... has {len(value)} characters, {longest} at most"
        )
    if not value.isascii() or not _OBJECT_NAME.fullmatch(value):
        raise InvalidSpec(
            f"{where}: {value!r} may have letters, digits, -, _ and dots, a letter or digit first"
        )


def payload_name(where: str, value: str, longest: int) -> None:
    """The name of a secret or config: as object_name, dots as they come, a letter or digit last."""
    if not value:
        raise InvalidSpec(f"{where}: must be provided")
    if len(value) > longest or not value.isascii() or not _PAYLOAD_NAME.fullmatch(value):
        raise InvalidSpec(
            f"{where}: {value[:70]!r}: expected {longest} letters, digits, -, _ and dots at most,"
            " a letter or digit first and last"
        )


def host_name(where: str, value: str, longest: int = 253) -> None:
    """A host's name, dots allowed; each part of at most 63 characters."""
    parts = value.split(".")
    if (
        len(value) > longest
        or max(map(len, parts)) > 63
        or not value.isascii()
        or not _HOST_NAME.fullmatch(value)
    ):
        raise InvalidSpec(f"{where}: {value[:70]!r} is not a host name")


def user(where: str, value: str) -> None:
    """Who a process runs as: a spec's, or an image's."""
    if len(value) > MAX_USER or not _USER.fullmatch(value):
        raise InvalidSpec(f"{where} {value[:60]!r}: expected NAME, UID, or either with :GROUP")


def group(where: str, value: str) -> None:
    """A group's name or number."""
    if len(value) > MAX_USER or not _USER.fullmatch(value) or ":" in value:
        raise InvalidSpec(f"{where} {value[:60]!r}: expected a name or a number")


def labels(where: str, values: Mapping[str, str]) -> None:
    """Names of printable characters without =, values without NUL."""
    for key, value in values.items():
        if not key or len(key) > MAX_LABEL_NAME or not key.isprintable() or "=" in key:
            raise InvalidSpec(f"{where}: label {key[:40]!r} needs a printable name without =")
        text(f"{where}: label {key}", value, lines=True)


def object_labels(what: str, value: Annotations) -> None:
    """The labels of an object of kind `what`; its name has rules of its own."""
    size(f"{what} {value.name[:63]}".strip(), value, MAX_LABELS_BYTES, "name and labels")
    labels(f"{what} {value.name}".strip(), value.labels)


def path(where: str, value: str) -> None:
    """An absolute path without `..`."""
    text(where, value)
    if not value.startswith("/"):
        raise InvalidSpec(f"{where}: {value!r} must be an absolute path")
    if ".." in PurePosixPath(value).parts:
        raise InvalidSpec(f"{where}: {value!r} must not contain ..")


def duration(where: str, value: Duration) -> None:
    """Not negative, and ten years at most."""
    if value.seconds < 0 or value.nanos < 0:
        raise InvalidSpec(f"{where}: must not be negative")
    if value.seconds > MAX_DURATION_S or value.nanos >= 1_000_000_000:
        raise InvalidSpec(f"{where}: out of range, ten years at most")


def between(where: str, value: float, low: float, high: float) -> None:
    """A number within two bounds, both included; not a number is outside."""
    if not low <= value <= high:
        raise InvalidSpec(f"{where}: {value} is out of range, expected {low} to {high}")


def address(where: str, value: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    """An IP address."""
    try:
        return ipaddress.ip_address(value)
    except ValueError as error:
        raise InvalidSpec(f"{where}: {value[:60]!r} is not an IP address") from error


def size(where: str, message: Message, limit: int, unit: str = "spec") -> None:
    """A message of `limit` bytes at most, as the store counts them."""
    length = message.ByteSize()
    if length > limit:
        raise InvalidSpec(f"{where}: its {unit} has {length} bytes, {limit} at most")


def host_port(where: str, value: str) -> str:
    """Where another node reaches this one: the address and port of one host, in their usual form.

    Raises InvalidSpec for anything that is not IP:PORT, and for addresses that are not a host's.
    """
    host, _, port = value[:80].rpartition(":")
    number = decimal(port, 1, 65535)
    try:
        parsed = ipaddress.ip_address(host.strip("[]"))
    except ValueError:
        number = None
    if number is None or parsed.is_unspecified or parsed.is_multicast or "%" in host:
        raise InvalidSpec(f"{where}: {value[:60]!r}: expected IP:PORT of one host")
    return f"[{parsed}]:{number}" if parsed.version == 6 else f"{parsed}:{number}"


def unique(where: str, values: Iterable[str]) -> None:
    """No value twice."""
    seen: set[str] = set()
    for value in values:
        if value in seen:
            raise InvalidSpec(f"{where}: {value} is specified twice")
        seen.add(value)


def member(where: str, number: int, enum: object) -> None:
    """A number that the enum knows."""
    if number not in enum.values():  # type: ignore[attr-defined]  # EnumTypeWrapper has no common type
        raise InvalidSpec(f"{where}: {number} is not a known value")


def template(where: str, value: str) -> None:
    """Text in which templates may stand."""
    try:
        templates.check(value)
    except InvalidSpec as error:
        raise InvalidSpec(f"{where}: {error}") from error
