"""Runs pytest, and tries again what failed: what then passes is a flake, and no success.

`python -m swarmlite.testing.retry [--known FILE] [--allow N] [--tries N] [--at-once N]
[PYTEST ARGUMENT...]`. With `--at-once` above 1 each file and folder among the arguments has a
pytest of its own, so many at a time, begun in their order (the longest first) and printed as they
end; further tries, up to `--tries` of each test (2), run one after the other. The exit code is
pytest's, and 1 when more than `--allow` tests (none) needed a further try, besides those that FILE
(tests/known_flakes.txt) names. A line of FILE is a test's id and, behind " # ", the reason why it
is not mended yet; an id without brackets stands for all its parameters. What was tried again is
listed in any case. Both numbers are for a machine that others share, on which the kernel's time is
not ours.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from swarmlite.errors import InvalidSpec

KNOWN = Path("tests/known_flakes.txt")
_RECORD = "SWARMLITE_RETRY_RECORD"
_failed: dict[str, None] = {}


# The plug-in's half, in pytest's process.
def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Note each test that fails, in whichever phase."""
    if report.failed:
        _failed[report.nodeid] = None


def pytest_collectreport(report: pytest.CollectReport) -> None:
    """A file that cannot be loaded fails as a whole."""
    if report.failed:
        _failed[report.nodeid] = None


def pytest_sessionfinish() -> None:
    """Hand over what failed."""
    Path(os.environ[_RECORD]).write_text(json.dumps(list(_failed)))


# The command's half.
def known_flakes(path: Path) -> dict[str, str]:
    """Reasons by test id. Raises InvalidSpec for a line without a reason or of no test."""
    found = {}
    lines = path.read_text().splitlines() if path.is_file() else []
    for number, line in enumerate(lines, 1):
        if not line.strip() or line.startswith("#"):
            continue
        test, mark, reason = line.partition(" # ")
        file, _, name = test.strip().partition("::")
        where = f"{path}:{number}"
        if not mark or not reason.strip():
            raise InvalidSpec(f"{where}: no reason; expected TEST_ID # REASON")
        function = name.rpartition("::")[2].partition("[")[0]
        if not Path(file).is_file() or f"def {function}(" not in Path(file).read_text():
            raise InvalidSpec(f"{where}: there is no test {test.strip()}: remove the line")
        found[test.strip()] = reason.strip()
    return found


def reason_of(test: str, known: dict[str, str]) -> str | None:
    """Why this test is a known flake, or None."""
    return known.get(test) or known.get(test.partition("[")[0])


def run(
    arguments: Sequence[str],
    known: dict[str, str],
    allowed: int = 0,
    tries: int = 2,
    at_once: int = 1,
) -> int:
    """Run, try again, judge; the exit code."""
    options = _options(arguments)
    codes, failed = once(arguments, at_once)
    for code in codes - {pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED}:
        return code
    if not failed:
        return max(codes)
    still, flakes = failed, dict[str, int]()
    for attempt in range(2, tries + 1):
        print(f"\ntrying again what failed: {len(still)}", flush=True)
        again = _run([[*options, *still]])[1]
        flakes |= {test: attempt for test in still if test not in again}
        still = [test for test in still if test in again]
        if not still:
            break
    for test in still:
        print(f"failed {tries} times: {test}")
    for test, attempt in flakes.items():
        reason = reason_of(test, known) or "not a known flake"
        print(f"passed at try {attempt} only: {test} ({reason})")
    unknown = [test for test in flakes if reason_of(test, known) is None]
    if unknown:
        print(f"{len(unknown)} needed more than one try: mend them, or list them in {KNOWN}")
    return int(pytest.ExitCode.TESTS_FAILED) if still or len(unknown) > allowed else 0


def once(
    arguments: Sequence[str], at_once: int = 1, *, first_failure: bool = False
) -> tuple[set[int], list[str]]:
    """Run everything once: the exit codes, and the ids of what failed.

    With `first_failure` the rest is ended when something failed.
    """
    options = _options(arguments)
    places = [word for word in arguments if word not in options]
    parts = [[*options, place] for place in places] if places and at_once > 1 else [list(arguments)]
    codes, failed = _run(parts, at_once, first_failure)
    # A folder whose tests run only when asked for has none here.
    return codes - {pytest.ExitCode.NO_TESTS_COLLECTED} or codes, failed


def _run(
    parts: Sequence[Sequence[str]], at_once: int = 1, first_failure: bool = False
) -> tuple[set[int], list[str]]:
    """A pytest for each list of arguments: their exit codes, and the ids of what failed."""
    runs = [Run(arguments, aside=len(parts) > 1) for arguments in parts]

    def wait(run: Run) -> int:
        code = run.wait()
        if first_failure and run.failed:
            for each in runs:
                each.end()
        return code

    with ending_together(runs), ThreadPoolExecutor(at_once) as pool:
        codes = set(pool.map(wait, runs))
    return codes, [test for each in runs for test in each.failed]


class Run:
    """One pytest; `aside` keeps what it says until it has ended. `failed` are test ids, then."""

    _printing = threading.Lock()

    def __init__(self, arguments: Sequence[str], aside: bool = False) -> None:
        self._command = [sys.executable, "-m", "pytest", "-p", "swarmlite.testing.retry"]
        self._command += arguments
        self._aside = aside
        self._process: subprocess.Popen[bytes] | None = None
        self._ended = threading.Event()
        self._told = False
        self.failed: list[str] = []

    def wait(self) -> int:
        """Run it; pytest's exit code."""
        with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryFile() as said:
            record = Path(folder, "failed.json")
            if self._ended.is_set():
                return pytest.ExitCode.INTERRUPTED
            self._process = subprocess.Popen(
                self._command,
                env={**os.environ, _RECORD: str(record)},
                stdout=said if self._aside else None,
            )
            if self._ended.is_set():
                self._process.terminate()
            code = self._process.wait()
            if record.is_file():
                self.failed = json.loads(record.read_text())
            said.seek(0)
            with self._printing:
                shutil.copyfileobj(said, sys.stdout.buffer)
                sys.stdout.flush()
        return code

    def end(self) -> None:
        """Let it take down what it made; if it has not begun, it never does."""
        if self._told:
            return  # a second signal would interrupt the clearing up
        self._told = True
        self.begin_no_more()
        if self._process is not None:
            self._process.terminate()

    def begin_no_more(self) -> None:
        """If it has not begun, it never does."""
        self._ended.set()


@contextlib.contextmanager
def ending_together(runs: Sequence[Run]) -> Iterator[None]:
    """Who ends this command ends them: each takes down what it made, and is waited for."""

    def end(_number: int, _frame: object) -> None:
        for each in runs:
            each.end()

    before = {number: signal.signal(number, end) for number in (signal.SIGTERM, signal.SIGHUP)}

    def interrupted(_number: int, _frame: object) -> None:
        # A terminal sends its own to all of them; to send it again would interrupt the clearing up.
        for each in runs:
            each.begin_no_more()

    before[signal.SIGINT] = signal.signal(signal.SIGINT, interrupted)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _options(arguments: Sequence[str]) -> list[str]:
    """What is not the name of a test, file or folder: the second run names its own."""
    return [word for word in arguments if not Path(word.partition("::")[0]).exists()]


def main(arguments: Sequence[str] | None = None) -> int:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m swarmlite.testing.retry", add_help=False)
    parser.add_argument("--known", type=Path, default=KNOWN)
    parser.add_argument("--allow", type=int, default=0)
    parser.add_argument("--tries", type=int, default=2)
    parser.add_argument("--at-once", type=int, default=1)
    options, rest = parser.parse_known_args(arguments)
    try:
        known = known_flakes(options.known)
    except InvalidSpec as error:
        print(error, file=sys.stderr)
        return int(pytest.ExitCode.USAGE_ERROR)
    return run(rest, known, options.allow, options.tries, options.at_once)


if __name__ == "__main__":
    sys.exit(main())
