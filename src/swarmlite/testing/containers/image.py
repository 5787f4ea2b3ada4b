"""The image of the hosts: deploy/Dockerfile, built by the engine that will run them.

Its tag has a digest of what it is built of, so that it is built once, and again when swarmlite has
changed. What it is built of comes from the clone, or from what pip installed of it.
"""

from __future__ import annotations

import hashlib
import io
import os
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import swarmlite
from swarmlite.errors import FailedPrecondition

DOCKERFILE = "deploy/Dockerfile"
FILES = (
    DOCKERFILE,
    "deploy/node-entrypoint.sh",
    "pyproject.toml",
    "requirements.lock",
    "README.md",
)
TAIL_LINES = 30
BUILD_TIMEOUT_S = 1800


def ensure(client: Any, *, base: str = "", wheels: Path | None = None) -> str:
    """The image's name; it is built where the engine lacks it. Raises FailedPrecondition.

    `base` is the Debian image below it, as the engine knows it. With a folder of `wheels` pip
    fetches nothing. Both may come from the environment: SWARMLITE_NODE_BASE, SWARMLITE_NODE_WHEELS;
    and SWARMLITE_NODE_IMAGE names a finished image instead.
    """
    import docker.errors

    if named := os.environ.get("SWARMLITE_NODE_IMAGE"):
        return named
    base = base or os.environ.get("SWARMLITE_NODE_BASE", "")
    folder = str(wheels or os.environ.get("SWARMLITE_NODE_WHEELS", ""))
    context = build_context(Path(folder) if folder else None)
    digest = hashlib.sha256(base.encode() + context).hexdigest()[:12]
    name = f"swarmlite-node:{swarmlite.__version__}-{digest}"
    try:
        client.images.get(name)
    except docker.errors.ImageNotFound:
        arguments = {
            **({"BASE": base} if base else {}),
            **({"PIP_NO_INDEX": "1"} if folder else {}),
        }
        _build(client, name, context, arguments)
    return name


def build_context(wheels: Path | None = None) -> bytes:
    """A tar of all that the Dockerfile takes; the same for the same files."""
    source = _source()
    package = Path(swarmlite.__file__).parent
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.GNU_FORMAT) as archive:
        for name in FILES:
            archive.add(source / name, name, filter=_plain)
        for path in _files(package):
            archive.add(path, f"src/swarmlite/{path.relative_to(package)}", filter=_plain)
        for path in sorted(wheels.glob("*.whl")) if wheels else ():
            archive.add(path, f"wheels/{path.name}", filter=_plain)
    return buffer.getvalue()


def _source() -> Path:
    clone = Path(swarmlite.__file__).resolve().parents[2]
    for folder in (clone, Path(sys.prefix) / "share" / "swarmlite"):
        if (folder / DOCKERFILE).is_file():
            return folder
    raise FailedPrecondition(
        f"there is no {DOCKERFILE} in {clone} or {folder}: build the hosts' image from a clone, and"
        " name it by SWARMLITE_NODE_IMAGE"
    )


def _files(package: Path) -> Iterator[Path]:
    for path in sorted(package.rglob("*")):
        if path.is_file() and "__pycache__" not in path.parts:
            yield path


def _plain(member: tarfile.TarInfo) -> tarfile.TarInfo:
    member.mtime = member.uid = member.gid = 0
    member.uname = member.gname = ""
    return member


def _build(client: Any, name: str, context: bytes, arguments: dict[str, str]) -> None:
    said: list[str] = []
    lines = client.api.build(
        fileobj=io.BytesIO(context),
        custom_context=True,
        dockerfile=DOCKERFILE,
        tag=name,
        buildargs=arguments,
        rm=True,
        decode=True,
        timeout=BUILD_TIMEOUT_S,
    )
    for line in lines:
        said.append(line.get("stream", ""))
        if "error" in line:
            tail = "".join(said).splitlines()[-TAIL_LINES:]
            raise FailedPrecondition(
                f"{DOCKERFILE} could not be built: {line['error']}\n" + "\n".join(tail)
            )
