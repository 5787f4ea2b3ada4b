"""The wheel and the sdist of a clean clone: whole, and what pip makes of either is the same."""

from __future__ import annotations

import os
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

from swarmlite import __version__

ROOT = Path(__file__).parents[2]
BACKEND = "import sys; from setuptools.build_meta import build_{0}; print(build_{0}(sys.argv[1]))"


def tracked() -> list[str]:
    """Files of the clone that are there still."""
    done = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True)
    if done.returncode:
        pytest.skip("this is no clone")
    return [name for name in done.stdout.splitlines() if (ROOT / name).is_file()]


def made(kind: str, source: Path, folder: Path) -> Path:
    """A wheel or an sdist of a folder, by the backend that pip calls."""
    done = subprocess.run(
        [sys.executable, "-c", BACKEND.format(kind), folder],
        cwd=source, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return folder / done.stdout.split()[-1]


@pytest.mark.timeout(600)
def test_a_wheel_and_an_sdist_hold_all_of_the_package_and_pip_installs_them(
    tmp_path: Path,
) -> None:
    """The stubs, templates and scripts, and what a node's image is built of, too."""
    source, out, target = (tmp_path / name for name in ("source", "out", "target"))
    names = tracked()
    for name in names:
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        (source / name).write_bytes((ROOT / name).read_bytes())
    out.mkdir()
    sdist = made("sdist", source, out)
    assert sdist.name == f"swarmlite-{__version__}.tar.gz"
    with tarfile.open(sdist) as archive:
        archive.extractall(tmp_path, filter="data")
    wheel = made("wheel", tmp_path / f"swarmlite-{__version__}", out)
    with zipfile.ZipFile(wheel) as archive:
        held = {name: archive.read(name) for name in archive.namelist()}
    package = {name.removeprefix("src/") for name in names if name.startswith("src/")}
    assert package <= set(held)
    assert {name for name in held if name.startswith("swarmlite/")} == package
    data = f"swarmlite-{__version__}.data/data/share/swarmlite"
    for name in ("deploy/Dockerfile", "requirements.lock"):
        assert held[f"{data}/{name}"] == (ROOT / name).read_bytes()

    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    done = subprocess.run(
        [*pip, "--no-deps", "--no-index", "--target", target, wheel],
        capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    said = subprocess.run(
        [sys.executable, target / "bin/swarmlite", "--version"],
        env=os.environ | {"PYTHONPATH": str(target)}, capture_output=True, text=True,
    )  # fmt: skip
    assert said.stdout.split()[2].rstrip(",") == __version__, said.stderr
