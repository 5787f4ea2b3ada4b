"""The daemon's children: started, watched, started again with back-off, ended with the daemon."""

from __future__ import annotations

import asyncio
import logging
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from swarmlite.kernel.processes import die_with_parent

log = logging.getLogger(__name__)

BACK_OFF_S = (0.1, 10.0)
STEADY_S = 10.0
"""A child that ran this long starts again without delay."""
GRACE_S = 10.0


class Child:
    """One process that is to run as long as the daemon wants it."""

    def __init__(
        self,
        name: str,
        command: Callable[[], Sequence[str]],
        logs_dir: Path,
        debug: bool = False,
        *,
        pass_fds: Sequence[int] = (),
    ) -> None:
        """`command` is asked again at each start; it finds `pass_fds` open."""
        self.name = name
        self.pid: int | None = None
        self.restarts = 0
        self.last_exit = ""
        self.hindrance = ""
        """Why it cannot start, while it cannot."""
        self._command = command
        self._log = logs_dir / f"{name}.log"
        self._debug = debug
        self._pass_fds = pass_fds
        self._keeper: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Keep it running from now on; nothing when it is kept already."""
        if self._keeper is None:
            self._keeper = asyncio.create_task(self._keep(), name=f"child {self.name}")

    async def stop(self) -> None:
        """SIGTERM, after GRACE_S SIGKILL; returns once it is gone."""
        keeper, self._keeper = self._keeper, None
        self.hindrance = ""
        if keeper is not None:
            keeper.cancel()
            await asyncio.gather(keeper, return_exceptions=True)

    async def _keep(self) -> None:
        delay_s = BACK_OFF_S[0]
        while True:
            begun = time.monotonic()
            try:
                await self._run_once()
            except OSError as error:
                self.last_exit = self.hindrance = str(error)
                log.error("%s cannot start: %s", self.name, error)
            if time.monotonic() - begun > STEADY_S:
                delay_s = BACK_OFF_S[0]
            self.restarts += 1
            await asyncio.sleep(delay_s)
            delay_s = min(2 * delay_s, BACK_OFF_S[1])

    async def _run_once(self) -> None:
        # To append: `rotation` empties the file under whoever writes it.
        with self._log.open("ab") as output:
            process = await asyncio.create_subprocess_exec(
                *self._command(),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE if self._debug else output,
                stderr=asyncio.subprocess.STDOUT,
                start_new_session=True,  # a terminal's Ctrl-C is the daemon's to handle
                # The daemon is single-threaded, so running Python before exec is safe.
                preexec_fn=die_with_parent,
                pass_fds=self._pass_fds,
            )
            self.pid, self.hindrance = process.pid, ""
            log.info("%s started, pid %d", self.name, process.pid)
            try:
                if process.stdout is not None:
                    async for line in process.stdout:
                        output.write(line)
                        output.flush()
                        sys.stderr.buffer.write(f"{self.name}: ".encode() + line)
                        sys.stderr.buffer.flush()
                code = await process.wait()
                self.last_exit = f"exit {code}"
                log.warning("%s ended with %d; its log is %s", self.name, code, self._log)
            finally:
                self.pid = None
                await end(process)


async def end(process: asyncio.subprocess.Process) -> None:
    """Term, grace, kill, reap; nothing when it has ended."""
    if process.returncode is not None:
        return
    process.terminate()
    try:
        async with asyncio.timeout(GRACE_S):
            await process.wait()
    except TimeoutError:
        process.kill()
        await process.wait()
