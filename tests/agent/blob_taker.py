"""python blob_taker.py FOLDER ADDRESS NODE DIGEST TICKET: takes a blob, says in how much memory.

Its growth in KiB, by the kernel: from when all was loaded to the peak. The ticket comes in hex.
"""

from __future__ import annotations

import asyncio
import sys
import time
from pathlib import Path

from swarmlite.agent.carrying.finding import Candidate
from swarmlite.agent.carrying.peers import Channels, channel_to
from swarmlite.kernel.memory import use_one_arena
from swarmlite.proto.blobs_pb2 import FetchBlobRequest

STALL_BYTES, STALL_S = 16 << 20, 0.3


def figure(name: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f"{name}:"))


async def main(folder: str, address: str, node: str, digest: str, ticket: str) -> None:
    channels = Channels(lambda addr, name: channel_to(addr, name, Path(folder)))
    candidate = Candidate(node, address, node)
    request = FetchBlobRequest(digest=digest, ticket=bytes.fromhex(ticket))
    before = 0
    with Path(folder, "taken").open("wb") as file:
        async for part in channels.parts(candidate, request):
            if not before:  # connected, with all that this takes once
                Path("/proc/self/clear_refs").write_text("5")  # the peak begins here: proc(5)
                before = figure("VmRSS")
            await asyncio.to_thread(file.write, part.data)
            if file.tell() % STALL_BYTES < len(part.data):
                time.sleep(STALL_S)  # noqa: ASYNC251 - the whole process waits: what may come ahead comes
    await channels.close()
    print(figure("VmHWM") - before)


if __name__ == "__main__":
    use_one_arena()
    asyncio.run(main(*sys.argv[1:]))
