"""What a node is, on disk: whole or absent, written in one place only."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

import swarmlite
from swarmlite.errors import FailedPrecondition
from swarmlite.identity.files import Identity, make_certificates
from swarmlite.identity.node import parse
from swarmlite.paths import Paths

WORKER = {"node_id": "n1", "cluster_id": "c", "role": "worker", "advertise_addr": "10.0.0.1:2377"}


@pytest.fixture
def identity(tmp_path: Path) -> Identity:
    made = Identity(Paths(tmp_path / "state", tmp_path / "run"))
    folder = made.scratch()
    make_certificates(folder / "certificates", roots=b"roots", key=b"key", certificate=b"old")
    made.put_in_place(folder, parse(WORKER))
    return made


def names(identity: Identity) -> set[str]:
    return {path.name for path in identity.certificates.folder.iterdir()}


def test_what_was_put_in_place_is_read_again(identity: Identity) -> None:
    node = identity.read()
    assert node is not None
    assert (node.node_id, node.role, node.manager) == ("n1", "worker", False)
    assert (node.data_path_addr, node.data_path_port) == ("10.0.0.1", 4789)
    assert node.managers == ("10.0.0.1:2377",)
    assert (identity.certificates.roots, identity.certificates.certificate) == (b"roots", b"old")


def test_outside_of_a_swarm_there_is_nothing(identity: Identity) -> None:
    identity.remove()
    assert identity.read() is None
    assert list(identity.certificates.folder.parent.iterdir()) == []
    with pytest.raises(FailedPrecondition, match="not part of a swarm"):
        identity.change_role("worker")


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("{", "Expecting"),
        ("[]", "list"),
        ('{"role": "worker"}', "'node_id' is missing"),
        ('{"role": "boss", "node_id": "n1"}', "role"),
        ('{"role": "manager", "node_id": "n1"}', "'listen_addr' is missing"),
        ('{"role": "worker", "node_id": "n1", "data_path_port": "x"}', "invalid literal"),
    ],
)
def test_a_broken_node_file_is_refused_with_its_reason(
    identity: Identity, tmp_path: Path, content: str, reason: str
) -> None:
    (tmp_path / "state" / "node.json").write_text(content)
    with pytest.raises(FailedPrecondition, match=f"node.json: .*{re.escape(reason)}"):
        identity.read()


@pytest.mark.parametrize("step", [1, 2, 3, 4])
def test_a_crash_at_any_step_of_a_renewal_leaves_a_pair(
    identity: Identity, step: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The old pair or the new one, and no rests, once the next start has finished it."""
    from swarmlite.kernel import durable

    steps = iter(range(1, 5))

    def crashing(name: str) -> None:
        real = getattr(durable, name)

        def call(*arguments: object, **options: object) -> None:
            if next(steps) == step:
                raise KeyboardInterrupt
            real(*arguments, **options)

        monkeypatch.setattr(durable, name, call)

    crashing("create")
    crashing("replace")
    with pytest.raises(KeyboardInterrupt):
        identity.replace_certificate(key=b"new key", certificate=b"new")
    monkeypatch.undo()
    identity.finish()
    pair = (identity.certificates.key, identity.certificates.certificate)
    assert pair == ((b"new key", b"new") if step == 4 else (b"key", b"old"))
    assert names(identity) == {"ca.crt", "node.key", "node.crt"}


def test_only_the_identity_writes_its_files() -> None:
    """Whoever else names these files reads them."""
    product = Path(swarmlite.__file__).parent
    writing = re.compile(
        r"(write_bytes|write_text|durable\.\w+|\.rename|\.replace|\.unlink)\(.*"
        r"(node_file|certificates_dir|node\.(crt|key|json)|ca\.crt)"
    )
    found = [
        f"{path.relative_to(product)}: {line.strip()}"
        for path in product.rglob("*.py")
        if path.parent.name not in ("identity", "testing")
        for line in path.read_text().splitlines()
        if writing.search(line)
    ]
    assert found == []


def test_the_daemon_reads_it_without_grpc() -> None:
    script = (
        "import sys, swarmlite.node.daemon;"
        "print([m for m in sys.modules if m.split('.')[0] in ('grpc', 'google', 'cryptography')])"
    )
    out = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"
