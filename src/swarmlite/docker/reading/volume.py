"""What `POST /volumes/create` is sent."""

from __future__ import annotations

from swarmlite.docker.fields import Fields
from swarmlite.errors import InvalidSpec
from swarmlite.proto.volumes_pb2 import LocalVolume


def volume(sent: Fields) -> LocalVolume:
    """The volume that is asked for. Raises InvalidSpec."""
    if sent.object("ClusterVolumeSpec"):
        raise InvalidSpec("ClusterVolumeSpec: cluster volumes are not supported")
    return LocalVolume(
        name=sent.text("Name"),
        driver=sent.text("Driver"),
        labels=sent.mapping("Labels"),
        options=sent.mapping("DriverOpts"),
    )
