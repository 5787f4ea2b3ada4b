"""A context as a tar: meta.json and tls/docker/*.pem, as Docker's command exports its own."""

from __future__ import annotations

import io
import json
import tarfile
from typing import Any

from swarmlite.cli.context.endpoint import check
from swarmlite.client.contexts import PEM_FILES, Context, from_document
from swarmlite.errors import InvalidSpec

MAX_BYTES = 10 << 20
_META, _TLS = "meta.json", "tls/docker/"


def packed(context: Context) -> bytes:
    """The tar."""
    endpoint = {
        "Host": context.host,
        "SkipTLSVerify": context.skip_verify,
        "InClear": context.in_clear,
    }
    meta = {
        "Name": context.name,
        "Metadata": {"Description": context.description} if context.description else {},
        "Endpoints": {"docker": endpoint},
    }
    output = io.BytesIO()
    with tarfile.open(fileobj=output, mode="w") as tar:
        _add(tar, _META, json.dumps(meta).encode())
        for each, data in sorted(context.pem.items()):
            _add(tar, f"{_TLS}{each}.pem", data)
    return output.getvalue()


def _add(tar: tarfile.TarFile, name: str, data: bytes) -> None:
    info = tarfile.TarInfo(name)
    info.size, info.mode = len(data), 0o600
    tar.addfile(info, io.BytesIO(data))


def unpacked(data: bytes, name: str) -> Context:
    """The context, under the name that it gets here. Raises InvalidSpec."""
    if len(data) > MAX_BYTES:
        raise InvalidSpec(f"the archive has more than {MAX_BYTES} bytes: not a context's")
    members = _members(data)
    try:
        meta = json.loads(members[_META])
        endpoint = meta["Endpoints"]["docker"]
        document: dict[str, Any] = {
            "name": name,
            "description": (meta.get("Metadata") or {}).get("Description", ""),
            "host": endpoint["Host"],
            "skip_tls_verify": endpoint.get("SkipTLSVerify", False),
            "in_clear": endpoint.get("InClear", False),
        }
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise InvalidSpec(
            f"the archive is no context's: {_META} must name Endpoints.docker.Host"
        ) from error
    files = {each: members.get(f"{_TLS}{each}.pem", b"") for each in PEM_FILES}
    made = from_document(document, {k: v for k, v in files.items() if v}, "the archive")
    check(made)
    return made


def _members(data: bytes) -> dict[str, bytes]:
    """Regular files by name: nothing is written where the archive says."""
    found = {}
    try:
        with tarfile.open(fileobj=io.BytesIO(data), mode="r:") as tar:
            for member in tar:
                if member.isreg() and (content := tar.extractfile(member)) is not None:
                    found[member.name] = content.read()
    except (tarfile.TarError, EOFError) as error:
        raise InvalidSpec(f"not a tar archive: {error}") from error
    return found
