"""The examples' images are built of Debian packages and hold programs that run."""

import json
import re
import shutil
from pathlib import Path

import pytest
import yaml
from image_world import FAST, in_overlay, needs_root

from swarmlite.errors import Unavailable
from swarmlite.storage.images.store import ImageStore
from swarmlite.testing import images as debian_images
from swarmlite.testing.registry import Registry

pytestmark = needs_root
EXAMPLES = sorted(path.parent for path in debian_images.EXAMPLES.glob("*/compose.yml"))


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.name)
def test_a_compose_file_names_images_that_its_folder_builds(example: Path) -> None:
    document = yaml.safe_load((example / "compose.yml").read_text())
    recipes = [json.loads(path.read_text()) for path in example.glob("*/image.json")]
    built = {debian_images.busybox().name, *(recipe["name"] for recipe in recipes)}
    for service in document["services"].values():
        registry, name = re.fullmatch(r"(\$\{.*?\})/(.*)", service["image"]).groups()
        assert registry == "${REGISTRY:-127.0.0.1:5000}"
        assert name in built
        assert set(service.get("networks", [])) <= set(document.get("networks", []))
        for volume in service.get("volumes", []):
            source = volume.partition(":")[0]
            assert source.startswith("/") or source in document["volumes"]


async def test_the_programs_of_the_examples_run(tmp_path: Path) -> None:
    if shutil.which("apt-get") is None:
        pytest.skip("images are built of Debian's packages: apt-get is missing")
    programs = {
        "examples/redis:latest": ("redis-server", "--version"),
        "examples/vote-worker:latest": ("python3", "-c", "import psycopg2, ssl, sqlite3, ctypes"),
        "examples/vote:latest": (
            "python3",
            "-c",
            "import http.server, json, signal",
        ),
        "examples/postgres:latest": ("sh", "-c", "/usr/lib/postgresql/*/bin/postgres --version"),
        "examples/vote-result:latest": ("sh", "-c", "id postgres && grep --help"),
    }
    store = ImageStore(tmp_path / "images", settings=FAST)
    with Registry() as registry:
        try:
            names = debian_images.push_examples(registry.address, debian_images.EXAMPLES / "voting")
        except Unavailable as error:
            pytest.skip(str(error))
        assert {name.partition("/")[2] for name in names} == set(programs)
        images = {name: await store.pull(f"{registry.address}/{name}") for name in programs}
    assert (
        images["examples/vote:latest"].layers[:2]
        == images["examples/vote-worker:latest"].layers[:2]
    )
    for name, command in programs.items():
        done = in_overlay(store.lower_dirs(images[name]), "chroot", ".", *command)
        assert done.returncode == 0, (name, done.stderr)
