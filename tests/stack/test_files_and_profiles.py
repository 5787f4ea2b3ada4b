"""include, extends, profiles, and limits as older files write them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from swarmlite.errors import InvalidSpec
from swarmlite.proto.specs_pb2 import ServiceSpec
from swarmlite.stack.load import load


def written(folder: Path, files: Mapping[str, str]) -> None:
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def services(
    folder: Path, text: str, environment: Mapping[str, str] | None = None
) -> dict[str, ServiceSpec]:
    made = load([("compose.yml", text)], "s", folder=folder, environment=environment or {})
    return {spec.annotations.name: spec for spec in made.services}


def test_a_service_begins_from_another_of_its_file_and_from_one_of_another_folder(
    tmp_path: Path,
) -> None:
    common = """
services:
  base:
    image: ${IMAGE}
    env_file: vars.env
    environment: {A: base, B: base}
    volumes: ["./data:/data"]
    labels: {from: base}
"""
    written(tmp_path, {"common/base.yml": common, "common/vars.env": "C=file\n"})
    text = """
services:
  web:
    extends: worker
    command: web
    environment: {B: web}
  worker:
    extends: {service: base, file: common/base.yml}
    environment: [A=worker]
    volumes: ["./own:/own"]
"""
    made = services(tmp_path, text, {"IMAGE": "app:1"})
    web = made["s_web"].task.container
    assert web.image == "app:1"
    assert sorted(web.env) == ["A=worker", "B=web", "C=file"]
    # Each path begins beside the file that names it.
    assert [m.source for m in web.mounts] == [f"{tmp_path}/common/data", f"{tmp_path}/own"]
    assert list(web.args) == ["web"] and not made["s_worker"].task.container.args
    assert web.labels["from"] == "base"


def test_an_included_file_has_its_own_folder_and_variables(tmp_path: Path) -> None:
    part = """
services:
  db:
    image: db:${TAG}
    volumes: ["./data:/data", "store:/store"]
    secrets: [password]
volumes: {store: {}}
secrets: {password: {file: password.txt}}
"""
    more = "services: {db: {command: more}}"
    written(tmp_path, {
        "db/compose.yml": part, "db/more.yml": more,
        "db/.vars": "TAG=9\nOTHER=x\n", "db/password.txt": "hush",
    })  # fmt: skip
    text = """
include:
  - path: [db/compose.yml, db/more.yml]
    env_file: db/.vars
services:
  web: {image: "web:${TAG}", depends_on: [db]}
"""
    made = services(tmp_path, text, {})
    assert made["s_db"].task.container.image == "db:9"
    assert list(made["s_db"].task.container.args) == ["more"]
    assert made["s_db"].task.container.mounts[0].source == f"{tmp_path}/db/data"
    assert made["s_web"].task.container.image == "web:"
    assert made["s_web"].depends_on[0].service == "s_db"
    # The environment comes before the include's own files.
    assert services(tmp_path, text, {"TAG": "1"})["s_db"].task.container.image == "db:1"


def test_services_of_profiles_are_left_out_until_one_is_active() -> None:
    text = """
services:
  web: {image: web}
  debug: {image: debug, profiles: [debug, dev]}
"""
    made = load([("f", text)], "s", folder=Path("/srv"), environment={})
    assert [spec.annotations.name for spec in made.services] == ["s_web"]
    assert made.warnings == ["service debug is left out: its profile debug, dev is inactive"]
    for word in ("dev", "x, debug", "*"):
        assert len(services(Path("/srv"), text, {"COMPOSE_PROFILES": word})) == 2


def test_limits_of_older_files_are_those_of_deploy() -> None:
    text = """
services:
  web:
    image: web
    mem_limit: 64m
    mem_reservation: 32m
    cpus: 0.5
    pids_limit: 100
    scale: 3
  more:
    image: web
    mem_limit: 64m
    pids_limit: -1
    deploy: {resources: {limits: {memory: 128m}}}
"""
    made = services(Path("/srv"), text)
    resources = made["s_web"].task.resources
    assert resources.limits.memory_bytes == 64 << 20 and resources.limits.nano_cpus == 5 * 10**8
    assert resources.limits.pids == 100 and resources.reservations.memory_bytes == 32 << 20
    assert made["s_web"].replicated.replicas == 3
    assert made["s_more"].task.resources.limits.memory_bytes == 128 << 20


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("services: {a: {image: x, extends: b}}", "services.a.extends: there is no service 'b'"),
        ("services: {a: {extends: b}, b: {extends: a}}", "a extends b extends a"),
        ("services: {a: {extends: {file: no.yml, service: b}}}", "no.yml: No such file"),
        ("services: {a: {extends: {file: self.yml, service: a}}}", "more than 16 deep"),
        ("services: {a: {extends: {file: part.yml, service: c}}}", "there is no service 'c' in"),
        ("services: {a: {extends: {from: b}}}", "services.a.extends.from: unknown key"),
        ("include: [gone.yml]\nservices: {a: {image: x}}", "gone.yml: No such file"),
        ("include: [part.yml]\nservices: {b: {image: y}}", "1 includes another 'b'"),
        ("include: [ring.yml]\nservices: {a: {image: x}}", "more than 16 deep"),
        ("include: [{paths: x}]\nservices: {a: {image: x}}", "include[0].paths: unknown key"),
    ],
)
def test_what_cannot_be_read_is_said_where_it_is_named(
    tmp_path: Path, text: str, words: str
) -> None:
    written(tmp_path, {
        "part.yml": "services: {b: {image: x}}",
        "ring.yml": "include: [ring.yml]\nservices: {}",
        "self.yml": "services: {a: {extends: {file: self.yml, service: a}}}",
    })  # fmt: skip
    with pytest.raises(InvalidSpec) as caught:
        services(tmp_path, text)
    assert words in str(caught.value)
