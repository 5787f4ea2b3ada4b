"""Where a node keeps what: the one place that knows the layout of its two directories.

Both are movable (`--state-dir`, `--run-dir`, or SWARMLITE_STATE_DIR and SWARMLITE_RUN_DIR), so that
several hosts fit on one machine. The state survives a reboot; the run directory does not.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

DEFAULT_STATE_DIR = "/var/lib/swarmlite"
DEFAULT_RUN_DIR = "/run/swarmlite"


@dataclass(frozen=True)
class Paths:
    """The files and folders of one node; all are 0700 and root's."""

    state_dir: Path
    run_dir: Path

    @classmethod
    def from_environment(cls) -> Paths:
        """The directories that the environment names, else the defaults."""
        return cls(
            Path(os.environ.get("SWARMLITE_STATE_DIR", DEFAULT_STATE_DIR)),
            Path(os.environ.get("SWARMLITE_RUN_DIR", DEFAULT_RUN_DIR)),
        )

    # sockets
    @property
    def daemon_socket(self) -> Path:
        """swarmlited: JSON lines; init, join, leave, status."""
        return self.run_dir / "swarmlited.sock"

    @property
    def agent_socket(self) -> Path:
        """The agent: gRPC service Engine, always there."""
        return self.run_dir / "agent.sock"

    @property
    def attach_socket(self) -> Path:
        """The agent: hands out descriptors of containers (engine/io/handing.py)."""
        return self.run_dir / "attach.sock"

    @property
    def manager_socket(self) -> Path:
        """The manager: gRPC services Control and so on, on managers only."""
        return self.run_dir / "manager.sock"

    @property
    def supervisor_socket(self) -> Path:
        """swarmlite-supervisor."""
        return self.run_dir / "supervisor.sock"

    @property
    def docker_socket(self) -> Path:
        """The gateway: Docker's API over HTTP; 0660 and of the group swarmlite."""
        return self.run_dir / "docker.sock"

    @property
    def netns_dir(self) -> Path:
        """Network namespaces of sandboxes and overlay networks, bound to files."""
        return self.run_dir / "netns"

    @property
    def bundles_dir(self) -> Path:
        """A tmpfs of the engine's: one folder a container that runs."""
        return self.run_dir / "bundles"

    # state
    @property
    def node_file(self) -> Path:
        """node.json: who this node is in which cluster; absent outside of a swarm."""
        return self.state_dir / "node.json"

    @property
    def certificates_dir(self) -> Path:
        """ca.crt, node.crt, node.key; on managers etcd uses them too."""
        return self.state_dir / "certificates"

    @property
    def etcd_dir(self) -> Path:
        """The data directory of the embedded etcd member."""
        return self.state_dir / "etcd"

    @property
    def manager_dir(self) -> Path:
        """What a manager keeps outside of etcd."""
        return self.state_dir / "manager"

    @property
    def external_etcd_dir(self) -> Path:
        """ca.crt, node.crt, node.key for an etcd that is not the managers' own."""
        return self.manager_dir / "etcd"

    @property
    def store_keys_file(self) -> Path:
        """The keys that open what lies sealed in etcd; to be kept apart from its backups."""
        return self.manager_dir / "store.keys"

    @property
    def locked_keys_file(self) -> Path:
        """With autolock: this manager's keys, sealed by the unlock key; see identity.lock."""
        return self.manager_dir / "locked.keys"

    @property
    def unlocked_dir(self) -> Path:
        """With autolock: the keys while the manager is unlocked, on a tmpfs of their own."""
        return self.run_dir / "unlocked"

    @property
    def agent_dir(self) -> Path:
        """The agent's tasks on disk."""
        return self.state_dir / "agent"

    @property
    def images_dir(self) -> Path:
        """Blobs, unpacked layers and the index of images."""
        return self.state_dir / "images"

    @property
    def containers_dir(self) -> Path:
        """One folder a container: its record and logs."""
        return self.state_dir / "containers"

    @property
    def snapshots_dir(self) -> Path:
        """One folder a container's file system: upper and work, or a whole tree."""
        return self.state_dir / "snapshots"

    @property
    def leases_file(self) -> Path:
        """Who needs which images, volumes and blobs."""
        return self.state_dir / "leases"

    @property
    def volumes_dir(self) -> Path:
        """One folder a volume, its data in _data."""
        return self.state_dir / "volumes"

    @property
    def networks_dir(self) -> Path:
        """The networks of this host: a file each."""
        return self.state_dir / "networks"

    @property
    def logs_dir(self) -> Path:
        """What the node's own processes write: agent.log, manager.log, etcd.log."""
        return self.state_dir / "logs"
