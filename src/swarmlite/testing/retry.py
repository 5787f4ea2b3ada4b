"""Runs pytest, and tries again what failed: what then passes is a flake, and no success.

`python -m swarmlite.testing.retry [--known FILE] [--allow N] [--tries N] [--beside FOLDER]...
[PYTEST ARGUMENT...]`. What is in the FOLDERs runs in a pytest of its own beside the rest, and is
printed when both have ended; further tries, up to `--tries` of each test (2), run one after the
other. The exit code is pytest's, and 1 when more than `--allow` tests (none) needed a further try,
besides those that FILE (tests/known_flakes.txt) names. A line of FILE is a test's id and, behind
" # ", the reason why it is not mended yet; an id without brackets stands for all its parameters.
What was tried again is listed in any case. Both numbers are for a machine that others share, on
which the kernel's time is not ours.
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
from collections.abc import Iterator, Sequence
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
    beside: Sequence[str] = (),
) -> int:
    """Run, try again, judge; the exit code."""
    runs = [Run([*arguments, *(f"--ignore={folder}" for folder in beside)])]
    if beside:
        runs.append(Run([*_options(arguments), *beside], aside=True))
    with ending_together(runs):
        codes = [each.wait() for each in runs]
    failed = [test for each in runs for test in each.failed]
    for code in codes:
        if code not in (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED):
            return code
    if not failed:
        return max(codes)
    still, flakes = failed, dict[str, int]()
    for attempt in range(2, tries + 1):
        print(f"\ntrying again what failed: {len(still)}", flush=True)
        again = Run([*_options(arguments), *still])
        with ending_together([again]):
            again.wait()
        flakes |= {test: attempt for test in still if test not in again.failed}
        still = [test for test in still if test in again.failed]
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


class Run:
    """One pytest; `aside` keeps what it says until it has ended. `failed` are test ids, then."""

    def __init__(self, arguments: Sequence[str], aside: bool = False) -> None:
        self._folder = tempfile.TemporaryDirectory()
        self._record = Path(self._folder.name, "failed.json")
        self._said = tempfile.TemporaryFile() if aside else None  # noqa: SIM115
        self.failed: list[str] = []
        command = [sys.executable, "-m", "pytest", "-p", "swarmlite.testing.retry", *arguments]
        self.process = subprocess.Popen(
            command, env={**os.environ, _RECORD: str(self._record)}, stdout=self._said
        )

    def wait(self) -> int:
        """pytest's exit code."""
        code = self.process.wait()
        if self._said is not None:
            self._said.seek(0)
            shutil.copyfileobj(self._said, sys.stdout.buffer)
            self._said.close()
            sys.stdout.flush()
        if self._record.is_file():
            self.failed = json.loads(self._record.read_text())
        self._folder.cleanup()
        return code


@contextlib.contextmanager
def ending_together(runs: Sequence[Run]) -> Iterator[None]:
    """Who ends this command ends them: each takes down what it made, and is waited for."""

    def end(_number: int, _frame: object) -> None:
        for each in runs:
            each.process.send_signal(signal.SIGTERM)

    before = {number: signal.signal(number, end) for number in (signal.SIGTERM, signal.SIGHUP)}
    # A terminal sends its own to all of them; to send it again would interrupt the clearing up.
    before[signal.SIGINT] = signal.signal(signal.SIGINT, lambda *_: None)
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
    parser.add_argument("--beside", action="append", default=[])
    options, rest = parser.parse_known_args(arguments)
    try:
        known = known_flakes(options.known)
    except InvalidSpec as error:
        print(error, file=sys.stderr)
        return int(pytest.ExitCode.USAGE_ERROR)
    return run(rest, known, options.allow, options.tries, options.beside)


if __name__ == "__main__":
    sys.exit(main())
