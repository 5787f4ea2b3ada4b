"""Generates the stubs beside the .proto files: `python -m swarmlite.proto.generate [DESTINATION]`.

Needs grpcio-tools and mypy-protobuf (the `dev` extra). A test runs it into a scratch folder and
compares, so that stubs that are stale are seen.
"""

from __future__ import annotations

import sys
from importlib.resources import files
from pathlib import Path

ROOM = Path(__file__).parent


def generate(destination: Path) -> None:
    """Write every stub (messages, services and their types) below `destination`/swarmlite/proto.

    Raises RuntimeError when protoc refuses a file; what it says is on stderr.
    """
    from grpc_tools import protoc

    include = [f"-I{ROOM.parent.parent}", f"-I{files('grpc_tools') / '_proto'}"]
    messages = sorted(ROOM.glob("*.proto"))
    services = [path for path in messages if "\nservice " in path.read_text()]
    for sources, outputs in (
        (messages, ("--python_out=", "--mypy_out=quiet:")),
        (services, ("--grpc_python_out=", "--mypy_grpc_out=quiet:")),
    ):
        names = [f"swarmlite/proto/{path.name}" for path in sources]
        if protoc.main(["protoc", *include, *(f"{out}{destination}" for out in outputs), *names]):
            raise RuntimeError("protoc failed")


if __name__ == "__main__":
    generate(Path(sys.argv[1]) if len(sys.argv) > 1 else ROOM.parent.parent)
