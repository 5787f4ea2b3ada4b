"""Bundles that any OCI runtime takes, and runtimes by their command lines: ours and crun."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from rt_harness import PARENT

from swarmlite.runtime.command import __main__ as program
from swarmlite.runtime.oci.defaults import default_spec, portable

OURS = [sys.executable, "-I", "-S", program.__file__]
#: Debian's crun refuses hosts with a v2 hierarchy beside v1, unless it does not see it; then it
#: makes folders in its place.
HIDE = "test ! -d /sys/fs/cgroup/unified || mount -t tmpfs none /sys/fs/cgroup/unified"
CRUN = ["unshare", "--mount", "sh", "-c", f'{HIDE}; exec crun "$@"', "crun"]
COMMANDS = {"swarmlite": OURS, "crun": CRUN}
Spec = dict[str, Any]


class Runtime:
    """One runtime on a root of its own: `runtime("state", id)` gives what it prints."""

    def __init__(self, name: str, directory: Path, lower: Path) -> None:
        self.name = name
        self.root = directory / "root"
        self.directory, self.lower = directory, lower
        self.ids: list[str] = []

    def words(self, *words: str | Path) -> list[str]:
        """The whole command line."""
        return [*COMMANDS[self.name], "--root", str(self.root), *(str(word) for word in words)]

    def __call__(self, *words: str | Path, code: int | None = 0, stdin: str = "") -> str:
        """Standard output and error together; the exit code is checked unless it is None.

        Any error code will do where 1 is asked for: crun has several.
        """
        # A created container keeps our pipes: into a file, which need not be read to its end.
        with (self.directory / f"said-{os.urandom(4).hex()}").open("w+") as said:
            done = subprocess.run(
                self.words(*words), input=stdin or None, stdout=said, stderr=said, text=True,
                stdin=None if stdin else subprocess.DEVNULL, timeout=60, check=False,
            )  # fmt: skip
            said.seek(0)
            text = said.read()
        assert code is None or min(done.returncode, code) == code, (done.returncode, text)
        assert code != 0 or done.returncode == 0, (done.returncode, text)
        return text

    def bundle(self, *args: str, **change: Any) -> tuple[str, Path]:
        """An id and a bundle of it whose spec can still be changed with `edit`."""
        container_id = f"o{os.urandom(5).hex()}"
        bundle = self.directory / container_id
        bundle.mkdir()
        shutil.copytree(self.lower, bundle / "rootfs", symlinks=True)
        (bundle / "rootfs").chmod(0o755)
        spec = portable(default_spec())
        spec["process"]["args"] = list(args)
        spec["process"].update(change)
        spec["hostname"] = container_id
        spec["linux"]["cgroupsPath"] = f"{PARENT}/{container_id}"
        spec["linux"].pop("seccomp", None)
        (bundle / "config.json").write_text(json.dumps(spec))
        self.ids.append(container_id)
        return container_id, bundle

    def edit(self, bundle: Path) -> Any:
        """`with runtime.edit(bundle) as spec:` writes it back."""
        return _editing(bundle)

    def create(self, *args: str, bundle: Path | None = None) -> tuple[str, Path]:
        """A created container; the program's output goes to `out` in the bundle."""
        if bundle is None:
            _, bundle = self.bundle(*args)
        with (bundle / "out").open("w") as out, (bundle / "err").open("w") as err:
            done = subprocess.run(
                self.words("create", "--bundle", bundle, bundle.name),
                stdin=subprocess.DEVNULL, stdout=out, stderr=err, timeout=60, check=False,
            )  # fmt: skip
        assert done.returncode == 0, (bundle / "err").read_text()
        return bundle.name, bundle

    def run(self, bundle: Path, code: int = 0) -> str:
        """In the foreground, to its end."""
        return self("run", "--bundle", bundle, bundle.name, code=code)

    def state(self, container_id: str) -> dict[str, Any]:
        """Of a container."""
        said: dict[str, Any] = json.loads(self("state", container_id))
        return said

    def until(self, container_id: str, status: str) -> dict[str, Any]:
        """Its state once it has the status; the test's own timeout bounds it."""
        while (said := self.state(container_id))["status"] != status:
            continue
        return said


@contextlib.contextmanager
def _editing(bundle: Path) -> Iterator[Spec]:
    spec = json.loads((bundle / "config.json").read_text())
    yield spec
    (bundle / "config.json").write_text(json.dumps(spec))


@pytest.fixture(params=list(COMMANDS))
def runtime(
    request: pytest.FixtureRequest, tmp_path: Path, busybox_root: Path
) -> Iterator[Runtime]:
    """Ours, and crun as the measure of what the tests ask."""
    if request.param == "crun" and shutil.which("crun") is None:
        pytest.skip("needs crun (apt install crun)")
    made = Runtime(request.param, tmp_path, busybox_root)
    yield made
    for container_id in made.ids:
        made("delete", "--force", container_id, code=None)


@pytest.fixture
def ours(tmp_path: Path, busybox_root: Path) -> Iterator[Runtime]:
    """Only ours."""
    made = Runtime("swarmlite", tmp_path, busybox_root)
    yield made
    for container_id in made.ids:
        made("delete", "--force", container_id, code=None)
