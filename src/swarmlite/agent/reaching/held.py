"""What images and volumes this node holds, for who comes by a manager: also those of no task.

Labels and options stay here: a volume's may have the password of a share.
"""

from __future__ import annotations

from typing import Any

from swarmlite.engine.api.images import ImagesService
from swarmlite.engine.api.volumes import VolumesService
from swarmlite.proto.control_pb2 import ListRequest
from swarmlite.proto.images_pb2 import ListImagesResponse, LocalImage
from swarmlite.proto.volumes_pb2 import ListVolumesResponse, LocalVolume

Context = Any  # grpc.aio.ServicerContext, which has no types


class HeldImages(ImagesService):
    """See images.proto."""

    async def List(self, request: ListRequest, context: Context) -> ListImagesResponse:
        """All of them: names, times, sizes, and how many containers each has."""
        found = await super().List(ListRequest(), context)
        return ListImagesResponse(images=[_named(image) for image in found.images])


class HeldVolumes(VolumesService):
    """See volumes.proto."""

    async def List(self, request: ListRequest, context: Context) -> ListVolumesResponse:
        """All of them: names, drivers, times, and which containers use each."""
        found = await super().List(ListRequest(), context)
        return ListVolumesResponse(volumes=[
            LocalVolume(name=each.name, driver=each.driver, created=each.created,
                        anonymous=each.anonymous, used_by=each.used_by)
            for each in found.volumes
        ])  # fmt: skip


def _named(image: LocalImage) -> LocalImage:
    return LocalImage(
        id=image.id, repo_tags=image.repo_tags, repo_digests=image.repo_digests,
        created=image.created, size_bytes=image.size_bytes, containers=image.containers,
    )  # fmt: skip
