"""How many programs of a runtime validation suite are clean, for each OCI runtime that is named.

    python -m benchmarks.oci_conformance FOLDER RUNTIME...

FOLDER is where the programs of the OCI's runtime-tools were built: `validation/*/*.t`, and beside
them `runtimetest` and the root file system that they unpack. A program is clean when it exits 0 and
prints TAP in which nothing is "not ok". Each runs on a machine of namespaces of its own.
"""

from __future__ import annotations

import argparse
import re
import subprocess
from pathlib import Path

from swarmlite.testing.namespaces import Machine

TIMEOUT_S = 60
NOT_OK = re.compile(r"^\s*not ok\b(?!.*#\s*(?:TODO|SKIP))", re.MULTILINE | re.IGNORECASE)
OK = re.compile(r"^\s*ok\b", re.MULTILINE)
#: Debian's crun refuses hosts whose v2 hierarchy has no controller, unless it does not see it; then
#: it makes folders in its place.
PREPARE = (
    "test ! -d /sys/fs/cgroup/unified || mount -t tmpfs none /sys/fs/cgroup/unified;"
    'cd "$1"; exec "$0"'
)


class Result:
    """How one program went: `clean`, and what is wrong if it is not."""

    def __init__(self, name: str, code: int | None, output: str) -> None:
        self.name = name
        self.failed = NOT_OK.findall(output)
        self.clean = code == 0 and not self.failed and OK.search(output) is not None
        self.output = output
        self.code = code


def run_program(folder: Path, program: Path, runtime: str) -> Result:
    """One program of the suite."""
    machine = Machine("conformance")
    command = ["env", f"RUNTIME={runtime}", "sh", "-c", PREPARE, str(program), str(folder)]
    try:
        process = subprocess.Popen(
            machine.enter(command), stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace",
        )  # fmt: skip
        try:
            output, _ = process.communicate(timeout=TIMEOUT_S)
        except subprocess.TimeoutExpired:
            machine.kill()  # whatever holds the pipe goes with it
            output, _ = process.communicate()
            return Result(program.stem, None, output + "\nnot ok: it did not end\n")
        return Result(program.stem, process.returncode, output)
    finally:
        machine.kill()


def main() -> None:
    """Print a line a program, and the counts."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("runtime", nargs="+")
    parser.add_argument("--only", default="", help="programs whose names contain this")
    parser.add_argument("--verbose", action="store_true", help="print what programs said")
    options = parser.parse_args()
    folder = options.folder.resolve()
    programs = sorted(folder.glob("validation/*/*.t"))
    chosen = [program for program in programs if options.only in program.stem]
    for runtime in options.runtime:
        results = []
        for program in chosen:
            result = run_program(folder, program, runtime)
            results.append(result)
            word = "clean" if result.clean else f"{len(result.failed)} failed, exit {result.code}"
            print(f"{runtime}: {result.name}: {word}", flush=True)
            if options.verbose and not result.clean:
                print(result.output)
        clean = sum(result.clean for result in results)
        print(f"{runtime}: {clean} of {len(results)} clean", flush=True)


if __name__ == "__main__":
    main()
