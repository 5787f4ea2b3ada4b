"""Every list of the swarm's objects: columns, fields, functions, filters, -q and --no-trunc."""

from __future__ import annotations

import importlib
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from swarmlite.cli.output.listing import Listing
from swarmlite.model.names import short_task_name

CREATE = ("service", "create", "-d", "--no-resolve-image")
LONG = "nginx:1.27@sha256:" + "ab" * 32


@dataclass(frozen=True)
class Lists:
    """A command, where its fields stand, and the filters of Docker's documentation: each with a
    value that finds something; `$` names objects of the world.
    """

    command: str
    module: str
    header: str
    filters: dict[str, str] = field(default_factory=dict)
    identity: str = "{{.ID}}"
    no_trunc: bool = False


TASKS = "ID NAME IMAGE NODE DESIRED_STATE CURRENT_STATE ERROR PORTS"
OF_TASKS = {"id": "$task", "name": "shop_web.1", "desired-state": "running"}
LISTS = [
    Lists("service ls", "service.ls", "ID NAME MODE REPLICAS IMAGE PORTS",
          {"id": "$service", "label": "tier=front", "mode": "replicated", "name": "shop"}),
    Lists("service ps shop_web", "output.tasks", TASKS, {**OF_TASKS, "node": "alpha"},
          no_trunc=True),
    Lists("node ls", "node.ls", "ID HOSTNAME STATUS AVAILABILITY MANAGER_STATUS ENGINE_VERSION",
          {"id": "$node", "node.label": "rack=1", "membership": "accepted", "name": "alpha",
           "role": "manager"}),
    Lists("node ps", "output.tasks", TASKS, OF_TASKS, no_trunc=True),
    Lists("stack ps shop", "output.tasks", TASKS, {**OF_TASKS, "node": "alpha"}, no_trunc=True),
    Lists("stack services shop", "service.ls", "ID NAME MODE REPLICAS IMAGE PORTS",
          {"id": "$service", "label": "tier=front", "mode": "replicated", "name": "shop"}),
    Lists("stack ls", "stack.ls", "NAME SERVICES"),
    Lists("secret ls", "secret.ls", "ID NAME DRIVER CREATED UPDATED",
          {"id": "$secret", "name": "key", "label": "a"}),
    Lists("config ls", "config.ls", "ID NAME CREATED UPDATED",
          {"id": "$config", "name": "conf", "label": "a=b"}),
    Lists("service history shop_web", "service.history", "REVISION CREATED IMAGE CHANGES"),
]  # fmt: skip
BY_NAME = {each.command: each for each in LISTS}
every = pytest.mark.parametrize("command", BY_NAME)


@pytest.fixture
def objects(run: Any, world: Any, tmp_path: Path) -> dict[str, str]:
    """One of everything, and a second one beside it."""
    (tmp_path / "file").write_text("text")
    stack = ("--label", "com.docker.stack.namespace=shop")
    world.running = True
    made = {
        "service": run(*CREATE, "--name", "shop_web", "--label", "tier=front", *stack,
                       "-p", "8080:80", LONG),
        "other": run(*CREATE, "--name", "b", "--mode", "global", "busybox"),
        "secret": run("secret", "create", "--label", "a=b", "key", str(tmp_path / "file")),
        "config": run("config", "create", "--label", "a=b", "conf", str(tmp_path / "file")),
    }  # fmt: skip
    run("secret", "create", "none", str(tmp_path / "file"))
    run("config", "create", "none", str(tmp_path / "file"))
    assert run("node", "update", "--label-add", "rack=1", "alpha").status == 0
    ids = {kind: result.out.strip() for kind, result in made.items()}
    while "1/1" not in run("service", "ls").out:
        pass
    [task] = world.store.view.tasks.of_service(ids["service"]).values()
    assert short_task_name(task) == "shop_web.1"
    return {**ids, "task": task.id, "node": world.node_id}


def listing(lists: Lists) -> Listing:
    found: Listing = importlib.import_module(f"swarmlite.cli.{lists.module}").LISTING
    return found


def ok(run: Any, command: str, *args: str) -> list[str]:
    words = command.split()
    result = run(*words[:2], *args, *words[2:])
    assert (result.status, result.err) == (0, ""), (command, args, result.err)
    lines: list[str] = result.out.splitlines()
    return lines


@every
def test_the_table_has_dockers_columns(run: Any, objects: Any, command: str) -> None:
    """Three blanks between them, and nothing else before a header."""
    header, *rows = ok(run, command)
    assert rows
    columns = [each.replace("_", " ") for each in BY_NAME[command].header.split()]
    assert [each.strip() for each in header.split("   ") if each.strip()] == columns
    assert ok(run, command, "--format", "table") == [header, *rows]


@every
def test_every_field_has_a_header_and_a_value(run: Any, objects: Any, command: str) -> None:
    headers = listing(BY_NAME[command]).headers
    count = len(ok(run, command)) - 1
    for name, title in headers.items():
        shown = ok(run, command, "--format", f"table {{{{.{name}}}}}")
        assert (shown[0].strip(), len(shown) - 1) == (title, count), name
        plain = ok(run, command, "--format", f"[{{{{.{name}}}}}]")
        assert [f"[{line.strip()}]" for line in shown[1:]] == [
            f"[{line[1:-1].strip().removeprefix(chr(92) + '_').strip()}]" for line in plain
        ]
    result = run(*command.split()[:2], "--format", "{{.Nope}}", *command.split()[2:])
    assert result.status == 1 and "Nope" in result.err and result.err.count("\n") == 1


@every
def test_json_is_one_object_a_line_with_every_field(run: Any, objects: Any, command: str) -> None:
    for form in ("json", "{{json .}}"):
        rows = [json.loads(line) for line in ok(run, command, "--format", form)]
        assert rows and all(set(row) >= set(listing(BY_NAME[command]).headers) for row in rows)


@every
def test_functions_are_gos_and_dockers(run: Any, objects: Any, command: str) -> None:
    name = "Name" if "Name" in listing(BY_NAME[command]).headers else "Hostname"
    if "service history" in command:
        name = "Image"
    values = ok(run, command, "--format", f"{{{{.{name}}}}}")
    for form, expected in {
        f"{{{{upper .{name}}}}}": [v.upper() for v in values],
        f"{{{{.{name} | lower | printf \"%s!\"}}}}": [f"{v.lower()}!" for v in values],
        f"{{{{truncate .{name} 2}}}}": [v[:2] for v in values],
        f"{{{{pad .{name} 1 2}}}}.": [f" {v}  ." for v in values],
        f"{{{{len .{name}}}}}": [str(len(v)) for v in values],
        f"{{{{join (split .{name} \"_\") \"/\"}}}}": [v.replace("_", "/") for v in values],
        f"{{{{json .{name}}}}}": [json.dumps(v) for v in values],
        f"{{{{if eq .{name} \"none\"}}}}-{{{{else}}}}+{{{{end}}}}":
            ["-" if v == "none" else "+" for v in values],
        f"{{{{with .{name}}}}}{{{{.}}}}{{{{end}}}}": values,
    }.items():  # fmt: skip
        assert ok(run, command, "--format", form) == expected, form


@pytest.mark.parametrize("command", [c for c in BY_NAME if c != "stack ls" and "history" not in c])
def test_quiet_is_ids_alone_unless_a_template_says_more(
    run: Any, objects: Any, command: str
) -> None:
    ids = ok(run, command, "-q")
    assert ids and all(" " not in each for each in ids)
    assert ok(run, command, "-q", "--format", "table") == ids
    assert ok(run, command, "-q", "--format", "x") == ["x"] * len(ids)
    if BY_NAME[command].no_trunc:
        assert ids == ok(run, command, "--no-trunc", "--format", "{{.ID}}")
        assert ids == ok(run, command, "-q", "--format", "{{.ID}}")
        assert {len(each) for each in ids} == {25}


@pytest.mark.parametrize("command", [c for c in BY_NAME if BY_NAME[c].no_trunc])
def test_no_trunc_shows_ids_and_images_whole(run: Any, objects: Any, command: str) -> None:
    form = ("--format", "{{.ID}} {{.Image}}")
    assert f"{objects['task'][:12]} nginx:1.27" in ok(run, command, *form)
    assert f"{objects['task']} {LONG}" in ok(run, command, "--no-trunc", *form)


@pytest.mark.parametrize(
    ("command", "key"), [(each.command, key) for each in LISTS for key in each.filters]
)
def test_filters_find_what_is_meant(run: Any, objects: Any, command: str, key: str) -> None:
    value = BY_NAME[command].filters[key]
    meant = objects[value[1:]] if value.startswith("$") else value
    found = ok(run, command, "-q", "--filter", f"{key}={meant}")
    assert found and set(found) <= set(ok(run, command, "-q"))
    if key in ("membership", "desired-state", "mode", "role"):
        words = command.split()
        refused = run(*words[:2], "--filter", f"{key}=nope", *words[2:])
        assert refused.status == 1 and "nope" in refused.err
    else:
        assert ok(run, command, "-q", "--filter", f"{key}=nope") == []


@pytest.mark.parametrize(
    ("command", "labels"),
    [
        ("service ls", ("tier=front", "com.docker.stack.namespace=shop")),
        ("stack services shop", ("tier=front", "tier")),
        ("secret ls", ("a=b", "a")),
        ("config ls", ("a", "a=b")),
        ("node ls", ("rack=1", "rack")),
    ],
)
def test_of_labels_all_must_hold_and_of_names_any(
    run: Any, objects: Any, command: str, labels: tuple[str, str]
) -> None:
    key = "node.label" if command == "node ls" else "label"
    given = [word for each in labels for word in ("--filter", f"{key}={each}")]
    assert len(ok(run, command, "-q", *given)) == 1
    assert ok(run, command, "-q", *given, "--filter", f"{key}=absent") == []
    form = "{{.Hostname}}" if command == "node ls" else "{{.Name}}"
    [name] = ok(run, command, *given, "--format", form)
    both = ("--filter", f"name={name}", "--filter", "name=absent")
    assert len(ok(run, command, "-q", *both)) == 1


@pytest.mark.parametrize("command", [c for c in BY_NAME if BY_NAME[c].filters])
def test_a_filter_that_there_is_not_is_refused_by_its_name(
    run: Any, objects: Any, command: str
) -> None:
    words = command.split()
    result = run(*words[:2], "--filter", "nope=1", *words[2:])
    assert result.status == 1 and "'nope'" in result.err and "no such filter" in result.err
    assert run(*words[:2], "--filter", "nope", *words[2:]).status == 125
