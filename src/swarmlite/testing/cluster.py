"""A cluster of hosts on one machine, with its faults."""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType

from swarmlite.storage import trees

from . import cgroup_sweep, diagnostics, leftovers
from .host import Host
from .namespaces import Lan
from .swarm import Swarm


class Cluster(Swarm[Host]):
    """Hosts with a swarm on them: `with Cluster(managers=1, workers=2) as cluster: ...`.

    On leaving through an exception, what a person would ask first is collected into
    `diagnostics_dir`.
    """

    def __init__(
        self,
        managers: int = 1,
        workers: int = 2,
        *,
        name: str | None = None,
        swarm: bool = True,
        init_options: Sequence[str] = (),
        daemon_options: Sequence[str] = (),
        outlive: bool = False,
        root: Path | None = None,
    ) -> None:
        """Nothing is made before `up`. `swarm=False` leaves the hosts without a swarm."""
        super().__init__(init_options)
        self.name = name or f"t{os.getpid()}"
        self.swarm = swarm
        self.cgroup_parent = f"/swarmlite-{self.name}"
        self.diagnostics_dir = Path(tempfile.gettempdir()) / f"swarmlite-diagnostics-{self.name}"
        self._counts = (managers, workers)
        self._daemon_options = list(daemon_options)
        self._outlive = outlive
        self._root = root
        self.root = Path()
        self.lan: Lan | None = None

    # life
    def up(self) -> Cluster:
        """Boot every host and join them to one swarm. On failure nothing stays behind."""
        try:
            self._boot()
            if self.swarm:
                self.form_swarm()
        except BaseException:
            self.collect()
            self.down()
            raise
        return self

    def _boot(self) -> None:
        leftovers.sweep()
        self.root = self._root or Path(tempfile.mkdtemp(prefix=f"{leftovers.PREFIX}{self.name}-"))
        if self._root is None:
            leftovers.claim(self.root, self.cgroup_parent)
        self.lan = Lan(self.name, outlive=self._outlive)
        managers, workers = self._counts
        for number in range(managers + workers):
            role, index = (
                ("manager", number + 1) if number < managers else ("worker", number - managers + 1)
            )
            host = Host(
                f"{role}{index}",
                self.lan,
                self.root,
                self.cgroup_parent,
                daemon_options=self._daemon_options,
                outlive=self._outlive,
            )
            (self.managers if role == "manager" else self.workers).append(host)
            host.boot(wait=False)  # all at once: no host waits for another here
        for host in self.hosts:
            host.wait_daemon()

    def add(self, role: str) -> Host:
        """One more host, "manager" or "worker", booted, joined and Ready."""
        of_role = self.managers if role == "manager" else self.workers
        taken = {host.name for host in self.hosts}
        number = next(n for n in range(1, len(taken) + 2) if f"{role}{n}" not in taken)
        host = self.booted(f"{role}{number}")
        of_role.append(host)
        self.join(host)
        self.wait(lambda: f"{host.name} Ready" in self._states(), 60, f"{host.name} to be Ready")
        return host

    def booted(self, name: str) -> Host:
        """One more host, in no swarm yet, nor one of `hosts`: the caller adds it."""
        assert self.lan is not None
        host = Host(
            name,
            self.lan,
            self.root,
            self.cgroup_parent,
            daemon_options=self._daemon_options,
            outlive=self._outlive,
        )
        host.boot()
        return host

    def down(self) -> None:
        """Kill every host and remove all that was made. Safe to repeat."""
        for host in self.hosts:
            host.kill()
        if self.lan is not None:
            self.lan.close()
            self.lan = None
        cgroup_sweep.remove(self.cgroup_parent)
        if self._root is None and self.root != Path():
            trees.sweep(self.root)
        self.managers, self.workers = [], []

    def __enter__(self) -> Cluster:
        return self.up()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if error is not None:
            self.collect()
        self.down()

    # faults
    def cut(self, a: Host, b: Host, *, one_way: bool = False) -> None:
        """Drop what `a` sends to `b`, and, unless `one_way`, the reverse."""
        self._drop(a, b, "drop")
        if not one_way:
            self._drop(b, a, "drop")

    def lose(self, a: Host, b: Host, percent: int) -> None:
        """Lose this share of the packets between `a` and `b`, both ways."""
        for source, target in ((a, b), (b, a)):
            self._drop(source, target, f"numgen random mod 100 < {percent} drop")

    def heal(self) -> None:
        """Undo every cut and loss."""
        self._nft("delete table bridge faults", check=False)

    def isolate(self, host: Host) -> None:
        """Cut a host from all the others."""
        for other in self.hosts:
            if other is not host:
                self.cut(host, other)

    def _drop(self, source: Host, target: Host, verdict: str) -> None:
        # ARP too: a host that was cut off must not look alive to its neighbours.
        self._nft(
            "add table bridge faults\n"
            "add chain bridge faults forward { type filter hook forward priority 0; }\n"
            f"add rule bridge faults forward"
            f" ip saddr {source.addr} ip daddr {target.addr} {verdict}\n"
            f"add rule bridge faults forward"
            f" arp saddr ip {source.addr} arp daddr ip {target.addr} {verdict}\n"
        )

    def _nft(self, script: str, *, check: bool = True) -> None:
        assert self.lan is not None
        done = subprocess.run(
            self.lan.machine.enter(["nft", "-f", "-"]), input=script, capture_output=True, text=True
        )
        if check and done.returncode:
            raise RuntimeError(f"nft: {done.stderr.strip()}")

    def collect(self) -> Path:
        """Write tasks, logs, nft, routes and forwarding tables to `diagnostics_dir`."""
        diagnostics.collect(self.hosts, self.diagnostics_dir)
        return self.diagnostics_dir
