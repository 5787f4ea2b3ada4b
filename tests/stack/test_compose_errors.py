"""Every error names the file, the line, the key, and what was expected."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from swarmlite.errors import InvalidSpec
from swarmlite.stack.load import load

BODY = "services:\n  web:\n    image: x\n"


def fails(text: str, *, namespace: str = "s") -> str:
    with pytest.raises(InvalidSpec) as raised:
        load([("c.yml", text)], namespace, folder=Path("/srv"), environment={})
    assert "\n" not in str(raised.value)
    return re.sub(r"(\.yml:\d+):\d+(?=: )", r"\1", str(raised.value))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "c.yml: the file is empty"),
        ("- a", "c.yml:1: expected a mapping with services, not a list"),
        ("services:\n", "c.yml:1: services are missing"),
        ("version: '3'\n", "c.yml:1: services are missing: a stack has at least one"),
        ("service: {}\n", "c.yml:1: service: unknown key; did you mean 'services'?"),
        ("services:\n  web: {}\n", "c.yml:2: services.web: image is missing"),
        ("services:\n  web: {command: x}\n", "image is missing, and build too"),
        ("services:\n  web: {build: {contxt: .}}\n", "did you mean 'context'?"),
        ("services:\n  web: {build: {secrets: [x]}}\n", "secret 'x' is not defined at the top"),
        (
            "services:\n  web: {build: {dockerfile: a, dockerfile_inline: b}}\n",
            "cannot be combined with dockerfile_inline",
        ),
        (BODY + "    imge: y\n", "c.yml:4: services.web.imge: unknown key; did you mean 'image'?"),
        (BODY + "    image: y\n", "c.yml:4: services.web: the key 'image' is repeated"),
        ("a: [\n", "c.yml:2: "),
        ("a: b: c\n", "c.yml:1: mapping values are not allowed here"),
        ("a: !!python/object:os.system x\n", "c.yml:1: tags are not allowed"),
        ("a: !reset null\n", "c.yml:1: tags are not allowed: !reset"),
        ("a: &a [*a]\n", "c.yml:1: an alias that holds itself"),
        ("a: *b\n", "c.yml:1: found undefined alias"),
        ("a: 1\n---\nb: 1\n", "expected a single document"),
        ("? [a]\n: b\n", "c.yml:1: "),
        ("[" * 100, "c.yml:1: nested deeper than 64 levels"),
        (BODY + "    ports: [x:80]\n", "c.yml:4: services.web.ports[0]: published port is a whole"),
        (BODY + "    ports:\n      - 80\n      - '80:99999'\n", "c.yml:6: services.web.ports[1]: "),
        (BODY + "    ports:\n      - published: 80\n", "services.web.ports[0]: target is missing"),
        (BODY + "    ports: 80\n", "services.web.ports: expected a list, not the number 80"),
        (BODY + "    ports: [{target: 80, mod: host}]\n", "unknown key; did you mean 'mode'?"),
        (BODY + "    deploy:\n      replicas: three\n", "c.yml:5: services.web.deploy.replicas: "),
        (BODY + "    deploy: {replicas: -1}\n", "expected a whole number of at least 0, not -1"),
        (BODY + "    deploy: {mode: globl}\n", "expected replicated, global, replicated-job"),
        (BODY + "    deploy: {mode: global, replicas: 2}\n", "replicas cannot be used with mode"),
        (BODY + "    deploy: {rollback_config: {failure_action: rollback}}\n", "pause or continue"),
        (BODY + "    deploy: {resources: {limits: {memory: lots}}}\n", "'lots' is not a size"),
        (BODY + "    deploy: {resources: {limits: {cpus: x}}}\n", "'x' is not a number of CPUs"),
        (BODY + "    deploy: {placement: {constraints: [node.rle==x]}}\n", "constraints[0]: "),
        (BODY + "    stop_grace_period: 10\n", "expected a duration such as 10s or 1m30s"),
        (BODY + "    healthcheck: {test: [curl, x]}\n", "begins with NONE, CMD or CMD-SHELL"),
        (BODY + "    networks: [back]\n", "services.web.networks[0]: undefined network 'back'"),
        (
            BODY + "    volumes: ['data:/d']\n",
            "services.web.volumes[0].source: undefined volume 'data'",
        ),
        (BODY + "    volumes: ['/a:b']\n", "target 'b' is not an absolute path"),
        (BODY + "    volumes: [{type: bnd, target: /x}]\n", "volumes[0].type: expected bind"),
        (BODY + "    secrets: [key]\n", "services.web.secrets[0].source: undefined secret 'key'"),
        (BODY + "    configs: [{source: c, target: ../x}]\nconfigs: {c: {content: x}}\n", "no .."),
        (BODY + "    environment: [=x]\n", "expected NAME=value"),
        (BODY + "    environment: {A: [1]}\n", "services.web.environment.A: expected a string"),
        (BODY + "    env_file: nowhere\n", "env_file 'nowhere' is not there"),
        (BODY + "    command: 'a \"b'\n", "badly quoted command"),
        (BODY + "    image: 3.10\n".replace("image", "hostname"), "put it in quotes"),
        (BODY + "    init: maybe\n", "expected true or false, not the string 'maybe'"),
        (BODY + "    restart: never\n", "expected no, always, unless-stopped or on-failure"),
        (BODY + "    cpu_quota: 1\n", "c.yml:4: services.web.cpu_quota: not supported in a stack"),
        (BODY + "    extends: {service: x}\n", "services.web.extends: there is no service 'x'"),
        (BODY + "    ulimits: {nofile: {soft: 2, hard: 1}}\n", "soft limit 2 is above the hard"),
        (BODY + "    dns: x\n", "'x' is not an IP address"),
        (BODY + "    image: x\0\n", "c.yml: not YAML"),
        (BODY + '    hostname: "a\\0b"\n', "a string holds no NUL"),
        (BODY + '    hostname: "a\\nb"\n', "expected a string of one line"),
        (BODY + "    hostname: ${\n", "services.web.hostname: invalid interpolation"),
        (BODY + "    hostname: ${V:?set me}\n", "required variable V is missing a value: set me"),
        (BODY + "secrets: {k: {fil: x}}\n", "secrets.k.fil: unknown key; did you mean 'file'?"),
        (BODY + "secrets: {k: {file: nowhere}}\n", "/nowhere' cannot be read: No such file"),
        (BODY + "secrets: {k: {}}\n", "secrets.k: expected exactly one of file, environment"),
        (BODY + "volumes: {k: {external: true, driver: x}}\n", "takes only a name"),
        (BODY + "networks: {default: {ipam: {config: [{subnt: x}]}}}\n", "did you mean 'subnet'?"),
        ("services:\n  we b: {image: x}\n", "invalid service name 'we b'"),
        ("services:\n  web: nginx\n", "services.web: expected a mapping, not the string 'nginx'"),
    ],
)
def test_the_error_says_where_and_what(text: str, said: str) -> None:
    assert said in fails(text)


def test_bombs_are_bounded() -> None:
    levels = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    levels += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 9)]
    text = "\n".join(levels)
    assert "more than 100000 values once its aliases are written out" in fails(text)


def test_a_file_of_many_megabytes_is_refused() -> None:
    assert fails("#" * (5 << 20)) == "c.yml: larger than 4 MiB"


def test_deep_merge_keys_are_bounded() -> None:
    text = "a0: &a0 {k: v}\n" + "\n".join(
        f"a{n}: &a{n} {{<<: [{', '.join([f'*a{n - 1}'] * 10)}]}}" for n in range(1, 9)
    )
    assert "more than 100000 values" in fails(text)


@pytest.mark.parametrize("name", ["", "-x", "a b", "../x", "a/b", "é", "a\n"])
def test_stack_names_that_cannot_begin_a_name(name: str) -> None:
    assert "invalid stack name" in fails(BODY, namespace=name).replace("\n", " ")


@pytest.mark.parametrize(
    ("text", "place"),
    [
        (BODY + "    tty: maybe\n", "c.yml:4:10: services.web.tty: "),
        (BODY + "    imge: {}\n", "c.yml:4:5: services.web.imge: "),
        (BODY + "    ports: ['80', x:80]\n", "c.yml:4:19: services.web.ports[1]: "),
        (BODY + "    image: y\n", "c.yml:4:5: services.web: the key 'image' is repeated"),
        ("a:\n  - [\n", "c.yml:3:1: "),
        ("a:  !!str x\n", "c.yml:1:5: tags are not allowed"),
        (BODY + '    "a\\nb\\e[1m": {}\n', "c.yml:4:5: services.web.a\\nb\\x1b[1m: unknown key"),
    ],
)
def test_an_error_names_the_column_too(text: str, place: str) -> None:
    with pytest.raises(InvalidSpec) as raised:
        load([("c.yml", text)], "s", folder=Path("/srv"), environment={})
    assert str(raised.value).startswith(place)
