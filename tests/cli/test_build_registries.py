"""`swarmlite build` and a registry that asks for a login: bases, several platforms, caches."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from swarmlite.storage.images.manifest import OCI_INDEX
from swarmlite.testing.registry import Registry

STEPS = "FROM {base} AS tool\nRUN date +%N > /tool\nFROM {base}\nCOPY --from=tool /tool /\n"


@pytest.fixture(scope="module")
def private(
    host: Any, registry: Registry, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[str]:
    """A base that only who has logged in can pull; these tests have, in their own config.json."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DOCKER_CONFIG", str(tmp_path_factory.mktemp("docker")))
        login = ("login", "-u", "me", "--password-stdin", registry.address)
        host.ok(*login, stdin=b"secret\n")
        ref = f"{registry.address}/private/base:1"
        host.ok("tag", host.image, ref)
        host.ok("push", "-q", ref)
        host.ok("rmi", ref)
        yield ref


def folder(tmp_path: Path, text: str) -> str:
    made = tmp_path / "context"
    made.mkdir(exist_ok=True)
    (made / "Dockerfile").write_text(text)
    return str(made)


def test_a_base_of_a_private_registry_is_pulled_with_the_callers_login(
    host: Any,
    registry: Registry,
    private: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    context = folder(tmp_path, f"FROM {private}\nRUN echo made > /made\n")
    name = f"{registry.address}/private/made:1"
    host.ok("build", "-q", "--push", "-t", name, context)
    host.ok("rmi", name, private)
    host.ok("pull", "-q", name)  # it was pushed with the login too
    host.ok("rmi", name)
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path / "nobodys"))
    refused = host.cli("build", "--pull", context)
    assert refused.status == 1 and "asks for a user name and password" in refused.err


@pytest.mark.usefixtures("private")
def test_several_platforms_are_pushed_as_one_index(
    host: Any, registry: Registry, tmp_path: Path
) -> None:
    context = folder(tmp_path, "FROM scratch\nARG TARGETARCH\nCOPY Dockerfile /$TARGETARCH\n")
    name, both = f"{registry.address}/private/both:1", "linux/amd64,linux/arm64"
    metadata = tmp_path / "metadata"
    words = ("--metadata-file", str(metadata), "--push", "-t", name, context)
    host.ok("build", "-q", "--platform", both, *words)
    said = json.loads(metadata.read_text())["containerimage.descriptor"]
    assert said["mediaType"] == OCI_INDEX
    host.ok("rmi", name)
    host.ok("pull", "-q", "--platform", "linux/arm64", name)
    (shown,) = json.loads(host.ok("image", "inspect", name))
    assert shown["Architecture"] == "arm64"
    assert any(digest.endswith(said["digest"]) for digest in shown["RepoDigests"])
    host.ok("rmi", name)


@pytest.mark.parametrize("kind", ["registry", "local"])
def test_a_cache_goes_away_and_comes_back(
    host: Any, registry: Registry, private: str, tmp_path: Path, kind: str
) -> None:
    """All stages of it, with mode=max; what it was made from may be gone on this host."""
    cache = f"{registry.address}/private/cache:{kind}"
    to = {"registry": f"ref={cache}", "local": f"dest={tmp_path}/cache"}[kind]
    source = {"registry": f"ref={cache}", "local": f"src={tmp_path}/cache"}[kind]
    context = folder(tmp_path, STEPS.format(base=private))
    first = host.ok("build", "-q", "--cache-to", f"type={kind},{to},mode=max", context)
    assert cache not in host.ok("images", "--format", "{{.Repository}}:{{.Tag}}")
    host.ok("rmi", first.strip())
    host.ok("builder", "prune", "-af")
    again = host.ok("build", "-q", "--cache-from", f"type={kind},{source}", context)
    assert again == first  # the date is in it
    host.ok("rmi", again.strip())
    if kind == "local":
        host.ok("builder", "prune", "-af")
        assert host.ok("build", "-q", context) != first  # without it, all is done again
