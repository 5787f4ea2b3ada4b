"""depends_on of compose files: conditions, order, and jobs that others wait for."""

from __future__ import annotations

from pathlib import Path

import pytest

from swarmlite.errors import InvalidSpec
from swarmlite.proto.specs_pb2 import Dependency
from swarmlite.stack.load import Stack, load

FILE = """
services:
  web:
    image: web
    depends_on:
      migrate: {condition: service_completed_successfully}
      cache: {condition: service_started, required: false}
      away: {condition: service_healthy, required: false}
  migrate:
    image: web
    command: migrate
    deploy: {restart_policy: {condition: on-failure, max_attempts: 3}}
    depends_on: {db: {condition: service_healthy}}
  cache: {image: redis}
  db: {image: postgres}
  worker: {image: web, depends_on: [cache, nobody]}
"""


def stack(text: str) -> Stack:
    return load([("f", text)], "s", folder=Path("/srv"), environment={})


def test_conditions_are_kept_and_services_come_behind_what_they_wait_for() -> None:
    made = stack(FILE)
    specs = {spec.annotations.name: spec for spec in made.services}
    assert list(specs["s_web"].depends_on) == [
        Dependency(service="s_migrate", condition=Dependency.COMPLETED),
        Dependency(service="s_cache", condition=Dependency.STARTED, optional=True),
    ]
    assert list(specs["s_migrate"].depends_on) == [
        Dependency(service="s_db", condition=Dependency.HEALTHY)
    ]
    assert [*specs] == ["s_db", "s_migrate", "s_cache", "s_web", "s_worker"]
    assert made.warnings == [
        "f:16:44: services.worker.depends_on[1]: ignored: there is no service 'nobody' here"
    ]


def test_what_others_wait_to_complete_is_a_job_unless_its_mode_is_said() -> None:
    specs = {spec.annotations.name: spec for spec in stack(FILE).services}
    assert specs["s_migrate"].replicated_job.total_completions == 1
    assert specs["s_db"].WhichOneof("mode") == "replicated"
    said = FILE.replace("deploy: {restart", "deploy: {mode: replicated, restart")
    specs = {spec.annotations.name: spec for spec in stack(said).services}
    assert specs["s_migrate"].WhichOneof("mode") == "replicated"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("services: {a: {image: x, depends_on: [b]}, b: {image: x, depends_on: [a]}}",
         "depends_on: s_a and s_b wait for each other"),
        ("services: {a: {image: x, depends_on: [a]}}", "cannot wait for itself"),
        ("services: {a: {image: x, depends_on: {b: {condition: ready}}}, b: {image: x}}",
         "expected service_started, service_healthy or service_completed_successfully"),
        ("services: {a: {image: x, depends_on: {b: {when: now}}}, b: {image: x}}",
         "services.a.depends_on.b.when: unknown key"),
    ],
)  # fmt: skip
def test_what_contradicts_itself_is_said_where_it_stands(text: str, words: str) -> None:
    with pytest.raises(InvalidSpec, match=words) as caught:
        stack(text)
    assert str(caught.value).startswith("f:1:")


def test_a_chain_as_long_as_a_file_may_be_is_put_in_order() -> None:
    lines = [f"  s{n}: {{image: x, depends_on: [s{n + 1}]}}" for n in range(3000)]
    made = stack("\n".join(["services:", *lines, "  s3000: {image: x}"]))
    assert [spec.annotations.name for spec in made.services[:2]] == ["s_s3000", "s_s2999"]
