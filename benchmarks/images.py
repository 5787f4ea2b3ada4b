"""Images beside Docker's engine, in parts: `python -m benchmarks pull push build carry layer`."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Collection
from pathlib import Path

from . import builds, carrying, transfers
from .docker_peer import DockerPeer
from .saying import say
from .swarmlite_host import SwarmliteHost
from .table import Row

BESIDE_DOCKER = ("pull", "push", "build")
PARTS = (*BESIDE_DOCKER, "carry", "layer")
ROUNDS = int(os.environ.get("SWARMLITE_BENCH_ROUNDS", "3"))


def measure(
    docker: DockerPeer | None, ours: SwarmliteHost | None, parts: Collection[str]
) -> list[Row]:
    """The rows of these PARTS; both engines are there where one of them is BESIDE_DOCKER."""
    rows: list[Row] = []
    needs_image = {"pull", "push", "carry"} & set(parts)
    with contextlib.ExitStack() as stack:
        if needs_image:
            say("an image of 200 MB in ten layers is made")
        image = transfers.built() if needs_image else None
        if docker is not None and ours is not None:
            if image is not None and {"pull", "push"} & set(parts):
                folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="swl-bench-img-"))
                rows += transfers.measure(docker, ours, image, Path(folder), parts, ROUNDS)
            if "build" in parts:
                rows += builds.measure(docker, ours, ROUNDS)
        if {"carry", "layer"} & set(parts):
            rows += carrying.measure(image, large="layer" in parts)
    return rows
