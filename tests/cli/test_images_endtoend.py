"""The image commands against a real engine and a real registry: words, output, exit codes."""

from __future__ import annotations

import base64
import json
import os
import re
import stat
import tarfile
from pathlib import Path
from typing import Any

import pytest

from swarmlite.testing.oci import TarWriter
from swarmlite.testing.registry import Registry


@pytest.fixture(autouse=True)
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Docker's configuration of this test only."""
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path / "docker"))
    return tmp_path / "docker" / "config.json"


def log_in(host: Any, registry: Registry) -> None:
    login = ("login", "-u", "me", "--password-stdin", registry.address)
    assert host.ok(*login, stdin=b"secret\n") == "Login Succeeded\n"


def test_an_image_goes_to_a_registry_and_comes_back(host: Any, registry: Registry) -> None:
    ref = f"{registry.address}/team/app"
    host.ok("tag", host.image, f"{ref}:1")
    refused = host.cli("push", f"{ref}:1")
    assert refused.status == 1 and "asks for a user name and password" in refused.err
    log_in(host, registry)
    said = host.ok("push", f"{ref}:1").splitlines()
    assert said[0] == f"The push refers to repository [{ref}]"
    pushed = re.fullmatch(r"1: digest: (sha256:\w{64}) size: \d+", said[-1])
    assert pushed and any(line.endswith(": Pushed") for line in said[1:-1])
    assert host.ok("push", "-q", f"{ref}:1") == f"{ref}:1\n"
    host.ok("tag", host.image, f"{ref}:latest")
    assert "latest: digest:" in host.ok("push", "--all-tags", ref)
    host.ok("rmi", f"{ref}:1", f"{ref}:latest")
    assert f"Digest: {pushed.group(1)}" in host.ok("pull", f"{ref}:1")
    rows = host.ok("images", "--digests", "--format", "{{.Tag}} {{.Digest}}", ref).splitlines()
    assert rows == [f"1 {pushed.group(1)}"]
    shown = json.loads(host.ok("image", "inspect", f"{ref}:1"))[0]
    assert shown["Descriptor"]["digest"] == pushed.group(1)
    assert f"{ref}@{pushed.group(1)}" in shown["RepoDigests"]
    host.ok("rmi", f"{ref}:1")
    wrong = host.cli("push", "-a", f"{ref}:1")
    assert "tag can't be used with --all-tags" in wrong.err
    assert host.ok("pull", "-q", "-a", ref) == f"{ref}\n"
    assert set(host.ok("images", "--format", "{{.Tag}}", ref).split()) == {"1", "latest"}
    host.ok("rmi", f"{ref}:1", f"{ref}:latest")
    assert "tag can't be used with --all-tags" in host.cli("pull", "-a", f"{ref}:1").err


def test_logins_are_kept_and_forgotten(host: Any, registry: Registry, config: Path) -> None:
    refused = host.cli("login", "-u", "me", "-p", "wrong", registry.address)
    assert refused.status == 1 and "refuses these credentials" in refused.err
    assert not config.exists()
    log_in(host, registry)
    auth = json.loads(config.read_text())["auths"][registry.address]["auth"]
    assert base64.b64decode(auth) == b"me:secret"
    assert stat.S_IMODE(config.stat().st_mode) == 0o600
    said = host.ok("logout", registry.address)
    assert said == f"Removing login credentials for {registry.address}\n"
    assert json.loads(config.read_text())["auths"] == {}
    assert host.ok("logout", registry.address) == f"Not logged in to {registry.address}\n"


HELPER = """#!/bin/sh
case "$1" in
  store) cat > "{folder}/held" ;;
  get) read -r asked
       grep -q "\\"$asked\\"" "{folder}/held" 2>/dev/null && exec cat "{folder}/held"
       echo "credentials not found in native keychain"; exit 1 ;;
  erase) rm "{folder}/held" ;;
esac
"""


@pytest.mark.parametrize("kind", ["credsStore", "credHelpers"])
def test_logins_lie_with_a_helper(
    host: Any,
    registry: Registry,
    config: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    kind: str,
) -> None:
    helper = tmp_path / "docker-credential-safe"
    helper.write_text(HELPER.format(folder=tmp_path))
    helper.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    config.parent.mkdir()
    named: Any = "safe" if kind == "credsStore" else {registry.address: "safe"}
    config.write_text(json.dumps({kind: named, "other": 1}))
    ref = f"{registry.address}/held:1"
    host.ok("tag", host.image, ref)
    assert host.cli("push", ref).status == 1
    log_in(host, registry)
    assert "secret" in (tmp_path / "held").read_text()
    kept = json.loads(config.read_text())
    assert kept["auths"] == {registry.address: {}} and kept["other"] == 1
    host.ok("push", ref)
    host.ok("logout", registry.address)
    assert not (tmp_path / "held").exists()
    assert host.cli("push", ref).status == 1
    config.write_text(json.dumps({"credsStore": "absent"}))
    said = host.cli("push", ref)
    assert "docker-credential-absent is not installed" in said.err
    host.ok("rmi", ref)


def test_images_are_saved_and_loaded(host: Any, tmp_path: Path) -> None:
    host.ok("tag", host.image, "kept:1")
    host.ok("save", "-o", str(tmp_path / "kept.tar"), "kept:1")
    with tarfile.open(tmp_path / "kept.tar") as archive:
        assert {"manifest.json", "index.json", "oci-layout"} <= set(archive.getnames())
    host.ok("rmi", "kept:1")
    said = host.ok("load", "-i", str(tmp_path / "kept.tar"))
    assert said.splitlines()[-1] == "Loaded image: kept:1"
    host.ok("rmi", "kept:1")
    result = host.cli("save", "none:1")
    assert result.status == 1 and "none:1" in result.err and result.err.count("\n") == 1


def test_history_import_and_commit(host: Any, tmp_path: Path) -> None:
    tar = TarWriter()
    tar.file("data", "x" * 5000)
    (tmp_path / "root.tar").write_bytes(tar.tar())
    made = host.ok(
        "import", "-m", "by hand", "-c", "ENV A=b", str(tmp_path / "root.tar"), "imported:1"
    )
    assert re.fullmatch(r"sha256:\w{64}\n", made)
    assert host.ok("import", "-", stdin=tar.tar()).startswith("sha256:")
    lines = host.ok("history", "imported:1").splitlines()
    assert lines[0].split() == ["IMAGE", "CREATED", "CREATED", "BY", "SIZE", "COMMENT"]
    assert lines[1].startswith(made[7:19]) and lines[1].endswith("by hand")
    assert host.ok("history", "-q", "--no-trunc", "imported:1") == made
    assert host.ok("history", "-H=false", "--format", "{{.Size}}", "imported:1") == "5000\n"
    assert host.ok("image", "inspect", "-f", "{{.Config.Env}}", "imported:1") == "[A=b]\n"
    container = host.ok("create", "--name", "grown", host.image, "true").strip()
    committed = host.ok(
        "commit", "-a", "me", "-m", "grown", "-c", 'CMD ["echo", "hi"]', "grown", "grown:1"
    )
    assert host.ok("run", "--rm", "grown:1") == "hi\n"
    assert host.ok("image", "inspect", "-f", "{{.Author}}", "grown:1") == "me\n"
    assert host.ok("images", "-q", "--no-trunc", "grown") == committed
    host.ok("rm", container)
    wrong = host.cli("import", "-c", "RUN x", str(tmp_path / "root.tar"))
    assert wrong.status == 1 and "'RUN' cannot change an image" in wrong.err
    host.ok("rmi", "imported:1", "grown:1")
    host.ok("image", "prune", "-f")


def test_images_are_listed_as_a_tree(host: Any) -> None:
    lines = host.ok("image", "ls", "--tree").splitlines()
    assert lines[0].split("  ")[0] == "IMAGE"
    assert any(line.startswith(host.image) for line in lines)
    assert any(line.startswith("└─ linux/") for line in lines)
    assert "--tree cannot be combined with" in host.cli("images", "--tree", "-q").err


def test_a_terminal_shows_a_bar_a_layer(host: Any, registry: Registry, tmp_path: Path) -> None:
    tar = TarWriter()
    tar.file("noise", os.urandom(3_000_000))
    ref = f"{registry.address}/bars:1"
    host.ok("import", "-", ref, stdin=tar.tar())
    log_in(host, registry)
    with host.terminal("push", ref) as terminal:
        assert terminal.ends() == 0
        assert b"\x1b[" in terminal.shown and b": Pushed" in terminal.shown
        assert b"digest: sha256:" in terminal.shown
    host.ok("rmi", ref)


def test_images_are_copied_from_and_to_this_node(
    host: Any, registry: Registry, tmp_path: Path
) -> None:
    """The registry is on the host's own loopback, which the command does not share: files do."""
    host.ok("tag", host.image, "copied:1")
    archive = f"docker-archive:{tmp_path}/copied.tar:back/copied:2"
    digest = host.ok("image", "copy", "-q", "node:copied:1", archive).strip()
    said = host.ok("image", "copy", archive, "node:again:3").splitlines()
    assert said[-1] == digest and any(line.endswith(": Copied") for line in said)
    found = host.ok("image", "inspect", "-f", "{{.Id}}", "again:3", "copied:1").split()
    assert found[0] == found[1]
    wrong = host.cli("image", "copy", "oci:", "node:x")
    assert wrong.status == 1 and "a place is [docker://]REFERENCE" in wrong.err
    host.ok("rmi", "again:3", "copied:1")
