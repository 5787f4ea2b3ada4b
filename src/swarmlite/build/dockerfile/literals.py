"""Values that are written out, judged as soon as they are read: so all that are wrong come at once.

What has variables, quotes or escapes in it is judged by its step, once it is known.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from swarmlite.build.dockerfile.instructions import Copy, From, Instruction, Words
from swarmlite.build.dockerfile.problems import Wrong
from swarmlite.errors import InvalidSpec
from swarmlite.model.signals import signal_number

_PLAIN = re.compile(r"[^\s$\"'\\`]+")
_DIGEST = re.compile(r"sha(256|384|512):[0-9a-f]+")
_PORT = re.compile(r"(\d{1,5})(?:-(\d{1,5}))?(?:/(tcp|udp|sctp))?")
CLAUSE = re.compile(r"([ugoa]*)((?:[-+=](?:[rwxXst]*|[ugo]))+)")
"""Of a symbolic mode."""


@dataclass(frozen=True)
class Ports:
    """A range of them."""

    first: int
    last: int
    protocol: str


def check(step: Instruction) -> None:
    """Raises Wrong."""
    if isinstance(step, Words) and step.kind == "EXPOSE":
        for word in filter(_PLAIN.fullmatch, step.words):
            ports(word)
    elif isinstance(step, Words) and step.kind == "STOPSIGNAL":
        for word in filter(_PLAIN.fullmatch, step.words):
            signal(word)
    elif isinstance(step, Copy):
        if _PLAIN.fullmatch(step.chmod):
            mode(step.chmod)
        if _PLAIN.fullmatch(step.checksum):
            _checksum(step)
    elif isinstance(step, From) and _PLAIN.fullmatch(step.platform):
        platform(step.platform)


def ports(word: str) -> Ports:
    """PORT[-PORT][/PROTOCOL] of EXPOSE. Raises Wrong."""
    match = _PORT.fullmatch(word.lower())
    if match is None:
        raise Wrong(f"EXPOSE {word[:40]}: expected PORT[-PORT][/tcp|udp|sctp]")
    first, last = int(match.group(1)), int(match.group(2) or match.group(1))
    if not 0 < first <= last < 65536:
        raise Wrong(f"EXPOSE {word[:40]}: ports are from 1 to 65535")
    return Ports(first, last, match.group(3) or "tcp")


def signal(word: str) -> None:
    """Of STOPSIGNAL. Raises Wrong."""
    try:
        signal_number(word)
    except InvalidSpec as error:
        raise Wrong(f"STOPSIGNAL {word[:40]}: {error}") from error


def mode(text: str) -> int | None:
    """Of --chmod: the number; None of a symbolic one, as chmod(1) takes it. Raises Wrong."""
    if text and set(text) <= set("01234567"):
        number = int(text, 8)
        if number > 0o7777:
            raise Wrong(f"--chmod={text[:20]}: expected octal digits up to 7777")
        return number
    if not all(CLAUSE.fullmatch(clause) for clause in text.split(",")):
        raise Wrong(f"--chmod={text[:40]}: expected octal digits, or such as u=rwX,go=rX")
    return None


def platform(text: str) -> list[str]:
    """The parts of OS[/ARCHITECTURE[/VARIANT]], or an architecture alone. Raises Wrong."""
    parts = text.split("/")
    if len(parts) > 3 or not all(parts):
        raise Wrong(f"--platform={text[:40]}: expected such as linux/amd64")
    return parts


def _checksum(step: Copy) -> None:
    """That of a file is a digest; that of a repository is a commit."""
    remote = [source for source in step.sources if source.startswith(("http://", "https://"))]
    if (
        remote
        and not any(".git" in source for source in remote)
        and not _DIGEST.fullmatch(step.checksum)
    ):
        raise Wrong(f"--checksum={step.checksum[:80]}: expected sha256: and 64 digits")
