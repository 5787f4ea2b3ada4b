"""Bad specs: one line that says where and what."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest

from swarmlite import errors
from swarmlite.runtime.oci.defaults import default_spec
from swarmlite.runtime.oci.mounts import Mount
from swarmlite.runtime.oci.validate import validate_spec

Spec = dict[str, Any]


def put(*keys: Any) -> Callable[[Spec], None]:
    def change(spec: Spec) -> None:
        here = spec
        for key in keys[:-2]:
            here = here[key]
        here[keys[-2]] = keys[-1]

    return change


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (put("ociVersion", "2"), "ociVersion"),
        (put("process", "args", []), "process.args: no command"),
        (put("process", "args", ["a\0b"]), r"process.args\[0\]"),
        (put("process", "env", ["NOVALUE"]), "NAME=VALUE"),
        (put("process", "cwd", "relative"), "process.cwd"),
        (put("process", "user", {"uid": 2**31}), "2147483648"),
        (put("process", "user", {"uid": -1}), "process.user"),
        (put("process", "capabilities", {"bounding": "CAP_X"}), "capabilities.bounding"),
        (put("process", "oomScoreAdj", 2000), "oomScoreAdj"),
        (put("process", "rlimits", [{"type": "RLIMIT_CORE", "soft": 2, "hard": 1}]), "soft"),
        (put("hostname", "x" * 65), "hostname"),
        (put("hooks", {"prestart": [{}]}), r"hooks.prestart\[0\].path"),
        (put("linux", "netDevices", {"eth0": {}}), "netDevices"),
        (put("linux", "rootfsPropagation", "x"), "rootfsPropagation"),
        (put("root", "path", ""), "root.path"),
        (put("linux", "namespaces", [{"type": "mount"}, {"type": "x"}]), "unknown kind 'x'"),
        (put("linux", "sysctl", {"kernel.panic": "1"}), "would change the host"),
        (put("linux", "sysctl", {"net/../kernel": "1"}), "not a name"),
        (put("linux", "namespaces", [{"type": "mount"}]), "network namespace"),
        (put("mounts", [{"type": "bind", "destination": "/proc/1"}]), "inside /proc"),
    ],
)
def test_a_bad_spec_is_named_in_one_line(change: Callable[[Spec], None], words: str) -> None:
    spec = default_spec()
    validate_spec(spec)
    change(spec)
    with pytest.raises(errors.InvalidSpec, match=words) as caught:
        validate_spec(spec)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("mount", "words"),
    [
        ({"type": "tmpfs", "destination": "relative"}, "absolute"),
        ({"type": "tmpfs", "destination": "/a/../b"}, r"'\.\.'"),
        ({"type": "tmpfs", "destination": "/"}, "over /"),
        ({"type": "../a", "destination": "/a"}, "'../a'"),
        ({"type": "bind", "destination": "/a"}, "needs one"),
        ({"source": "/x", "destination": "/a", "options": ["bind", "huh"]}, "'huh'"),
    ],
)
def test_a_bad_mount_is_named(mount: dict[str, Any], words: str) -> None:
    with pytest.raises(errors.InvalidSpec, match=words):
        Mount(mount, "mounts[3]", "/bundle")


def test_the_supervisors_modules_stay_lean() -> None:
    """What the supervisor imports is what every fork copies."""
    code = (
        "import sys; sys.path.insert(0, sys.argv[1]);"
        "import swarmlite.runtime.supervisor.operations;"
        "print(*sorted(m for m in sys.modules))"
    )
    import swarmlite

    source = swarmlite.__file__.rsplit("/", 2)[0]
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", code, source], capture_output=True, text=True, check=True
    )
    loaded = set(done.stdout.split())
    heavy = {"asyncio", "typing", "dataclasses", "pathlib", "subprocess", "logging", "hashlib",
             "grpc", "inspect", "threading"}  # fmt: skip
    assert not loaded & heavy
