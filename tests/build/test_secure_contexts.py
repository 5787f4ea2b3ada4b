"""Contexts by https and by ssh, from servers that the client's settings trust, and no others."""

from __future__ import annotations

import io
import os
import shutil
import socket
import ssl
import subprocess
import tarfile
import threading
import time
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from swarmlite.build.context.sources import Sources
from swarmlite.errors import Unavailable
from swarmlite.testing.registry import make_certificates

needs_git = pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed")
SSHD = Path("/usr/sbin/sshd")
# It wants a folder of its own below /run and a user, in a mount namespace that ends with it.
START_SSHD = """
mount -t tmpfs tmpfs /run && mkdir /run/sshd
cp /etc/passwd {folder}/passwd
grep -q '^sshd:' {folder}/passwd || echo 'sshd:x:105:65534::/run/sshd:/bin/false' >>{folder}/passwd
mount --bind {folder}/passwd /etc/passwd
exec {sshd} -D -e -f {folder}/sshd_config
"""
WAITS = 600


def dockerfile_of(address: str) -> bytes:
    """What is read of a context that is elsewhere."""
    with Sources(io.BytesIO(), lambda _: None) as sources:
        source = sources.main(address, "")
        list(source.chunks)
        return source.inline or source.dockerfile.encode()


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A bare one with a Dockerfile, that a plain web server can give too."""
    work, bare = tmp_path / "work", tmp_path / "served" / "app.git"
    work.mkdir()
    (work / "Dockerfile").write_text("FROM scratch\n")
    for words in (
        ("init", "-q", "-b", "main"),
        ("add", "."),
        ("-c", "user.name=a", "-c", "user.email=a@b", "commit", "-q", "-m", "one"),
        ("clone", "-q", "--bare", str(work), str(bare)),
    ):
        subprocess.run(["git", *words], cwd=work, check=True, capture_output=True)
    subprocess.run(["git", "update-server-info"], cwd=bare, check=True)
    return bare


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        return


@pytest.fixture
def web(tmp_path: Path) -> Iterator[tuple[str, Path]]:
    """An https server of `served`, and the CA that it is known by."""
    served = tmp_path / "served"
    served.mkdir(exist_ok=True)
    (tmp_path / "Dockerfile").write_text("FROM scratch\n")
    with tarfile.open(served / "context.tar.gz", "w:gz") as tar:
        tar.add(tmp_path / "Dockerfile", "Dockerfile")
    ca, shown, key = (tmp_path / name for name in ("ca.crt", "site.crt", "site.key"))
    make_certificates("127.0.0.1", ca, shown, key)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(shown, key)
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(served))) as server:
        server.socket = context.wrap_socket(server.socket, server_side=True)
        serving = threading.Thread(target=server.serve_forever, daemon=True)
        serving.start()
        yield f"https://127.0.0.1:{server.server_port}", ca
        server.shutdown()
        serving.join()


def test_a_tar_comes_by_https_from_who_is_trusted(
    web: tuple[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    address, ca = web
    with pytest.raises(Unavailable, match=r"cannot be fetched: .*CERTIFICATE_VERIFY_FAILED"):
        dockerfile_of(f"{address}/context.tar.gz")
    monkeypatch.setenv("SSL_CERT_FILE", str(ca))
    assert dockerfile_of(f"{address}/context.tar.gz") == b"Dockerfile"


@needs_git
def test_a_repository_comes_by_https_from_who_is_trusted(
    repository: Path, web: tuple[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """By git's own settings, as typed beside any other git."""
    address, ca = web
    with pytest.raises(Unavailable, match=r"git fetch failed: .*certificate"):
        dockerfile_of(f"{address}/{repository.name}")
    monkeypatch.setenv("GIT_SSL_CAINFO", str(ca))
    assert dockerfile_of(f"{address}/{repository.name}#main")


@pytest.fixture
def sshd(tmp_path: Path) -> Iterator[tuple[int, Path]]:
    """The port of a server on loopback, and a key that it lets in."""
    if os.geteuid() != 0 or not SSHD.exists() or shutil.which("ssh") is None:
        pytest.skip("needs root, openssh-server and openssh-client")
    for name in ("host", "user"):
        words = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(tmp_path / name)]
        subprocess.run(words, check=True, capture_output=True)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    (tmp_path / "sshd_config").write_text(
        f"Port {port}\nListenAddress 127.0.0.1\nHostKey {tmp_path}/host\nUsePAM no\nPidFile none\n"
        f"AuthorizedKeysFile {tmp_path}/user.pub\nStrictModes no\nPermitRootLogin yes\n"
    )
    script = START_SSHD.format(folder=tmp_path, sshd=SSHD)
    command = ["unshare", "--mount", "--propagation", "private", "sh", "-ec", script]
    log = (tmp_path / "sshd.log").open("wb")
    server = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
    try:
        for _ in range(WAITS):
            with socket.socket() as client:
                if server.poll() is not None or client.connect_ex(("127.0.0.1", port)) == 0:
                    break
            time.sleep(0.05)
        if server.poll() is not None:
            pytest.skip(f"sshd does not start: {(tmp_path / 'sshd.log').read_text()[-300:]}")
        yield port, tmp_path / "user"
    finally:
        server.kill()
        server.wait()
        log.close()


@needs_git
def test_a_repository_comes_by_ssh(
    repository: Path, sshd: tuple[int, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the keys of who types; a server that is not known is refused, and nobody is asked."""
    port, key = sshd
    address = f"ssh://root@127.0.0.1:{port}{repository}"
    ssh = f"ssh -F none -i {key} -o IdentityAgent=none -o UserKnownHostsFile={key}.known"
    monkeypatch.setenv("GIT_SSH_COMMAND", f"{ssh} -o StrictHostKeyChecking=yes")
    with pytest.raises(Unavailable, match="git fetch failed"):
        dockerfile_of(address)
    monkeypatch.setenv("GIT_SSH_COMMAND", f"{ssh} -o StrictHostKeyChecking=accept-new")
    assert dockerfile_of(f"{address}#main")
