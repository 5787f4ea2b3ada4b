"""Docker's rules of `cp`: what is copied where, by trailing slashes and by what is there. Pure."""

from __future__ import annotations

import posixpath
import stat
from dataclasses import dataclass

from swarmlite.errors import InvalidSpec

STREAM = "-"


@dataclass(frozen=True)
class Place:
    """One side: a container and a path in it, or a path of this host (container is empty)."""

    container: str
    path: str


@dataclass(frozen=True)
class Target:
    """The directory to unpack in, and the name that the archive's root gets there.

    An empty name: the root's content goes into the directory itself.
    """

    directory: str
    name: str


def parse(text: str) -> Place:
    """CONTAINER:PATH, or a path of this host (absolute, or beginning with a dot, or no colon)."""
    container, colon, path = text.partition(":")
    if not colon or text.startswith(("/", ".")) or not container:
        return Place("", text)
    if not path:
        raise InvalidSpec(f"{text!r}: the path is missing, as in {container}:/path")
    return Place(container, path)


def in_container(path: str) -> str:
    """Absolute (relative ones begin at /), a trailing / or /. kept, since it means something."""
    return keep_ending(posixpath.normpath("/" + path.lstrip("/")), path)


def keep_ending(clean: str, written: str) -> str:
    """A cleaned path with the ending that it was written with."""
    if written == "." or written.endswith("/."):
        return posixpath.join(clean, ".")
    return clean if clean.endswith("/") or not written.endswith("/") else clean + "/"


def only_content(path: str) -> bool:
    """Whether what is inside of a directory is meant, and not the directory."""
    return path == "." or path.endswith("/.")


def says_directory(path: str) -> bool:
    """Whether a path is written as that of a directory."""
    return path.endswith("/") or only_content(path)


def target(source: str, source_mode: int, destination: str, destination_mode: int | None) -> Target:
    """Where the copy goes; modes are st_mode, None for what is not there. Raises InvalidSpec."""
    from_directory = stat.S_ISDIR(source_mode)
    clean = posixpath.normpath(destination)
    if says_directory(source) and not from_directory and not stat.S_ISLNK(source_mode):
        raise InvalidSpec(f"{source}: not a directory")
    if destination_mode is None:
        if says_directory(destination) and not from_directory:
            raise InvalidSpec(f"the destination directory must exist: {destination}")
        return Target(posixpath.dirname(clean) or ".", posixpath.basename(clean))
    if stat.S_ISDIR(destination_mode):
        if from_directory and only_content(source):
            return Target(clean, "")
        return Target(clean, posixpath.basename(posixpath.normpath(source)))
    if says_directory(destination):
        raise InvalidSpec(f"{destination}: not a directory")
    if from_directory:
        raise InvalidSpec(f"cannot copy a directory onto a file: {destination}")
    return Target(posixpath.dirname(clean) or ".", posixpath.basename(clean))


def renamed(name: str, root: str, wanted: str) -> str:
    """A member's path in an archive of `root`, the root called `wanted` ("" drops it).

    Empty for the root itself when that is dropped.
    """
    path = name.strip("/").removeprefix("./").strip("/")
    first, _, below = path.partition("/")
    rest = below if root and first == root else path
    return "/".join(part for part in (wanted, "" if rest == "." else rest) if part)
