"""Starts swarmlite-runtime: `python -I -S .../command/__main__.py COMMAND...`, or its script.

It runs itself again from a read-only mount of the interpreter before it makes what joins a
container; commands that make nothing are spared that.
"""

from __future__ import annotations

import sys

if not __package__:
    sys.path[:] = [p for p in sys.path if p != __file__.rsplit("/", 1)[0]]
    sys.path.insert(0, __file__.rsplit("/", 4)[0])  # .../src

import gc
import posix

TYPE_CHECKING = False
if TYPE_CHECKING:
    from swarmlite.runtime.command import options

SEALED = "--sealed"
MAKE_PROCESSES = ("create", "run", "exec")


def main(words: list[str] | None = None) -> None:
    """The script; ends the process with the command's exit code."""
    gc.disable()  # nothing lives long enough to be collected
    words = sys.argv[1:] if words is None else words
    sealed = words[:1] == [SEALED]
    words = words[1:] if sealed else words
    not_sealed = "" if sealed else _seal(words)

    from swarmlite import errors
    from swarmlite.runtime.command import notices, options, packed

    try:
        chosen = options.parse(words)
    except errors.InvalidSpec as error:
        sys.exit(f"swarmlite-runtime: {error}")
    if chosen.command in ("help", "version"):
        print(options.text(chosen.command))
        return
    notices.begin(chosen.log, chosen.log_format)
    try:
        if posix.geteuid() != 0:
            raise errors.PermissionDenied("must be run as root")
        if not_sealed and chosen.command in MAKE_PROCESSES:
            notices.warn(f"the interpreter is not sealed: {not_sealed}")
        packs = sealed and chosen.command in MAKE_PROCESSES
        found = packs and packed.use(chosen.command)
        code = _run(chosen)
        if packs and not found:
            packed.keep(chosen.command)
    except (errors.SwarmliteError, OSError) as error:
        notices.error(str(error))
        code = 1
    sys.stdout.flush()
    posix._exit(code)  # nothing is left to be tidied that the kernel does not tidy faster


def _seal(words: list[str]) -> str:
    """Before anything else is loaded; why not, if it cannot be done.

    A word that looks like a command that makes processes, and is none, costs a start more.
    """
    if not any(word in MAKE_PROCESSES for word in words):
        return ""
    from swarmlite.runtime import sealing

    try:
        sealing.seal(__file__, words, [b"=".join(entry) for entry in posix.environ.items()])
    except OSError as error:
        return str(error)
    raise AssertionError("unreachable: the program was replaced")


def _run(chosen: options.Options) -> int:
    """Only what a command needs is loaded."""
    if chosen.command in ("create", "run"):
        from swarmlite.runtime.command import create

        return create.run(chosen) if chosen.command == "run" else create.create(chosen)
    if chosen.command == "exec":
        from swarmlite.runtime.command import execute

        return execute.execute(chosen)
    if chosen.command in ("features", "spec"):
        from swarmlite.runtime.command import describing

        return describing.COMMANDS[chosen.command](chosen)
    from swarmlite.runtime.command import lifecycle

    return lifecycle.COMMANDS[chosen.command](chosen)


if __name__ == "__main__":
    main()
