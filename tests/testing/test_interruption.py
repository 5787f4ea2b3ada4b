"""A test run that gets SIGTERM cleans up and ends; no other test begins."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

TESTS = """
import pathlib, time
import pytest

@pytest.fixture
def host():
    pathlib.Path("up").touch()
    yield
    pathlib.Path("cleaned").touch()

def test_first(host):
    time.sleep(100)

def test_second():
    pathlib.Path("second").touch()
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_run_that_is_ended_cleans_up_and_begins_nothing(
    tmp_path: Path, number: signal.Signals
) -> None:
    shutil.copy(Path(__file__).parents[1] / "conftest.py", tmp_path)
    (tmp_path / "test_a.py").write_text(TESTS)
    (tmp_path / "pytest.ini").touch()
    running = subprocess.Popen(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        text=True,
    )
    deadline = time.monotonic() + 60
    while not (tmp_path / "up").exists():
        assert time.monotonic() < deadline
        time.sleep(0.02)
    running.send_signal(number)
    said, _ = running.communicate(timeout=60)
    assert running.returncode == pytest.ExitCode.INTERRUPTED, said
    assert (tmp_path / "cleaned").exists()
    assert not (tmp_path / "second").exists()
