"""The unpacker's process: `python -I -S unpack/__main__.py`, one layer after the other.

Each line of standard input is a job in JSON, {"path", "offset", "length", "target", "base",
"markers", "limits", "libraries"}; each is answered by a line on standard output, {"ok": {...}} or
{"bad"|"big"|"os": message, "errno"}, and one that went wrong is the last. `libraries` is where
zstandard and isal lie. Ends with its input, and with its parent.
"""

from __future__ import annotations

import errno
import gc
import json
import os
import resource
import sys
from pathlib import Path
from typing import Any

sys.path.append(str(Path(__file__).resolve().parents[4]))

from swarmlite.kernel import processes
from swarmlite.storage.images.types import Limits
from swarmlite.storage.images.unpack.errors import BadLayer, TooBig
from swarmlite.storage.images.unpack.extract import Extractor
from swarmlite.storage.images.unpack.streams import FilePart, Hashed, decompressed
from swarmlite.storage.images.unpack.tar import TarReader

_GARBAGE = 50_000  # objects


def main() -> None:
    """Do the jobs of standard input and say how each went."""
    processes.die_with_parent()
    gc.freeze()  # members of a tar are no cycles, and there are a million of them
    gc.set_threshold(_GARBAGE)
    while line := sys.stdin.buffer.readline():
        job = json.loads(line)
        if job["libraries"] not in sys.path:
            sys.path.append(job["libraries"])
        outcome = _outcome(job)
        print(json.dumps(outcome), flush=True)
        if "ok" not in outcome:
            break


def _outcome(job: dict[str, Any]) -> dict[str, Any]:
    try:
        return {"ok": _unpack(job)}
    except BadLayer as error:
        return {"bad": str(error)}
    except TooBig as error:
        return {"big": str(error)}
    except RecursionError:
        return {"bad": "its directories nest too deeply"}
    except MemoryError:
        return {"big": "unpacking it takes too much memory"}
    except OSError as error:
        return {"os": error.strerror or str(error), "errno": error.errno or errno.EIO}


def _unpack(job: dict[str, Any]) -> dict[str, Any]:
    limits = Limits(**job["limits"])
    os.umask(0)
    hard = resource.getrlimit(resource.RLIMIT_AS)[1]
    if hard == resource.RLIM_INFINITY or hard > limits.memory_bytes:
        resource.setrlimit(resource.RLIMIT_AS, (limits.memory_bytes, hard))
    blob = os.open(job["path"], os.O_RDONLY | os.O_CLOEXEC)
    root = os.open(job["target"], os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        stream = Hashed(decompressed(FilePart(blob, job["offset"], job["length"])), limits.bytes)
        extractor = Extractor(root, limits, base=job["base"], markers=job["markers"], exact=True)
        extractor.run(TarReader(stream))
        stream.drain()
    finally:
        os.close(root)
        os.close(blob)
    return {
        "diff_id": stream.digest,
        "size_bytes": extractor.size_bytes,
        "entries": extractor.entries,
        "implied": extractor.implied,
    }


if __name__ == "__main__":
    main()
