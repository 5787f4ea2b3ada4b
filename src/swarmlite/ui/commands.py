"""Commands that the page runs for somebody: `swarmlite stack ...`, as a user of that role.

Each is a process of its own: reading a file of megabytes keeps no page waiting, and what it may
cost is bounded. It gets nothing of this process's environment but the way to the manager.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass

from swarmlite.errors import Unavailable
from swarmlite.paths import Paths
from swarmlite.ui.signing import Session

TIMEOUT_S = 120.0
AT_ONCE = 2
MAX_OUTPUT = 1 << 20
KEPT = ("PATH", "LANG", "PYTHONPATH", "PYTHONDONTWRITEBYTECODE", "LD_LIBRARY_PATH")


@dataclass(frozen=True)
class Ran:
    """What became of a command."""

    status: int
    output: str
    errors: str


class Commands:
    """Runs a few at once; the others wait."""

    def __init__(self, paths: Paths) -> None:
        """`paths` are this node's."""
        self._environment = {key: os.environ[key] for key in KEPT if key in os.environ} | {
            "SWARMLITE_STATE_DIR": str(paths.state_dir),
            "SWARMLITE_RUN_DIR": str(paths.run_dir),
            "HOME": "/nonexistent",  # root's credentials of registries are not everybody's
        }
        self._turns = asyncio.Semaphore(AT_ONCE)

    async def run(self, session: Session, words: Sequence[str], given: bytes = b"") -> Ran:
        """`swarmlite WORDS...` with `given` as its standard input.

        Raises Unavailable where it takes too long; it is ended then, and when this is cancelled.
        """
        async with self._turns:
            process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "swarmlite.cli", *words, cwd="/",
                env=self._environment | {"SWARMLITE_ACT_AS": session.role},
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
            )  # fmt: skip
            try:
                async with asyncio.timeout(TIMEOUT_S):
                    output, errors = await process.communicate(given)
            except TimeoutError as error:
                raise Unavailable(
                    f"`swarmlite {words[0]} {words[1]}` takes longer than {TIMEOUT_S:g} s"
                ) from error
            finally:
                with contextlib.suppress(ProcessLookupError):
                    process.kill()
                await process.wait()
        return Ran(process.returncode or 0, _text(output), _text(errors))


def _text(data: bytes) -> str:
    return data[:MAX_OUTPUT].decode(errors="replace")
