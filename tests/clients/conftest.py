"""Clients that a registry has: installed once into a folder of the cache, else skipped."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
for room in ("gateway", "integration"):
    if (folder := str(ROOT / "tests" / room)) not in sys.path:
        sys.path.insert(0, folder)

from swarmlite.testing import Cluster  # noqa: E402
from swarmlite.testing import images as debian_images  # noqa: E402
from swarmlite.testing.registry import Registry  # noqa: E402

CACHE = Path(os.environ.get("SWARMLITE_CLIENT_CACHE", ROOT / ".cache" / "clients"))
INSTALL_S = 900
ANSIBLE = ("ansible==12.3.0", "docker==7.2.0", "requests", "jsondiff", "pyyaml")
# What docker-compose 1.29 of Debian 12 imports.
COMPOSE_1 = (
    *("docker-compose", "python3-docker", "python3-dockerpty", "python3-docopt", "python3-dotenv"),
    *("python3-jsonschema", "python3-texttable", "python3-websocket", "python3-yaml"),
    *("python3-requests", "python3-urllib3", "python3-attr", "python3-pyrsistent", "python3-six"),
    *("python3-distro", "python3-certifi", "python3-chardet", "python3-charset-normalizer"),
    *("python3-idna", "python3-packaging", "python3-pkg-resources", "python3-setuptools"),
)
# testcontainers 12 needs Node 22, more than Debian 12 and 13 have: its undici takes zstd for
# granted.
NPM = ("dockerode@5.0.1", "testcontainers@11.14.0")


def install(folder: Path, *commands: Sequence[str]) -> Path:
    """Run the commands that fill `folder`, once. Skips the test with what the last one said."""
    done = folder / "installed"
    wanted = repr(commands)
    if done.is_file() and done.read_text() == wanted:
        return folder
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for command in commands:
        if shutil.which(command[0]) is None:
            pytest.skip(f"{command[0]} is not installed")
        try:
            ended = subprocess.run(
                command, cwd=folder, capture_output=True, text=True, timeout=INSTALL_S
            )
        except subprocess.TimeoutExpired:
            pytest.skip(f"{command[0]} takes too long to install {' '.join(command[-2:])}")
        if ended.returncode:
            said = (ended.stderr or ended.stdout).strip().splitlines()[-1:]
            pytest.skip(f"{command[0]} cannot install: {said}")
    done.write_text(wanted)
    return folder


@pytest.fixture(scope="session")
def ansible() -> Path:
    """The folder of its commands."""
    folder = CACHE / "ansible"
    pip = str(folder / "bin" / "python")
    return install(
        folder,
        (sys.executable, "-m", "venv", "."),
        (pip, "-m", "pip", "install", "-q", "--disable-pip-version-check", *ANSIBLE),
    ) / "bin"  # fmt: skip


@pytest.fixture(scope="session")
def npm() -> Path:
    """A folder whose scripts may require what NPM names."""
    return install(
        CACHE / "npm",
        ("npm", "init", "-y"),
        ("npm", "install", "--no-audit", "--no-fund", "--save-exact", *NPM),
    )


@pytest.fixture(scope="session")
def three_hosts() -> Iterator[tuple[Cluster, str]]:
    """A swarm of three, and the reference of a busybox that they can pull."""
    if os.geteuid() != 0:
        pytest.skip("a cluster of namespaces needs root")
    with Cluster(1, 2, name=f"c{os.getpid()}") as cluster:
        assert cluster.lan is not None
        with Registry(cluster.lan.gateway) as registry:
            yield cluster, registry.push(debian_images.busybox())


@pytest.fixture(scope="session")
def compose() -> Path:
    """The plug-in's program: SWARMLITE_COMPOSE, what the machine has, or what apt-get has."""
    if named := os.environ.get("SWARMLITE_COMPOSE"):
        return Path(named)
    place = "usr/libexec/docker/cli-plugins/docker-compose"
    if (there := Path("/") / place).exists():
        return there
    folder = install(
        CACHE / "compose",
        ("apt-get", "-q", "-o", "APT::Sandbox::User=root", "download", "docker-compose"),
        ("sh", "-c", "dpkg-deb -x docker-compose_*.deb ."),
    )
    if not (folder / place).exists():
        pytest.skip("this Debian has compose 1 only: SWARMLITE_COMPOSE names another's compose 2")
    return folder / place


@pytest.fixture(scope="session")
def compose_1() -> Path:
    """docker-compose 1.29, which speaks for itself through docker-py 5."""
    folder = install(
        CACHE / "compose-1",
        ("apt-get", "-q", "-o", "APT::Sandbox::User=root", "download", *COMPOSE_1),
        ("sh", "-c", "for file in *.deb; do dpkg-deb -x $file .; done"),
    )
    packages = folder / "usr/lib/python3/dist-packages"
    if not (packages / "compose").is_dir():
        pytest.skip("this Debian has no docker-compose 1")
    program = folder / "docker-compose"
    program.write_text(f'#!/bin/sh\nPYTHONPATH={packages} exec /usr/bin/python3 -m compose "$@"\n')
    program.chmod(0o755)
    return program
