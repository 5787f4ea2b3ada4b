"""`make bench`: every comparison in one run, printed as a table; 1 when a goal is missed."""

from __future__ import annotations

import argparse
import os
import signal
import sys
import tempfile
from pathlib import Path

from . import (
    api,
    commands,
    control_plane,
    crowd,
    engine,
    idle,
    images,
    large,
    managers,
    network,
    page,
    progress,
    replicas,
    self_check,
    stacks,
    start_latency,
    updates,
)
from .docker_peer import DockerPeer
from .swarmlite_host import SwarmliteHost
from .table import Row, render

PARTS = (
    "start", "calls", "engine", "commands", "images", "replicas", "stacks", "updates", "api",
    "control-plane", "progress", "page",
)  # fmt: skip
NETWORK = {f"network-{part}": part for part in network.PARTS}
LONG = ("large", "idle", "network", "crowd", "self-check", *managers.PARTS)
"""Parts that take minutes: only when they are named."""
ON_OUR_HOST = {
    "calls",
    "engine",
    "commands",
    "replicas",
    "stacks",
    "updates",
    "crowd",
    "api",
    *images.BESIDE_DOCKER,
}


def _ended(number: int, frame: object) -> None:
    raise KeyboardInterrupt("ended by SIGTERM")


def main() -> int:
    """Run the named parts, all by default. Whoever ends it has its hosts taken down first."""
    signal.signal(signal.SIGTERM, _ended)
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs ignore it
    parser = argparse.ArgumentParser(prog="python -m benchmarks")
    words = (
        f"of {', '.join((*PARTS, *LONG))}, of network's {', '.join(NETWORK)}, or of images' "
        f"{', '.join(images.PARTS)}"
    )
    parser.add_argument(
        "part", nargs="*", help=f"{words}; all but {' and '.join(LONG)} when none is named"
    )
    parts = set(parser.parse_args().part or PARTS)
    if unknown := parts - {*PARTS, *LONG, *NETWORK, *images.PARTS}:
        parser.error(f"unknown part {', '.join(unknown)}: one {words}")
    if "images" in parts and not parts & set(images.PARTS):
        parts |= set(images.PARTS)
    if os.geteuid() != 0:
        print("the benchmarks make namespaces: run them as root, or with sudo", file=sys.stderr)
        return 1
    wires = {of for name, of in NETWORK.items() if parts & {name, "network"}}
    rows: list[Row] = []
    if parts & {"start", *ON_OUR_HOST}:
        with DockerPeer() as docker, tempfile.TemporaryDirectory() as folder:
            docker.import_image(start_latency.rootfs(Path(folder) / "root"), "bench")
            if "start" in parts:
                rows += start_latency.measure(docker, "bench")
            if parts & ON_OUR_HOST:
                with SwarmliteHost() as ours:
                    if "calls" in parts:
                        rows += engine.measure_calls(docker, ours, "bench")
                    if "engine" in parts:
                        rows += engine.measure(docker, ours, "bench")
                    if "commands" in parts:
                        rows += commands.measure(docker, ours, "bench")
                    if beside := parts & set(images.BESIDE_DOCKER):
                        rows += images.measure(docker, ours, beside)
                    if "replicas" in parts:
                        rows += replicas.measure(docker, ours, "bench")
                    if "stacks" in parts:
                        rows += stacks.measure(docker, ours, "bench")
                    if "updates" in parts:
                        rows += updates.measure(docker, ours, "bench")
                    if "crowd" in parts:
                        rows += crowd.measure(ours)
                    if "api" in parts:
                        rows += api.measure(docker, ours, "bench")
    if wires:
        rows += network.measure(wires)
    if alone := parts & (set(images.PARTS) - set(images.BESIDE_DOCKER)):
        rows += images.measure(None, None, alone)
    others = {
        "control-plane": control_plane,
        "progress": progress,
        "page": page,
        "large": large,
        "idle": idle,
        "self-check": self_check,
    }
    for name, part in others.items():
        if name in parts:
            rows += part.measure()
    for name, measure in managers.PARTS.items():
        if name in parts:
            rows += measure()
    print(render(rows))
    return 1 if any(row.met is False for row in rows) else 0


if __name__ == "__main__":
    sys.exit(main())
