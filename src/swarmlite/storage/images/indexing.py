"""Images of several platforms under one name: an index, as registries have it.

One of them is this host's image; of the others it keeps the blobs, as of an image that was pulled
for all platforms.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from contextlib import ExitStack

from swarmlite.storage.images.catalog import Catalog
from swarmlite.storage.images.flight import in_thread
from swarmlite.storage.images.manifest import OCI_INDEX, digest_of, media_type_of
from swarmlite.storage.images.platforms import of_config


async def bind(
    catalog: Catalog,
    ids: Sequence[str],
    tags: Sequence[str],
    annotations: Mapping[str, str] | None = None,
) -> bytes:
    """An index of images that the caller holds; the first has it and the names from then on.

    The index's bytes. Raises FailedPrecondition, ResourceExhausted.
    """
    entries = [catalog.index.entries[image_id] for image_id in ids]
    manifests = []
    for entry in entries:
        data = await in_thread(catalog.content.read, entry.manifest, catalog.limits.manifest_bytes)
        platform = of_config(entry.config)
        said = {"architecture": platform.architecture, "os": platform.os}
        if platform.variant:
            said["variant"] = platform.variant
        manifests.append(
            {
                "mediaType": media_type_of(data),
                "digest": entry.manifest,
                "size": len(data),
                "platform": said,
            }
        )
    document = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": manifests}
    if annotations:
        document["annotations"] = dict(annotations)
    raw = json.dumps(document, separators=(",", ":")).encode()
    blobs = [digest_of(raw), *(blob for entry in entries for blob in entry.blobs)]
    with catalog.holding(blobs):
        await in_thread(catalog.keep, [raw])
        main = entries[0]
        main.index, main.blobs = digest_of(raw), list(dict.fromkeys([*main.blobs, *blobs]))
        undo = ExitStack()
        for tag in tags:
            catalog.index.add(main, tag=tag, undo=undo)
        await catalog.save(undo)
    return raw
