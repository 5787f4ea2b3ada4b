"""/proc, /sys and /dev of a container: what is reached is judged, and not its name."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from rt_harness import Containers

from swarmlite import errors

Change = Callable[[dict[str, Any]], None]


def adding(source: Path, destination: str, allowed: str | None = None) -> Change:
    """A bind at a place; `allowed`: the places that the caller lets mounts take."""

    def change(spec: dict[str, Any]) -> None:
        spec["mounts"].append(
            {"type": "bind", "source": str(source), "destination": destination,
             "options": ["rbind"]}
        )  # fmt: skip
        if allowed is not None:
            spec["annotations"]["swarmlite.system-mounts"] = allowed

    return change


@pytest.mark.parametrize("target", ["/proc", "/sys", "/dev/shm", "../../proc", "/", "."])
async def test_a_link_of_the_image_leads_no_volume_there(
    containers: Containers, tmp_path: Path, target: str
) -> None:
    """An image's VOLUME /vol, with /vol a link."""
    image, source = tmp_path / "image", tmp_path / "source"
    image.mkdir()
    source.mkdir()
    (image / "vol").symlink_to(target)
    with pytest.raises(errors.FailedPrecondition, match="leads to"):
        await containers.create("true", change=adding(source, "/vol"), lower=image)


@pytest.mark.parametrize("place", ["/proc", "/sys", "/dev", "/dev/shm", "/sys/fs/cgroup"])
async def test_a_place_of_its_own_is_taken_only_with_the_callers_word(
    containers: Containers, tmp_path: Path, place: str
) -> None:
    """What an image or a template names has not got it; a user's own mount has."""
    with pytest.raises(errors.FailedPrecondition, match=r"nothing may cover it|must be a proc"):
        await containers.create("true", change=adding(tmp_path, place, "[]"))
    if place in ("/sys", "/dev/shm"):
        (tmp_path / "theirs").touch()
        change = adding(tmp_path, place, json.dumps(["/other", place]))
        state, output = await containers.run("ls", place, change=change)
        assert state.exit_code == 0, output
        assert "theirs" in output


async def test_the_usual_mounts_need_no_word(containers: Containers) -> None:
    """proc, sysfs, the tmpfs of /dev and what hangs in it are the container's own."""

    def change(spec: dict[str, Any]) -> None:
        spec["annotations"]["swarmlite.system-mounts"] = "[]"

    state, output = await containers.run("ls", "/proc/self/status", change=change)
    assert (state.exit_code, output) == (0, "/proc/self/status\n")

    def twice(spec: dict[str, Any]) -> None:
        change(spec)
        spec["mounts"].append({"type": "tmpfs", "destination": "/dev"})

    with pytest.raises(errors.FailedPrecondition, match="nothing may cover it"):
        await containers.create("true", change=twice)
