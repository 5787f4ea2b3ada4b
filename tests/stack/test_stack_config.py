"""`stack config` beside Docker's: the files of config/, each with what `docker stack config` 28.2
printed of it behind `---`; where the docker command is there, it is asked again.
"""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from swarmlite.errors import InvalidSpec
from swarmlite.stack.canonical.objects import ordered
from swarmlite.stack.load import combine
from swarmlite.stack.tree import to_yaml

FOLDER = Path(__file__).parent / "config"
CASES = sorted(path.stem for path in FOLDER.glob("*.yml"))
DOCKER = shutil.which("docker")
OWN = "services: {web: {image: a, %s}}\n"


def printed(*texts: str, environment: dict[str, str] | None = None) -> Any:
    """What our config prints, as a value."""
    files = [(f"{number}.yml", text) for number, text in enumerate(texts)]
    tree, _ = combine(files, environment or {}, FOLDER)
    return yaml.safe_load(to_yaml(ordered(tree)))


def of_service(text: str) -> Any:
    """The same, of one service with these keys."""
    return printed(OWN % text)["services"]["web"]


def of_docker(folder: Path, *names: str) -> Any:
    """What docker's config prints, as a value."""
    assert DOCKER
    flags = [word for name in names for word in ("-c", name)]
    command = [DOCKER, "stack", "config", *flags]
    environment = {"HOME": "/root", "PATH": "/usr/bin:/bin"}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return yaml.safe_load(done.stdout)


@pytest.mark.parametrize("name", CASES)
def test_the_value_is_docker_s(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/root")
    text, _, expected = (FOLDER / f"{name}.yml").read_text().partition("\n---\n")
    assert printed(text) == yaml.safe_load(expected.replace("FOLDER", str(FOLDER)))


def test_there_are_enough_files_to_cover_the_schema() -> None:
    assert len(CASES) >= 80


@pytest.mark.skipif(not DOCKER, reason="there is no docker command here")
def test_what_docker_printed_it_prints_still(tmp_path: Path) -> None:
    """All files as one: each service of each under a name of its own."""
    shutil.copytree(FOLDER / "env", tmp_path / "env")
    whole: dict[str, Any] = {"services": {}}
    for name in CASES:
        # What is not of services, and `yes`, which PyYAML would write as true.
        others = ("version", "networks", "volumes", "secrets", "configs", "extensions")
        if name.startswith((*others, "environment-booleans")):
            continue
        text = (FOLDER / f"{name}.yml").read_text().partition("\n---\n")[0]
        for key, service in (yaml.safe_load(text).get("services") or {}).items():
            whole["services"][f"{name}-{key}"] = service
    (tmp_path / "all.yml").write_text(yaml.safe_dump(whole))
    tree, _ = combine([("all.yml", (tmp_path / "all.yml").read_text())], {}, tmp_path)
    assert yaml.safe_load(to_yaml(ordered(tree))) == of_docker(tmp_path, "all.yml")


BASE = """
version: "3.8"
services:
  web:
    image: a
    command: x y
    environment: [A=1, B=2]
    labels: {l: 1}
    ports: ["80:80", "81:81"]
    volumes: ["/a:/x", "data:/y"]
    networks: [n1]
    dns: 1.1.1.1
    expose: ["1"]
    cap_add: [A]
    logging: {driver: json-file, options: {a: b, c: d}}
    deploy:
      replicas: 2
      labels: {x: 1}
      placement: {constraints: [a == b], preferences: [{spread: node.labels.a}]}
      resources: {limits: {cpus: "1"}}
    secrets: [s1]
    configs: [{source: c1, target: /a}]
    ulimits: {nofile: 1, nproc: {soft: 1, hard: 2}}
    healthcheck: {test: a, interval: 3s}
    sysctls: {a.b: 1}
    tmpfs: [/a]
volumes: {data: {driver: local}}
networks: {n1: , n2: }
secrets: {s1: {external: true}, s2: {external: true}}
configs: {c1: {external: true}}
"""
OVER = """
version: "3.8"
services:
  web:
    image: b
    command: z
    environment: {A: 3, C: 4}
    labels: [l=2, m=3]
    ports: ["80:8080", "82:82"]
    volumes: ["/b:/x", "data:/z"]
    networks: {n2: {aliases: [q]}}
    dns: [2.2.2.2]
    expose: ["1", "2"]
    cap_add: [B]
    logging: {driver: json-file, options: {c: e}}
    deploy:
      replicas: 3
      labels: {y: 1}
      placement: {constraints: [c == d], preferences: [{spread: node.labels.b}]}
      resources: {limits: {memory: 1m}, reservations: {cpus: "1"}}
    secrets: [s2, {source: s1, target: t}]
    configs: [{source: c1, target: /b}]
    ulimits: {nofile: 3, nproc: 4}
    healthcheck: {timeout: 3s}
    sysctls: [a.b=2]
    tmpfs: /b
  db: {image: c}
volumes: {data: {driver_opts: {a: b}}, other: }
"""


@pytest.mark.skipif(not DOCKER, reason="there is no docker command here")
def test_files_merge_as_docker_merges_them(tmp_path: Path) -> None:
    (tmp_path / "base.yml").write_text(BASE)
    (tmp_path / "over.yml").write_text(OVER)
    assert printed(BASE, OVER) == of_docker(tmp_path, "base.yml", "over.yml")


@pytest.mark.parametrize(
    ("base", "over", "merged"),
    [
        ("driver: a, options: {x: 1}", "options: {x: 2}", {"driver": "a", "options": {"x": "2"}}),
        ("options: {x: 1}", "driver: a", {"driver": "a", "options": {"x": "1"}}),
        ("driver: a, options: {x: 1}", "driver: b", {"driver": "b"}),
    ],
)
def test_a_log_driver_keeps_its_options_until_another_one_is_named(
    base: str, over: str, merged: dict[str, Any], tmp_path: Path
) -> None:
    texts = [OWN % f"logging: {{{each}}}" for each in (base, over)]
    assert printed(*texts)["services"]["web"]["logging"] == merged
    if DOCKER:
        for name, text in zip(("a.yml", "b.yml"), texts, strict=True):
            (tmp_path / name).write_text("version: '3.13'\n" + text)
        assert of_docker(tmp_path, "a.yml", "b.yml")["services"]["web"]["logging"] == merged


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("command: [sleep, 1]", {"command": ["sleep", "1"]}),
        ("depends_on: {db: {condition: service_started}}",
         {"depends_on": {"db": {"condition": "service_started"}}}),
        ("group_add: ['1']", {"group_add": ["1"]}),
        ("user: 1000", {"user": "1000"}),
        ("shm_size: 1024", {"shm_size": "1024"}),
        ("oom_score_adj: -5", {"oom_score_adj": -5}),
        ("tty: yes", {"tty": True}),
        ("environment: {A: true, B: 007, C: 3.10}",
         {"environment": {"A": "true", "B": "007", "C": "3.10"}}),
        ("volumes: [{type: tmpfs, target: /t, tmpfs: {size: 1k}}]",
         {"volumes": [{"type": "tmpfs", "target": "/t", "tmpfs": {"size": 1024}}]}),
        ("ports: [{target: 80, published: '8080'}]",
         {"ports": [{"target": 80, "published": 8080}]}),
        ("ports: ['127.0.0.1:1:2']",
         {"ports": [{"mode": "ingress", "target": 2, "published": 1, "protocol": "tcp",
                     "host_ip": "127.0.0.1"}]}),
        ("env_file: [{path: not/there.env, required: false}]",
         {"env_file": [{"path": "not/there.env", "required": False}]}),
    ],
)  # fmt: skip
def test_where_docker_refuses_or_drops_it_is_kept(text: str, expected: dict[str, Any]) -> None:
    assert of_service(text) == {"image": "a", **expected}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            "services: {web: {imagee: a}}",
            "0.yml:1:26: services.web.imagee: unknown key; did you mean",
        ),
        ("foo: 1", "0.yml:1:1: foo: unknown key"),
        ("version: '3.99'\n", "version: unsupported version '3.99'; expected 3.0 to 3.13, or none"),
        (OWN % "cpu_quota: 5", "services.web.cpu_quota: not supported in a stack"),
        (OWN % "env_file: nothere", "services.web.env_file: env_file 'nothere' is not there"),
        (OWN % "ports: [x]", "services.web.ports[0]: target port is a whole number"),
        (OWN % "deploy: {replicas: x}", "services.web.deploy.replicas: expected a whole number"),
        (OWN % "healthcheck: {test: [x]}", "expected a list that begins with NONE, CMD or"),
    ],
)
def test_what_is_wrong_is_said_with_its_place(text: str, said: str) -> None:
    with pytest.raises(InvalidSpec) as raised:
        printed(text)
    assert said in str(raised.value)


def test_what_is_for_deploy_is_not_asked() -> None:
    """Networks, secrets, files that are not there; services without an image."""
    text = "services: {a: {networks: [n], secrets: [s], build: .}}\nsecrets: {t: {file: gone}}\n"
    assert printed(text)["services"]["a"]["secrets"] == [{"source": "s"}]


@pytest.mark.parametrize("kind", ["secrets", "configs", "networks", "volumes"])
def test_an_external_object_with_a_dot_in_its_key_has_the_whole_key_for_a_name(kind: str) -> None:
    text = f"services: {{a: {{image: a}}}}\n{kind}: {{site.pem: {{external: true}}}}\n"
    assert printed(text)[kind] == {"site.pem": {"external": True, "name": "site.pem"}}


def test_without_interpolation_what_holds_a_variable_stays() -> None:
    text = OWN % "ports: ['${P}:80'], deploy: {replicas: '${N}'}, shm_size: $S"
    tree, _ = combine([("c.yml", text)], {}, FOLDER, interpolated=False)
    web = yaml.safe_load(to_yaml(tree))["services"]["web"]
    assert (web["ports"], web["deploy"], web["shm_size"]) == (
        ["${P}:80"],
        {"replicas": "${N}"},
        "$S",
    )


def test_variables_without_a_value_are_taken_from_outside() -> None:
    text = OWN % "environment: [A, B]"
    assert printed(text, environment={"A": "1"})["services"]["web"]["environment"] == {
        "A": "1",
        "B": None,
    }
