"""What `make test` does with failures: pytest runs for real, in a folder of its own."""

from __future__ import annotations

import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

GOOD = "def test_good(): pass\n"
BAD = "def test_bad(): assert False\n"
# Fails once: what it leaves behind makes it pass.
FLAKY = """
import pathlib
import pytest

@pytest.mark.parametrize("number", [1, 2])
def test_flaky(number):
    mark = pathlib.Path(f"seen{number}")
    before = mark.exists()
    mark.touch()
    assert before
"""

LONG = """
import pathlib, time

def test_long():
    pathlib.Path("{mark}.up").touch()
    try:
        time.sleep(1000)
    finally:
        pathlib.Path("{mark}.down").touch()
"""


def retry(folder: Path, *arguments: str, known: str = "") -> tuple[int, str]:
    """The exit code and what was printed."""
    (folder / "known.txt").write_text(known)
    (folder / "pytest.ini").touch()
    command = [sys.executable, "-m", "swarmlite.testing.retry", "--known=known.txt"]
    options = ["-p", "no:cacheprovider", *arguments]
    done = subprocess.run([*command, *options], cwd=folder, capture_output=True, text=True)
    return done.returncode, done.stdout + done.stderr


def test_a_run_without_failures_is_a_success_and_runs_once(tmp_path: Path) -> None:
    (tmp_path / "test_a.py").write_text(GOOD)
    code, said = retry(tmp_path)
    assert code == 0
    assert said.count("1 passed") == 1
    assert "trying again" not in said


def test_what_fails_twice_is_a_failure(tmp_path: Path) -> None:
    (tmp_path / "test_a.py").write_text(GOOD + BAD)
    code, said = retry(tmp_path)
    assert code == 1
    assert "failed 2 times: test_a.py::test_bad\n" in said
    assert "passed at" not in said


def test_a_flake_is_listed_and_fails_the_run(tmp_path: Path) -> None:
    """Also where the first run named files: the second runs only what failed."""
    (tmp_path / "test_a.py").write_text(GOOD + FLAKY)
    code, said = retry(tmp_path, "test_a.py")
    assert code == 1
    assert "passed at try 2 only: test_a.py::test_flaky[1] (not a known flake)" in said
    assert "2 needed more than one try: mend them, or list them" in said
    assert "2 failed, 1 passed" in said
    assert "2 passed in" in said


@pytest.mark.parametrize(("allowed", "code"), [(1, 1), (2, 0)])
def test_a_shared_machine_may_need_a_few_second_tries(
    tmp_path: Path, allowed: int, code: int
) -> None:
    (tmp_path / "test_a.py").write_text(FLAKY)
    result, said = retry(tmp_path, f"--allow={allowed}")
    assert result == code
    assert "passed at try 2 only: test_a.py::test_flaky[2] (not a known flake)" in said


def test_a_third_try_is_for_what_failed_twice(tmp_path: Path) -> None:
    """What has passed is not run again."""
    third = """
import pathlib

def test_third():
    with pathlib.Path("tries").open("a+") as tries:
        tries.write(".")
        tries.seek(0)
        assert len(tries.read()) == 3
"""
    (tmp_path / "test_a.py").write_text(FLAKY + third)
    code, said = retry(tmp_path, "--tries=3", "--allow=3")
    assert code == 0
    assert "passed at try 2 only: test_a.py::test_flaky[1] (not" in said
    assert "passed at try 3 only: test_a.py::test_third (not" in said
    assert "1 passed in" in said


def test_a_known_flake_is_listed_with_its_reason_and_passes(tmp_path: Path) -> None:
    """An id without parameters stands for all of them."""
    (tmp_path / "test_a.py").write_text(FLAKY)
    code, said = retry(tmp_path, known="test_a.py::test_flaky # the moon\n")
    assert code == 0
    assert "passed at try 2 only: test_a.py::test_flaky[2] (the moon)" in said


def test_a_known_flake_that_fails_twice_is_a_failure(tmp_path: Path) -> None:
    (tmp_path / "test_a.py").write_text(BAD)
    code, said = retry(tmp_path, known="test_a.py::test_bad # the moon\n")
    assert (code, "failed 2 times" in said) == (1, True)


def test_a_file_that_cannot_be_loaded_is_no_success(tmp_path: Path) -> None:
    (tmp_path / "test_a.py").write_text("import nothing_of_this_name\n")
    code, _ = retry(tmp_path)
    assert code != 0


def test_files_and_folders_run_at_once_and_are_judged_together(tmp_path: Path) -> None:
    """Each waits for the other's sign, which it would not see if one ran after the other."""
    waiting = """
import pathlib, time

def test_both_run():
    pathlib.Path("{mine}").touch()
    while not pathlib.Path("{other}").exists():
        time.sleep(0.02)
"""
    (tmp_path / "slow").mkdir()
    (tmp_path / "test_a.py").write_text(waiting.format(mine="a", other="b"))
    (tmp_path / "slow/test_b.py").write_text(waiting.format(mine="b", other="a") + BAD)
    code, said = retry(tmp_path, "--at-once=2", "slow", "test_a.py")
    assert code == 1
    assert "failed 2 times: slow/test_b.py::test_bad\n" in said
    assert said.count("= 1 passed in") == 1
    assert said.count("1 failed, 1 passed in") == 1


def test_who_names_no_folders_has_one_run_however_many_may_go_at_once(tmp_path: Path) -> None:
    (tmp_path / "test_a.py").write_text(GOOD)
    code, said = retry(tmp_path, "--at-once=3")
    assert code == 0
    assert said.count("1 passed") == 1


def test_who_ends_the_run_ends_all_of_it(tmp_path: Path) -> None:
    """SIGTERM to the command alone, as a supervisor sends it."""
    shutil.copy(Path(__file__).parents[1] / "conftest.py", tmp_path)
    (tmp_path / "pytest.ini").touch()
    (tmp_path / "slow").mkdir()
    for name in ("test_a", "slow/test_b", "test_c"):
        (tmp_path / f"{name}.py").write_text(LONG.format(mark=Path(name).name))
    command = [sys.executable, "-m", "swarmlite.testing.retry", "--at-once=2"]
    parts = ["slow", "test_a.py", "test_c.py"]
    running = subprocess.Popen([*command, "-p", "no:cacheprovider", *parts], cwd=tmp_path)
    while not all((tmp_path / f"{mark}.up").exists() for mark in ("test_a", "test_b")):
        time.sleep(0.02)
    running.terminate()
    assert running.wait() == pytest.ExitCode.INTERRUPTED
    assert all((tmp_path / f"{mark}.down").exists() for mark in ("test_a", "test_b"))
    assert not (tmp_path / "test_c.up").exists()


def test_a_folder_without_tests_is_no_failure_beside_others(tmp_path: Path) -> None:
    (tmp_path / "none").mkdir()
    (tmp_path / "test_a.py").write_text(GOOD)
    assert retry(tmp_path, "--at-once=2", "none", "test_a.py")[0] == 0
    assert retry(tmp_path, "--at-once=2", "none")[0] == pytest.ExitCode.NO_TESTS_COLLECTED


def test_no_tests_is_pytests_own_exit_code(tmp_path: Path) -> None:
    assert retry(tmp_path)[0] == pytest.ExitCode.NO_TESTS_COLLECTED


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("test_a.py::test_good\n", "known.txt:1: no reason; expected TEST_ID # REASON"),
        ("# a comment\n\ntest_a.py::test_gone # x\n", "known.txt:3: there is no test test_a.py::"),
        ("test_b.py::test_good # x\n", "there is no test test_b.py::test_good: remove the line"),
    ],
)
def test_a_wrong_line_of_the_list_is_refused_before_anything_runs(
    tmp_path: Path, line: str, why: str
) -> None:
    (tmp_path / "test_a.py").write_text(GOOD)
    code, said = retry(tmp_path, known=line)
    assert code == pytest.ExitCode.USAGE_ERROR
    assert why in said
    assert "passed" not in said
