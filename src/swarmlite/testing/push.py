"""Pushes images to a registry (OCI distribution-spec, "Pushing blobs", "Pushing manifests")."""

from __future__ import annotations

import ssl
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path
from typing import BinaryIO

from swarmlite.errors import Unavailable
from swarmlite.storage.images.auth import RegistryAuth
from swarmlite.testing.oci import MANIFEST_TYPE, BuiltImage, BuiltLayer, digest

_TIMEOUT_S = 60


class Pusher:
    """Pushes to the registry at `url`; blobs that are there are not sent again."""

    def __init__(
        self, url: str, *, auth: RegistryAuth | None = None, ca_file: Path | None = None
    ) -> None:
        self._url = url
        self._headers = {"Authorization": auth.basic()} if auth else {}
        context = ssl.create_default_context(cafile=str(ca_file)) if ca_file else None
        if context is not None:
            context.verify_flags &= ~ssl.VERIFY_X509_STRICT  # a registry may have a bare CA
        handlers: list[urllib.request.BaseHandler] = [urllib.request.ProxyHandler({})]
        if context is not None:
            handlers.append(urllib.request.HTTPSHandler(context=context))
        self._opener = urllib.request.build_opener(*handlers)

    def push(self, image: BuiltImage, name: str) -> None:
        """Push under NAME[:TAG]; raises Unavailable."""
        repository, _, tag = name.partition(":")
        for layer in image.layers:
            if not self.has_blob(repository, layer.digest):
                self._push_layer(repository, layer)
        self.push_blob(repository, image.config)
        self.push_manifest(repository, tag or "latest", image.manifest, MANIFEST_TYPE)

    def has_blob(self, repository: str, blob_digest: str) -> bool:
        """Whether the registry has it."""
        try:
            self._send("HEAD", f"{self._url}/v2/{repository}/blobs/{blob_digest}")
        except urllib.error.HTTPError:
            return False
        return True

    def push_blob(self, repository: str, data: bytes) -> None:
        """One blob."""
        self._upload(repository, data, digest(data), len(data))

    def _push_layer(self, repository: str, layer: BuiltLayer) -> None:
        """Of the disk where it lies there: it is not read into memory."""
        if layer.path is None:
            self.push_blob(repository, layer.data)
            return
        with layer.path.open("rb") as file:
            self._upload(repository, file, layer.digest, layer.size)

    def _upload(self, repository: str, data: bytes | BinaryIO, blob_digest: str, size: int) -> None:
        try:
            start = f"{self._url}/v2/{repository}/blobs/uploads/"
            location = self._send("POST", start, b"")["Location"]
            target = urllib.parse.urljoin(start, location)
            target += ("&" if "?" in target else "?") + f"digest={blob_digest}"
            self._send("PUT", target, data, "application/octet-stream", size)
        except urllib.error.URLError as error:
            raise Unavailable(f"pushing to {self._url}/{repository} failed: {error}") from error

    def push_manifest(self, repository: str, tag: str, data: bytes, media_type: str) -> None:
        """A manifest or index under a tag or its digest."""
        try:
            self._send("PUT", f"{self._url}/v2/{repository}/manifests/{tag}", data, media_type)
        except urllib.error.URLError as error:
            raise Unavailable(f"pushing to {self._url}/{repository} failed: {error}") from error

    def _send(
        self,
        method: str,
        url: str,
        data: bytes | BinaryIO | None = None,
        media_type: str = "",
        size: int | None = None,
    ) -> dict[str, str]:
        headers = dict(self._headers)
        if size is not None:
            headers["Content-Length"] = str(size)
        if media_type:
            headers["Content-Type"] = media_type
        request = urllib.request.Request(url, data, headers, method=method)
        with self._opener.open(request, timeout=_TIMEOUT_S) as response:
            return dict(response.headers.items())
