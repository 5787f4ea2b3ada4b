"""The systemd units and the installer of deploy/, as far as they can be judged without systemd."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from swarmlite.node.flags import parse

DEPLOY = Path(__file__).parents[2] / "deploy"


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="needs systemd-analyze")
def test_the_units_are_ones_that_systemd_takes(tmp_path: Path) -> None:
    units = []
    for name in ("swarmlited.service", "swarmlite-supervisor.service"):
        text = (DEPLOY / name).read_text().replace("@SUPERVISOR@", "/opt/supervisor.py")
        # What is not installed here would be all that it complains of.
        for binary in ("swarmlited", "python3"):
            text = text.replace(f"/opt/swarmlite/bin/{binary}", "/bin/true")
        (tmp_path / name).write_text(text)
        units.append(str(tmp_path / name))
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", *units], capture_output=True, text=True
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_the_units_give_options_that_the_daemon_knows() -> None:
    [line] = [
        line for line in (DEPLOY / "swarmlited.service").read_text().splitlines()
        if line.startswith("ExecStart=")
    ]  # fmt: skip
    words = [word for word in line.split()[1:] if not word.startswith("$")]
    assert parse(words).supervisor == "external"


@pytest.mark.parametrize("script", ["install.sh", "packages.sh"])
def test_the_scripts_are_sh(script: str) -> None:
    subprocess.run(["sh", "-n", str(DEPLOY / script)], check=True)


def test_the_daemon_says_what_its_options_are() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "swarmlite.node.daemon", "--help"], capture_output=True, text=True
    )
    assert done.returncode == 0
    for option in ("--state-dir", "--run-dir", "--etcd-binary", "--supervisor"):
        assert option in done.stdout
    wrong = subprocess.run(
        [sys.executable, "-m", "swarmlite.node.daemon", "--nonsense"],
        capture_output=True, text=True,
    )  # fmt: skip
    assert wrong.returncode == 2
    assert "--nonsense" in wrong.stderr
