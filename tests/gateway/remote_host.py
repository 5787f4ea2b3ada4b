"""Two hosts: a node that is reached by ssh and by TLS, and the host of a user who types there."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from authority import Authority

from swarmlite.testing import Cluster, Host
from swarmlite.testing import images as debian_images
from swarmlite.testing.registry import Registry

WAIT_S = 240.0
PORT = 2376
SSHD = "/usr/sbin/sshd"
PRIVILEGE_SEPARATION = """
mount -t tmpfs tmpfs /run && mkdir /run/sshd
cp /etc/passwd {folder}/passwd
grep -q '^sshd:' {folder}/passwd || echo 'sshd:x:105:65534::/run/sshd:/bin/false' >>{folder}/passwd
mount --bind {folder}/passwd /etc/passwd
exec {sshd} -D -e -f {folder}/sshd_config
"""


@dataclass(frozen=True)
class Remote:
    """`node` is reached from `desk`, where commands are typed."""

    node: Host
    desk: Host
    folder: Path
    sockets: Path
    """Of ssh's shared connections: pytest's own folders can be too long for a socket's name."""
    image: str
    ours: Authority
    others: Authority

    @property
    def environment(self) -> dict[str, str]:
        """Of the desk: its own contexts, keys and ssh, and no node that is meant."""
        kept = {k: v for k, v in os.environ.items() if not k.startswith("SWARMLITE_")}
        return kept | {
            "PATH": f"{self.folder / 'bin'}:{os.environ['PATH']}",
            "SWARMLITE_CONFIG": str(self.folder / "config"),
            "XDG_RUNTIME_DIR": str(self.sockets),
        }

    def try_cli(
        self, *args: str, stdin: bytes = b"", **more: str
    ) -> subprocess.CompletedProcess[bytes]:
        """`swarmlite ARGS...` at the desk, whatever its status."""
        assert self.desk.machine is not None
        command = self.desk.machine.enter([sys.executable, "-m", "swarmlite.cli", *args])
        return subprocess.run(
            command,
            input=stdin,
            capture_output=True,
            timeout=WAIT_S,
            env=self.environment | more,
            check=False,
        )

    def cli(self, *args: str, stdin: bytes = b"", **more: str) -> str:
        """What it prints; it must succeed."""
        done = self.try_cli(*args, stdin=stdin, **more)
        assert done.returncode == 0, (args, done.stdout[-2000:], done.stderr)
        return done.stdout.decode()

    def endpoint(self, authority: Authority, name: str) -> str:
        """--docker of the node by TLS, for somebody whom `authority` knows."""
        certificate, key = authority.issue(name)
        files = f"ca={self.ours.file},cert={certificate},key={key}"
        return f"host=tcp://{self.node.addr}:{PORT},{files}"


@contextmanager
def remote(folder: Path) -> Iterator[Remote]:
    """The node in no swarm yet, contexts `ssh` and `tcp` that lead to it, busybox on it."""
    if os.geteuid() != 0:
        pytest.skip("needs root: namespaces and mounts")
    if not Path(SSHD).exists() or not shutil.which("ssh"):
        pytest.skip("needs openssh-server and openssh-client")
    ours, others = Authority(folder, "ours"), Authority(folder, "others")
    with Cluster(2, 0, name=f"remote{os.getpid()}", swarm=False) as cluster:
        assert cluster.lan is not None
        node, desk = cluster.hosts
        certificate, key = ours.issue("server", node.addr, server=True)
        node.stop_daemon()
        node.daemon_options += [
            *("--docker-tcp", f"0.0.0.0:{PORT}", "--docker-tls-ca", str(ours.file)),
            *("--docker-tls-cert", str(certificate), "--docker-tls-key", str(key)),
        ]
        node.start_daemon()
        with (
            Registry(cluster.lan.gateway) as registry,
            tempfile.TemporaryDirectory(prefix="swl-ssh-") as sockets,
        ):
            image = registry.push(debian_images.busybox())
            node.cli("pull", image)
            made = Remote(node, desk, folder, Path(sockets), image, ours, others)
            with _sshd(made):
                made.cli("context", "create", "tcp", "--docker", made.endpoint(ours, "user"))
                made.cli("context", "create", "ssh", "--docker", f"host=ssh://root@{node.addr}")
                yield made


@contextmanager
def _sshd(made: Remote) -> Iterator[None]:
    """A server whose only key may run nothing but dial-stdio, and a client that has it."""
    folder, node = made.folder, made.node
    for name in ("host", "user", "stranger"):
        words = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", name]
        subprocess.run([*words, "-f", str(folder / name)], check=True, timeout=WAIT_S)
    run, state = node.paths.run_dir, node.paths.state_dir
    node_s = f"SWARMLITE_RUN_DIR={run} SWARMLITE_STATE_DIR={state}"
    forced = f"{node_s} {sys.executable} -m swarmlite.cli"
    (folder / "authorized_keys").write_text(
        f'restrict,command="{forced} system dial-stdio" ' + (folder / "user.pub").read_text()
    )
    (folder / "sshd_config").write_text(
        f"HostKey {folder}/host\nAuthorizedKeysFile {folder}/authorized_keys\nUsePAM no\n"
        f"StrictModes no\nPasswordAuthentication no\nPidFile none\n"
    )
    key = (folder / "host.pub").read_text()
    (folder / "known_hosts").write_text(f"{node.addr} {key}")
    (folder / "ssh_config").write_text(
        f"IdentityFile {folder}/user\nIdentitiesOnly yes\nBatchMode yes\n"
        f"UserKnownHostsFile {folder}/known_hosts\nGlobalKnownHostsFile /dev/null\n"
    )
    (folder / "bin").mkdir()
    wrapper = folder / "bin" / "ssh"
    wrapper.write_text(f'#!/bin/sh\nexec {shutil.which("ssh")} -F {folder}/ssh_config "$@"\n')
    wrapper.chmod(0o755)
    script = PRIVILEGE_SEPARATION.format(folder=folder, sshd=SSHD)
    assert node.machine is not None
    # In a mount namespace of its own, since what the node has in /run stays the node's.
    command = node.machine.enter(["unshare", "-m", "sh", "-ec", script])
    with (folder / "sshd.log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
    try:
        deadline = time.monotonic() + WAIT_S
        while b"listening on" not in (folder / "sshd.log").read_bytes():
            said = (folder / "sshd.log").read_text()
            assert process.poll() is None and time.monotonic() < deadline, said
            time.sleep(0.02)
        yield
    finally:
        process.terminate()
        process.wait(WAIT_S)
