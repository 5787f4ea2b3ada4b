"""The same Dockerfiles built by Docker's own builders: the same files, configuration and history.

Debian's docker.io has both: the classic one and BuildKit. What they do not know is listed, and so
is what is otherwise here on purpose.
"""

from __future__ import annotations

import io
import json
import os
import shutil
import stat
import subprocess
import tarfile
from collections.abc import Iterator
from typing import Any

import pytest
from benchmarks.docker_peer import DockerPeer
from build_host import BuildHost
from test_reference import FOLDER

from swarmlite.testing import images
from swarmlite.testing.oci import docker_archive

pytestmark = [
    pytest.mark.skipif(
        shutil.which("dockerd") is None,
        reason="needs docker.io (deploy/packages.sh bench installs it)",
    ),
    pytest.mark.timeout(300),
]
CLASSIC, BUILDKIT = "0", "1"
WAIT_S = 120.0
OF_CLASSIC = ("arguments", "configuration", "whiteouts")
OF_BUILDKIT = ("add-archives", "copy-files", "copy-owners", "modes", "stages")
MORE_OF_CLASSIC = (
    "copy-from", "copy-links", "empty-changes", "entrypoint-and-command",
    "entrypoint-resets-command", "escape", "run-forms", "scratch",
)  # fmt: skip
MORE_OF_BUILDKIT = (
    "configuration", "copy-from", "copy-links", "copy-patterns", "empty-changes",
    "entrypoint-and-command", "escape", "platform-arguments", "run-forms", "run-user-workdir",
    "scratch", "whiteouts",
)  # fmt: skip
"""Of the reference's. Debian's 20.10 lacks here-documents, --link, --parents, --exclude, --network,
secrets in the environment, and # and % in variables, and fetches what a `# syntax` names; with its
classic builder WORKDIR belongs to root whoever USER is."""
OF_CONTAINERS = {"", "dev", "proc", "sys", "etc", ".dockerenv"}
"""What an export shows of a container, and no image has; the Dockerfiles put nothing there."""
OTHERWISE = {
    ("copy-owners", BUILDKIT): {"setuid"},  # a fault of 20.10: it loses set-user-id bits of --chmod
    ("modes", BUILDKIT): {"y/p"},  # it leaves pipes out
}
CONFIG_OTHERWISE: set[Any] = {
    "Hostname",  # of a container of the build
    "Image",  # the one before the last step
    "ArgsEscaped",  # means something on Windows only
    ("scratch", CLASSIC, "WorkingDir"),  # "/" here and with BuildKit, nothing there
}


@pytest.fixture(scope="module")
def docker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DockerPeer]:
    if os.geteuid() != 0:
        pytest.skip("needs root: namespaces and mounts")
    try:
        peer = DockerPeer("192.168.96.1").__enter__()
    except RuntimeError as error:
        pytest.skip(f"dockerd does not run here: {str(error).splitlines()[-1]}")
    try:
        archive = tmp_path_factory.mktemp("busybox") / "busybox.tar"
        archive.write_bytes(docker_archive([images.busybox().named("busybox:latest")]))
        peer.cli("load", "-i", str(archive))
        yield peer
    finally:
        peer.__exit__()


def theirs(docker: DockerPeer, name: str, kind: str) -> tuple[dict[str, str], Any, list[str]]:
    expected = json.loads((FOLDER / f"{name}.json").read_text())
    options = expected.get("options", {})
    words = [f"--build-arg={k}={v}" for k, v in options.get("build_args", {}).items()]
    words += [f"--target={t}" for t in [options.get("target")] if t]
    tag = f"{name}:{kind}"
    run_docker(docker, kind, "build", "-t", tag, *words, str(FOLDER / name))
    shown = json.loads(docker.cli("image", "inspect", tag))[0]
    container = docker.cli("create", tag, "x").strip()
    data = subprocess.run(
        ["docker", "-H", f"unix://{docker.socket}", "export", container],
        capture_output=True, timeout=WAIT_S, check=True,
    ).stdout  # fmt: skip
    docker.cli("rm", container)
    history = docker.cli("history", "--no-trunc", "--format", "{{.CreatedBy}}", tag).splitlines()
    return tree_of(data), shown["Config"], history[::-1]


def run_docker(docker: DockerPeer, kind: str, *words: str) -> None:
    done = subprocess.run(
        ["/usr/bin/docker", "-H", f"unix://{docker.socket}", *words],
        env={**os.environ, "DOCKER_BUILDKIT": kind},
        capture_output=True, timeout=WAIT_S, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr.decode()[-2000:]


def tree_of(data: bytes) -> dict[str, str]:
    """PATH: kind, mode, owner and what is in it."""
    found = {}
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        for member in archive:
            name = member.name.strip("/").removeprefix("./")
            text = ""
            if member.isfile() or member.islnk():
                content = archive.extractfile(member)
                text = content.read().decode(errors="replace") if content else ""
            kind = "f" if member.isfile() or member.islnk() else str(member.type)
            mode = stat.S_IMODE(member.mode)
            link = member.linkname * member.issym()
            found[name] = f"{kind} {mode:o} {member.uid}:{member.gid} {link} {text[:200]}"
    return found


def keyword(created_by: str) -> str:
    """The instruction of a line of history, however it is written."""
    text = created_by.partition("#(nop)")[2].strip() or created_by
    word = text.split()[0]
    return word if word.isupper() and word.isalpha() else "RUN"


def said(created_by: str) -> str:
    """A line of BuildKit's history or of ours, without what only one of them adds."""
    text = created_by.removesuffix(" # buildkit")
    word, *rest = text.split(" ")
    if word in ("COPY", "ADD"):
        return " ".join([word, *(each for each in rest if not each.startswith("--"))])
    return word if word in ("EXPOSE", "HEALTHCHECK") else text


def each(classic: tuple[str, ...], buildkit: tuple[str, ...]) -> list[tuple[str, str]]:
    return [*((name, CLASSIC) for name in classic), *((name, BUILDKIT) for name in buildkit)]


@pytest.mark.parametrize(("name", "kind"), each(OF_CLASSIC, OF_BUILDKIT))
async def test_docker_s_builders_come_to_the_same(
    docker: DockerPeer, builder: BuildHost, name: str, kind: str
) -> None:
    await compare(docker, builder, name, kind)


@pytest.mark.engines
@pytest.mark.parametrize(("name", "kind"), each(MORE_OF_CLASSIC, MORE_OF_BUILDKIT))
async def test_docker_s_builders_come_to_the_same_of_the_rest(
    docker: DockerPeer, builder: BuildHost, name: str, kind: str
) -> None:
    """Of all that both of them can build."""
    await compare(docker, builder, name, kind)


async def compare(docker: DockerPeer, builder: BuildHost, name: str, kind: str) -> None:
    tree, config, history = theirs(docker, name, kind)
    options = json.loads((FOLDER / f"{name}.json").read_text()).get("options", {})
    built = await builder.build(files=FOLDER / name, tree=True, **options)
    assert built.result
    own = tree_of(built.output(1))
    different = {
        path
        for path in set(tree) | set(own)
        if tree.get(path) != own.get(path) and path.split("/")[0] not in OF_CONTAINERS
    }
    assert different - OTHERWISE.get((name, kind), set()) == set()
    for key in set(config) | set(built.inner):
        if key not in CONFIG_OTHERWISE and (name, kind, key) not in CONFIG_OTHERWISE:
            assert (config.get(key) or None) == (built.inner.get(key) or None), key
    lines = [entry["created_by"] for entry in built.config["history"]]
    assert list(map(keyword, lines)) == list(map(keyword, history))
    if kind == BUILDKIT:
        assert list(map(said, lines)) == list(map(said, history))
