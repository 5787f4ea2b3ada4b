"""Which log a container gets, from what its creator asked for."""

from __future__ import annotations

from swarmlite import errors
from swarmlite.runtime.supervisor.lines import Log
from swarmlite.runtime.supervisor.logfiles import FileLog

TYPE_CHECKING = False
if TYPE_CHECKING:
    from swarmlite.runtime.supervisor.loop import Loop
    from swarmlite.runtime.supervisor.remoteformats import Format


def open_log(loop: Loop, wanted: dict) -> Log | None:  # type: ignore[type-arg]
    """The log that `client.Log` describes; None to drop everything.

    Raises FailedPrecondition when its file cannot be made, or nobody listens where it should go.
    """
    try:
        file = _open_file(wanted.get("file"))
    except OSError as error:
        raise errors.FailedPrecondition(
            f"failed to initialize logging driver: {error.filename}: {error.strerror}"
        ) from error
    if "remote" not in wanted:
        return file
    return _open_remote(loop, wanted, file)


def _open_file(wanted: dict | None) -> FileLog | None:  # type: ignore[type-arg]
    if wanted is None:
        return None
    return FileLog(
        str(wanted["path"]), int(wanted["max_bytes"]), int(wanted["max_files"]),
        bool(wanted["compress"]), wanted.get("attrs"),
    )  # fmt: skip


def _open_remote(loop: Loop, wanted: dict, file: FileLog | None) -> Log:  # type: ignore[type-arg]
    """Loaded when first asked for: most hosts never do."""
    from swarmlite.runtime.supervisor import remoteformats, remotelogs

    remote = wanted["remote"]
    form: Format
    if remote["kind"] == "journald":
        form = remoteformats.Journald(remote["fields"])
    elif remote["kind"] == "syslog":
        form = remoteformats.Syslog(remote)
    else:
        raise errors.InvalidSpec(f"log.remote: unknown kind {remote['kind']!r}")
    blocking, limit = bool(wanted["blocking"]), int(wanted["max_buffer_bytes"])
    log = remotelogs.RemoteLog(loop, form, file, blocking, limit)
    try:
        log.open()
    except OSError as error:
        log.close()
        raise errors.FailedPrecondition(
            f"failed to initialize logging driver: {form.name}: {error.strerror}"
        ) from error
    return log
