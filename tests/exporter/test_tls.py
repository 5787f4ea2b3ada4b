"""Figures over TLS, for who shows a certificate of the authority that was named: nobody else."""

from __future__ import annotations

import http.client
import socket
import ssl
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from swarmlite.ids import new_id
from swarmlite.manager.ca.root import WORKER, RootCA, Subject, new_request
from swarmlite.paths import Paths


def certify(root: RootCA, folder: Path) -> tuple[str, str, str]:
    """The authority's, a certificate of it and its key, as files."""
    folder.mkdir()
    key, csr = new_request()
    files = {"ca": root.cert, "cert": root.issue(csr, Subject(new_id(), WORKER, "c")), "key": key}
    for name, content in files.items():
        (folder / name).write_bytes(content)
    return str(folder / "ca"), str(folder / "cert"), str(folder / "key")


@pytest.fixture
def served(tmp_path: Path) -> Iterator[tuple[RootCA, int]]:
    """An exporter of a node on which nothing runs, and the authority of its clients."""
    root = RootCA.create()
    ca, cert, key = certify(root, tmp_path / "server")
    with (
        tempfile.TemporaryDirectory(prefix="swarmlite-exporter-") as run,
        socket.create_server(("127.0.0.1", 0)) as listener,
    ):
        paths = Paths(tmp_path / "state", Path(run))
        command = [sys.executable, "-m", "swarmlite.exporter", "--state-dir", str(paths.state_dir)]
        command += ["--run-dir", str(paths.run_dir), "--listen-fd", str(listener.fileno())]
        command += ["--tls-ca", ca, "--tls-cert", cert, "--tls-key", key]
        process = subprocess.Popen(command, pass_fds=[listener.fileno()])
        try:
            yield root, listener.getsockname()[1]
        finally:
            process.terminate()
            assert process.wait() == 0


def scrape(port: int, ca: str, *own: str) -> tuple[int, str]:
    """As Prometheus does; `own` are a certificate and its key. Raises OSError."""
    context = ssl.create_default_context(cafile=ca)
    if own:
        context.load_cert_chain(*own)
    connection = http.client.HTTPSConnection("127.0.0.1", port, context=context)
    try:
        connection.request("GET", "/metrics")
        answer = connection.getresponse()
        return answer.status, answer.read().decode()
    finally:
        connection.close()


def test_a_scrape_needs_a_certificate_of_the_authority_that_was_named(
    served: tuple[RootCA, int], tmp_path: Path
) -> None:
    """Not none, nor one of another authority; nor is plain HTTP answered."""
    root, port = served
    ca, *own = certify(root, tmp_path / "prometheus")
    status, body = scrape(port, ca, *own)
    assert status == 200 and 'swarmlite_up{process="agent"' in body, body
    _, *others = certify(RootCA.create(), tmp_path / "another")
    for wrong in ([], others):
        with pytest.raises(OSError):  # an alert, or a connection that is closed
            scrape(port, ca, *wrong)
    plain = http.client.HTTPConnection("127.0.0.1", port)
    with pytest.raises((OSError, http.client.HTTPException)):
        plain.request("GET", "/metrics")
        plain.getresponse()
    plain.close()
