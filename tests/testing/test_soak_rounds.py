"""`make soak`: rounds with seeds of their own, until one fails or somebody ends it."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from swarmlite.testing import soak

OPTIONS = ("-p", "no:cacheprovider", "-p", "no:hypothesispytest")
FAILS_AT = """
import os, pathlib

def test_it():
    seed = os.environ["SWARMLITE_CHAOS_SEEDS"]
    with pathlib.Path("played").open("a") as file:
        file.write(seed + " ")
    assert seed != "{seed}"
"""
WAITS = """
import pathlib, time

def test_it():
    pathlib.Path("{name}.up").touch()
    try:
        time.sleep(1000)
    finally:
        time.sleep(0.2)
        pathlib.Path("{name}.down").touch()
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    shutil.copy(Path(__file__).parents[1] / "conftest.py", tmp_path)
    (tmp_path / "pytest.ini").touch()
    return tmp_path


def test_rounds_go_on_with_new_seeds_until_one_fails_which_is_said_with_how_to_play_it_again(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(folder)
    monkeypatch.setenv(soak.SEEDS, "restored at the end")
    (folder / "test_a.py").write_text(FAILS_AT.format(seed=42))
    assert soak.main(["--seed=41", *OPTIONS, "test_a.py"]) == 1
    assert (folder / "played").read_text().split() == ["41", "42"]
    said = capfd.readouterr().out
    assert "round 2: SWARMLITE_CHAOS_SEEDS=42\n" in said
    assert said.endswith(
        "failed: test_a.py::test_it\nfailed in round 2; again: make soak SEED=42\n"
    )


def test_the_first_failure_ends_what_runs_beside_it_and_lets_it_clean_up(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(folder)
    monkeypatch.setenv(soak.SEEDS, "restored at the end")
    (folder / "test_a.py").write_text(WAITS.format(name="a"))
    waiting = (
        "import pathlib, time\n\ndef test_b():\n    while not pathlib.Path('a.up').exists():\n"
    )
    (folder / "test_b.py").write_text(waiting + "        time.sleep(0.02)\n    assert False\n")
    (folder / "test_c.py").write_text(WAITS.format(name="c"))
    parts = ["test_a.py", "test_b.py", "test_c.py"]
    assert soak.main(["--at-once=2", *OPTIONS, *parts]) == 1
    assert "failed: test_b.py::test_b\n" in capfd.readouterr().out
    assert (folder / "a.down").exists() and not (folder / "c.up").exists()


def test_who_interrupts_it_ends_every_part_which_cleans_up(folder: Path) -> None:
    """As a terminal does: SIGINT to the process group. SIGTERM is tested with the retries."""
    for name in ("a", "b", "c"):
        (folder / f"test_{name}.py").write_text(WAITS.format(name=name))
    command = [sys.executable, "-m", "swarmlite.testing.soak", "--at-once=2", *OPTIONS]
    running = subprocess.Popen(
        [*command, *(f"test_{name}.py" for name in ("a", "b", "c"))],
        cwd=folder,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    while not all((folder / f"{name}.up").exists() for name in ("a", "b")):
        time.sleep(0.02)
    os.killpg(running.pid, signal.SIGINT)
    said = running.communicate()[0]
    assert running.returncode == 0, said
    assert said.endswith("ended in round 1; nothing had failed\n")
    assert all((folder / f"{name}.down").exists() for name in ("a", "b"))
    assert not (folder / "c.up").exists()
