"""Which log a container gets, from what its creator asked for."""

from __future__ import annotations

from swarmlite.runtime.supervisor.lines import Log
from swarmlite.runtime.supervisor.logfiles import FileLog

TYPE_CHECKING = False
if TYPE_CHECKING:
    from swarmlite.runtime.supervisor.loop import Loop


def open_log(loop: Loop, wanted: dict) -> Log | None:  # type: ignore[type-arg]
    """The log that `client.Log` describes; None to drop everything. Raises OSError."""
    file = wanted.get("file")
    if file is None:
        return None
    return FileLog(
        str(file["path"]), int(file["max_bytes"]), int(file["max_files"]),
        bool(file["compress"]), file.get("attrs"),
    )  # fmt: skip
