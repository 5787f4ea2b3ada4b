"""Tests of this clone for a machine that has the package, and no pytest."""

from __future__ import annotations

import io
import tarfile
from importlib.metadata import distribution
from pathlib import Path

ROOT = Path(__file__).parents[2]
RUNNERS = (
    "pytest", "pluggy", "iniconfig", "packaging", "pygments", "pytest-asyncio", "pytest-timeout",
    "hypothesis", "sortedcontainers", "attrs", "typing_extensions",
)  # fmt: skip
"""Of Python alone, so that they run by another version of it as well."""
TESTS = ("pyproject.toml", "tests/conftest.py", "tests/network")


def archive() -> bytes:
    """tests/network below `tests`, and what runs it below `site`."""
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w:gz", compresslevel=1) as tar:
        for name in RUNNERS:
            for file in distribution(name).files or ():
                if file.parts[0] != ".." and file.suffix != ".pyc":
                    tar.add(file.locate(), f"site/{file}")
        for name in TESTS:
            tar.add(ROOT / name, name, filter=lambda i: None if "__pycache__" in i.name else i)
    return data.getvalue()


def command(tests: str) -> str:
    """Runs a file of them where the archive was unpacked, by the package's own Python."""
    return f"PYTHONPATH=site /opt/swarmlite/bin/python3 -m pytest -q -p no:cacheprovider {tests}"
