"""The unpacker's process: `python -I -S unpack/__main__.py`, one layer a run.

Standard input is one JSON line {"path", "offset", "length", "target", "base", "markers", "limits",
"libraries"}; standard output one JSON line, {"ok": {...}} or {"bad"|"big"|"os": message, "errno"}.
`libraries` is where zstandard lies. Ends with its parent.
"""

from __future__ import annotations

import errno
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


def main() -> None:
    """Do the job of standard input and say how it went."""
    processes.die_with_parent()
    job = json.loads(sys.stdin.buffer.readline())
    sys.path.append(job["libraries"])
    print(json.dumps(_outcome(job)))


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
    stream = Hashed(decompressed(FilePart(blob, job["offset"], job["length"])), limits.bytes)
    extractor = Extractor(root, limits, base=job["base"], markers=job["markers"])
    extractor.run(TarReader(stream))
    stream.drain()
    return {
        "diff_id": stream.digest,
        "size_bytes": extractor.size_bytes,
        "entries": extractor.entries,
        "implied": extractor.implied,
    }


if __name__ == "__main__":
    main()
