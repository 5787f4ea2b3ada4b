"""What the caller is told: errors and warnings, on stderr and in the file of `--log`."""

from __future__ import annotations

import os
import time

from swarmlite.runtime import lean

_log = ""
_format = "text"


def begin(log: str, log_format: str) -> None:
    """Where they go from now on."""
    global _log, _format
    _log, _format = log, log_format


def error(text: str) -> None:
    """Why the command fails; one line."""
    os.write(2, f"swarmlite-runtime: {text}\n".encode())
    _write("error", text)


def warn(text: str) -> None:
    """What was asked for and is left out. With a log it stands there only."""
    if not _log:
        os.write(2, f"swarmlite-runtime: warning: {text}\n".encode())
    _write("warning", text)


def _write(level: str, text: str) -> None:
    if not _log:
        return
    stamp = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    line = lean.dumps({"level": level, "msg": text, "time": stamp})
    if _format == "text":
        line = f"time={lean.dumps(stamp)} level={level} msg={lean.dumps(text)}"
    try:
        fd = os.open(_log, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError:
        return  # the caller's folder may be gone; stderr has it
    os.write(fd, (line + "\n").encode())
    os.close(fd)
