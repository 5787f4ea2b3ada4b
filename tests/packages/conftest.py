"""Bare trees of Debian, one a release."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

TREES = Path(os.environ.get("SWARMLITE_TREES", "/var/tmp/swarmlite-trees"))
"""Trees as debootstrap makes them, kept for the next run."""


@pytest.fixture(params=["bookworm", "trixie"])
def tree(request: pytest.FixtureRequest) -> Path:
    suite: str = request.param
    tree = TREES / suite
    if not tree.is_dir():
        targets = ["--format", "$(REPO_URI)", "Created-By: Packages", "Label: Debian"]
        listed = subprocess.check_output(["apt-get", "indextargets", *targets], text=True)
        mirror = listed.split()[0]
        made = tree.with_name(f"{suite}.new")
        shutil.rmtree(made, ignore_errors=True)
        made.mkdir(parents=True)
        options = ["--variant=minbase", "--include=ca-certificates"]
        subprocess.run(
            ["debootstrap", *options, suite, made, mirror], check=True, stdout=subprocess.PIPE
        )
        # apt goes the ways of this host: proxies, dates, authorities.
        settings = subprocess.check_output(["apt-config", "dump", "Acquire"])
        (made / "etc/apt/apt.conf.d/99host").write_bytes(settings)
        made.rename(tree)
    return tree
