"""The storage of one host, as one object: the only one that a process makes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from swarmlite.paths import Paths
from swarmlite.storage import drivers
from swarmlite.storage.images.keeper import ImageKeeper
from swarmlite.storage.images.pruning import Policy
from swarmlite.storage.images.settings import RegistrySettings
from swarmlite.storage.images.store import ImageStore
from swarmlite.storage.images.types import Limits
from swarmlite.storage.leases import PULLS, Leases
from swarmlite.storage.snapshots.copying import CopyingSnapshots
from swarmlite.storage.snapshots.overlay import OverlaySnapshots
from swarmlite.storage.snapshots.types import Snapshots
from swarmlite.storage.volumes.store import VolumeStore


class Storage:
    """Images, snapshots, leases and volumes below a state directory, for one process at a time.

    What a container needs is held before it is looked up: `images.use`, `pull(owner=)`,
    `volumes.create(owner=)`. Whoever owns leases holds again at its start what its own records
    name, and releases owners that it does not know any more (`leases.owners`).
    """

    def __init__(
        self,
        paths: Paths,
        *,
        settings: RegistrySettings | None = None,
        limits: Limits | None = None,
        below: Sequence[Path] = (),
        collect: bool = True,
    ) -> None:
        """`below` are directories that lie below every container's image, lowest last.

        With `collect` false what nobody needs stays until `images.collect`: users come first.
        """
        paths.images_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        driver = drivers.choose(paths.images_dir)
        policy = Policy.from_environment()
        self.leases = Leases(paths.leases_file)
        for owner in self.leases.owners(PULLS):  # of a process that has ended
            self.leases.release(owner)
        self.images = ImageStore(
            paths.images_dir,
            settings=settings,
            limits=limits,
            leases=self.leases,
            collect=False,
            markers=driver == drivers.COPYING,
        )
        self._keeper = ImageKeeper(self.images, policy)
        self.snapshots: Snapshots
        if driver == drivers.COPYING:
            self.snapshots = CopyingSnapshots(paths.snapshots_dir, self.images.layers)
        else:
            self.snapshots = OverlaySnapshots(paths.snapshots_dir, self.images.layers, below)
        if collect:
            self.images.collect()  # now that snapshots say which layers they stand on
        self.volumes = VolumeStore(paths.volumes_dir, leases=self.leases)

    async def run(self) -> None:
        """Keep images within the limits that the node's owner set; ends only by cancellation."""
        await self._keeper.run()

    def close(self) -> None:
        """Give files back; nothing on the disk changes."""
        self.leases.close()
