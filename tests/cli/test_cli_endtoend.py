"""Whole commands against a manager's real API."""

from __future__ import annotations

import io
import json
import socket
import time
from pathlib import Path
from typing import Any

import pytest

CREATE = ("service", "create", "-d", "--no-resolve-image")


def until(check: Any, seconds: float = 10) -> None:
    deadline = time.monotonic() + seconds
    while not check():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_a_service_lives_from_create_to_rm(run: Any, world: Any) -> None:
    world.running = True
    made = run(
        *CREATE, "--name", "web", "--replicas", "3", "-p", "8080:80", "-e", "A=1", "nginx", "sh"
    )
    assert (made.status, made.err) == (0, "")
    identity = made.out.strip()
    until(lambda: "3/3" in run("service", "ls").out)
    expected = (
        "ID             NAME      MODE         REPLICAS   IMAGE          PORTS\n"
        f"{identity[:12]}   web       replicated   3/3        nginx:latest   *:8080->80/tcp\n"
    )
    assert run("service", "ls").out == expected
    shown = json.loads(run("service", "inspect", "web").out)[0]
    assert shown["ID"] == identity
    container = shown["Spec"]["TaskTemplate"]["ContainerSpec"]
    assert (container["Image"], container["Args"], container["Env"]) == (
        "nginx:latest",
        ["sh"],
        ["A=1"],
    )
    assert shown["Spec"]["Mode"] == {"Replicated": {"Replicas": 3}}
    assert run("service", "update", "-d", "--env-add", "B=2", "--env-rm", "A", "web").status == 0
    form = "{{json .Spec.TaskTemplate.ContainerSpec.Env}}"
    assert run("service", "inspect", "-f", form, "web").out == '["B=2"]\n'
    assert run("service", "scale", "-d", "web=1").out == "web scaled to 1\n"
    assert run("service", "rollback", "-d", "web").status == 0
    until(lambda: run("service", "ps", "web").out.count("web.") == 3)
    shown = run("service", "ps", "web")
    assert shown.status == 0, shown.err
    lines = shown.out.splitlines()
    assert lines[0].split("  ")[0] == "ID"
    assert "Running less than a second ago" in shown.out or "seconds ago" in shown.out, shown.out
    assert "Service Mode:\tReplicated" in run("service", "inspect", "--pretty", "web").out
    assert run("service", "rm", "web").out == "web\n"
    gone = run("service", "inspect", "web")
    assert (gone.status, gone.out) == (1, "[]\n")
    assert gone.err.count("\n") == 1


def test_create_waits_until_the_service_has_converged(run: Any, world: Any) -> None:
    world.running = True
    made = run(
        "service", "create", "--no-resolve-image", "--update-monitor", "300ms", "--name", "w", "x"
    )
    assert made.status == 0, made.err
    assert "overall progress: 1 out of 1 tasks\n" in made.out
    assert made.out.endswith("converged\n")


def test_a_service_that_cannot_be_placed_shows_why(run: Any, world: Any) -> None:
    import threading

    world.running, world.error = True, "no suitable node (insufficient memory on 2 nodes)"

    def relent() -> None:
        time.sleep(1)
        world.error = ""
        for task in list(world.store.view.tasks):
            changed = type(task)()
            changed.CopyFrom(task)
            changed.status.err = ""
            changed.status.state = 512
            world.loop.call_soon_threadsafe(world.store.commit_now, [_put(changed)])

    thread = threading.Thread(target=relent)
    thread.start()
    made = run("service", "create", "--no-resolve-image", "--update-monitor", "100ms", "x")
    thread.join()
    assert made.status == 0, made.err
    assert "error: no suitable node (insufficient memory on 2 nodes)\n" in made.out


def _put(task: Any) -> Any:
    from swarmlite.manager.store.api import Put

    return Put(task)


def test_an_update_that_pauses_ends_with_its_message_and_a_status(run: Any, world: Any) -> None:
    import threading

    from swarmlite.proto.types_pb2 import UpdateStatus

    run(*CREATE, "--name", "web", "x")

    def pause() -> None:
        time.sleep(0.5)
        service = next(iter(world.store.view.services))
        changed = type(service)()
        changed.CopyFrom(service)
        changed.update_status.state = UpdateStatus.PAUSED
        changed.update_status.message = "update paused due to failure of task t1"
        world.loop.call_soon_threadsafe(world.store.commit_now, [_put(changed)])

    thread = threading.Thread(target=pause)
    thread.start()
    ended = run("service", "update", "--env-add", "A=1", "web")
    thread.join()
    assert ended.status == 1
    assert ended.err == "service update paused: update paused due to failure of task t1\n"


def test_nodes_are_listed_with_a_star_at_this_one(run: Any, world: Any) -> None:
    lines = run("node", "ls").out.splitlines()
    assert lines[0] == (
        "ID                            HOSTNAME   STATUS    AVAILABILITY   MANAGER STATUS   "
        "ENGINE VERSION"
    )
    assert lines[1] == (
        f"{world.node_id} *   alpha      Ready     Active         Leader           0.1.0"
    )
    assert run("node", "update", "--availability", "drain", "beta").out == "beta\n"
    assert run("node", "inspect", "-f", "{{.Spec.Availability}}", "beta").out == "drain\n"
    assert run("node", "update", "--label-add", "ssd=true", "beta").status == 0
    assert run("node", "ls", "--filter", "role=manager", "-q").out == f"{world.node_id}\n"
    assert run("node", "ls", "--filter", "nonsense=1").status == 1


def test_networks_secrets_and_configs(run: Any, world: Any, tmp_path: Path) -> None:
    (tmp_path / "data").write_text("hidden")
    assert run("network", "create", "-d", "overlay", "--subnet", "10.9.0.0/24", "net").status == 0
    assert run("secret", "create", "s1", str(tmp_path / "data")).status == 0
    assert run("config", "create", "c1", str(tmp_path / "data")).status == 0
    assert "hidden" not in run("secret", "inspect", "s1").out
    assert json.loads(run("config", "inspect", "c1").out)[0]["Spec"]["Data"] == "aGlkZGVu"
    made = run(*CREATE, "--name", "w", "--network", "net", "--secret", "s1", "--config", "c1", "x")
    assert made.status == 0, made.err
    assert run("service", "update", "-d", "--network-rm", "net", "w").status == 0
    networks = run("service", "inspect", "-f", "{{len .Spec.TaskTemplate.Networks}}", "w")
    assert networks.out == "0\n"
    form = "{{.Name}} {{.Driver}}"
    shown = run("network", "ls", "--filter", "name=net", "--format", form)
    assert shown.out == "net overlay\n"
    assert run("service", "rm", "w").status == 0
    for kind, name in (("network", "net"), ("secret", "s1"), ("config", "c1")):
        assert run(kind, "rm", name).out == f"{name}\n"
        assert run(kind, "rm", name).status == 1


def test_join_tokens(run: Any, world: Any) -> None:
    assert run("swarm", "join-token", "-q", "worker").out == "SWMTKN-1-w\n"
    assert (
        "    swarmlite swarm join --token SWMTKN-1-m 192.0.2.1:2377\n"
        in run("swarm", "join-token", "manager").out
    )


def test_logs_keep_the_streams_apart(run: Any, world: Any) -> None:
    world.running = True
    run(*CREATE, "--name", "web", "x")
    until(lambda: "1/1" in run("service", "ls").out)
    shown = run("service", "logs", "--no-task-ids", "web")
    assert (shown.out, shown.err) == ("web.1@alpha    | out\n", "web.1@alpha    | err\n")
    assert run("service", "logs", "--raw", "web").out == "out\n"


STACK = """
services:
  web:
    image: ${IMAGE:-nginx}
    configs: [c]
    deploy: {replicas: 2}
  other: {image: redis}
configs: {c: {content: hello}}
"""


def test_a_stack_is_deployed_changed_pruned_and_removed(
    run: Any, world: Any, tmp_path: Path, monkeypatch: Any
) -> None:
    world.running = True
    path = tmp_path / "compose.yml"
    path.write_text(STACK)
    deploy = ("stack", "deploy", "--resolve-image", "never", "-c", str(path))
    diff = ("stack", "diff", "--resolve-image", "never", "--exit-code", "-c", str(path))
    fresh = run(*diff, "x")
    assert (fresh.status, fresh.out.splitlines()) == (
        1,
        ["+ network x_default", "+ config x_c", "+ service x_web", "+ service x_other"],
    )
    assert run(*deploy, "--dry-run", "x").out == fresh.out
    assert run("stack", "ls").out == "NAME      SERVICES\n"
    made = run(*deploy, "x")
    assert made.out.splitlines() == [
        "Creating network x_default",
        "Creating config x_c",
        "Creating service x_web",
        "Creating service x_other",
    ]
    assert run("stack", "ls").out == "NAME      SERVICES\nx         2\n"
    again = run(*deploy, "x")
    assert [line.split(" (")[0] for line in again.out.splitlines()] == [
        "Unchanged service x_web",
        "Unchanged service x_other",
    ]
    same = run(*diff, "x")
    assert (same.status, same.out) == (0, "Nothing would change.\n")
    monkeypatch.setenv("IMAGE", "nginx:2")
    path.write_text(STACK.replace("  other: {image: redis}\n", ""))
    shown = run(*diff, "x")
    assert shown.out.splitlines() == [
        "~ service x_web (its tasks are replaced)",
        "    ~ annotations.labels.com.docker.stack.image: nginx -> nginx:2",
        "    ~ task.container.image: nginx:latest -> nginx:2",
    ]
    assert "x_other is not in the file: it stays" in shown.err
    assert run(*diff, "--prune", "x").out.splitlines()[0] == "- service x_other"
    changed = run(*deploy, "--prune", "x").out.splitlines()
    assert changed[0] == "Removing service x_other"
    assert changed[1].startswith("Updating service x_web (id: ")
    images = ("stack", "ps", "x", "--format", "{{.Image}}")
    until(lambda: run(*images).out == "nginx:2\nnginx:2\n")
    assert "2/2" in run("stack", "services", "x").out
    assert run("stack", "rm", "x").out.splitlines() == [
        "Removing service x_web",
        "Removing config x_c",
        "Removing network x_default",
    ]
    assert run("stack", "ls").out == "NAME      SERVICES\n"
    assert run("stack", "services", "x").status == 1


def test_the_ingress_network_is_removed_only_by_who_says_so(
    run: Any, world: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("no\n"))
    refused = run("network", "rm", "ingress")
    assert refused.status == 1 and "published ports of every service" in refused.out
    assert refused.err == "removal of network ingress has been cancelled\n"
    assert run("network", "ls", "--format", "{{.Name}}").out == "ingress\n"
    monkeypatch.setattr("sys.stdin", io.StringIO("y\n"))
    assert run("network", "rm", "ingress").out.endswith("ingress\n")
    assert run("network", "ls", "--format", "{{.Name}}").out == ""


def test_a_stack_that_cannot_be_finished_changes_nothing(
    run: Any, world: Any, tmp_path: Path
) -> None:
    path = tmp_path / "compose.yml"
    for body, said in (
        ("{image: x, secrets: [s]}}\nsecrets: {s: {external: true}}", "secret not found: s"),
        ("{image: x, networks: [n]}}\nnetworks: {n: {external: true}}", "network 'n' is declared"),
        ("{image: x, deploy: {resources: {limits: {memory: 1k}}}}}", "service x_web: "),
    ):
        path.write_text("services: {web: " + body)
        result = run("stack", "deploy", "--resolve-image", "never", "-c", str(path), "x")
        assert (result.status, result.out) == (1, "")
        assert said in result.err and result.err.count("\n") == 1
    assert run("network", "ls", "--format", "{{.Name}}").out == "ingress\n"
    assert run("service", "ls", "-q").out == ""


def test_a_secret_that_changed_gets_a_version(run: Any, world: Any, tmp_path: Path) -> None:
    path = tmp_path / "compose.yml"
    path.write_text("services: {w: {image: x, secrets: [s]}}\nsecrets: {s: {file: data}}")
    (tmp_path / "data").write_text("one")
    deploy = ("stack", "deploy", "--resolve-image", "never", "-c", str(path), "x")
    assert run(*deploy).status == 0
    version = ("secret", "inspect", "-f", "{{.Version.Index}}", "x_s")
    before = run(*version).out
    assert run(*deploy).status == 0
    assert run(*version).out == before, "what is unchanged was written again"
    (tmp_path / "data").write_text("two")
    result = run(*deploy)
    assert result.status == 0 and "two" not in result.out + result.err
    assert run(*version).out == before
    assert run("secret", "ls", "--format", "{{.Name}}").out.split() == ["x_s", "x_s.v2"]


def test_secrets_and_configs_are_shown_to_people_in_dockers_lines(
    run: Any, world: Any, tmp_path: Path
) -> None:
    """A line is a label, blanks or tabs, and the value, as Docker's templates have them."""
    (tmp_path / "f").write_text("text\n")
    assert run("secret", "create", "-l", "a=b", "key", str(tmp_path / "f")).status == 0
    shown = run("secret", "inspect", "--pretty", "key").out
    assert "\nName:              key\nLabels:\n - a=b\nDriver:            \nCreated at:  " in shown
    assert shown.endswith(" +0000 utc\n") and "text" not in shown
    assert run("config", "create", "site", str(tmp_path / "f")).status == 0
    shown = run("config", "inspect", "--pretty", "site").out
    assert "\nName:\t\t\tsite\n" in shown and shown.endswith("\nData:\ntext\n\n")


def test_what_a_flag_may_have_meant_is_never_a_form_that_no_help_shows(
    run: Any, world: Any, tmp_path: Path
) -> None:
    assert run("service", "ls", "--nope").err.startswith("unknown flag: --nope. See")
    assert "did you mean --format" in run("service", "ls", "--forma", "x").err
    assert run("service", "foo").err.startswith("unknown command: swarmlite service foo. See")


def test_a_bad_spec_is_refused_before_any_registry_is_asked(
    run: Any, world: Any, tmp_path: Path
) -> None:
    registry = socket.create_server(("127.0.0.1", 0))
    registry.setblocking(False)
    image = f"127.0.0.1:{registry.getsockname()[1]}/nope:1"
    create = ("service", "create", "-d", "--name", "w")
    for flags, says in (
        (("--limit-memory", "1k"), "--limit-memory: 1024 bytes are too few"),
        (("--secret", "nowhere"), "secret not found: nowhere"),
        (("--network", "nowhere"), "network nowhere not found"),
    ):
        refused = run(*create, *flags, image)
        assert (refused.status, refused.out) == (1, "")
        assert says in refused.err and refused.err.count("\n") == 1
    with registry, pytest.raises(BlockingIOError):
        registry.accept()  # nobody came
    assert run("service", "ls", "-q").out == ""


def test_an_image_that_no_registry_could_have_is_refused_at_create(run: Any, world: Any) -> None:
    """And not tried for ever."""
    result = run("service", "create", "-d", "--name", "w", "Nginx:FOO")
    assert (result.status, result.err.count("\n")) == (1, 1)
    assert "must be lower case" in result.err
    assert run("service", "ls", "-q").out == ""


@pytest.mark.parametrize("kind", ["service", "node", "secret", "config"])
def test_what_is_shown_to_people_is_so_by_a_format_too_and_of_all_that_are_there(
    run: Any, world: Any, tmp_path: Path, kind: str
) -> None:
    (tmp_path / "file").write_text("text")
    run("service", "create", "-d", "--no-resolve-image", "--name", "web", "nginx")
    for one in ("secret", "config"):
        run(one, "create", "web", str(tmp_path / "file"))
    name = "alpha" if kind == "node" else "web"
    shown = run(kind, "inspect", "--pretty", "nope", name, "nada")
    assert shown.status == 1 and "ID:" in shown.out
    assert [line.count("nope") + line.count("nada") for line in shown.err.splitlines()] == [1, 1]
    assert run(kind, "inspect", "--format", "pretty", name).out == shown.out
