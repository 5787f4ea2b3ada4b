"""Docker's command line, command by command, against a cluster of three hosts.

A row is one command and needs nothing of another row's. Commands that have a second, shorter name
(`docker ps`) are run by both. What runs without an engine (manifest, trust, completion) and what
is of plugins is left out. `make clients` runs them: a minute.
"""

from __future__ import annotations

import io
import re
import shlex
import subprocess
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import yaml
from docker_clients import COMMANDS, Docker, docker_home
from swarm_world import EXAMPLES, remove_everything

from swarmlite.testing import Cluster, DockerCluster

pytestmark = [
    pytest.mark.timeout(240),
    pytest.mark.clients,
    pytest.mark.skipif(not COMMANDS, reason="Docker's command is not installed"),
]
NOT_OF_DOCKERS = {
    "shop": "depends_on must be a list|unsupported Compose file version",
    "cron": "Unknown mode: replicated-job",
}
"""Examples that say what the command's schema, or an old one's, does not have; its words."""
WAITS = "sh -c 'while :; do sleep 1; done'"
COMPOSE = """
version: '3'
services:
  one: {{image: '{image}', command: sleep 1000, deploy: {{replicas: 0}}}}
"""


@dataclass(frozen=True)
class Row:
    """`command` in the scene's words; it ends with `status` and `says` is in what it prints."""

    command: str
    says: str = ""
    before: tuple[str, ...] = ()
    after: tuple[str, ...] = ()
    """What takes away what the row made."""
    status: int = 0
    stdin: str | None = None
    short: str = ""
    """What the command's second name has in the place of its first two words."""


def a_container(name: str, command: str = WAITS) -> tuple[str, ...]:
    return (f"run -d --name {name} {{image}} {command}",)


def gone(name: str) -> tuple[str, ...]:
    return (f"rm -f {name}",)


CONTAINERS = [
    Row("container create --name c1 {image} true", after=gone("c1"), short="create"),
    Row("container start -a c2", "of c2", ("create --name c2 {image} echo of c2",), gone("c2"),
        short="start"),
    Row("container run --rm {image} echo hello", "hello", short="run"),
    Row("container attach c3", "got it", ("run -di --name c3 {image} sh -c 'read x; echo got $x'",),
        gone("c3"), stdin="it\n", short="attach"),
    Row("container exec box echo inside", "inside", short="exec"),
    Row("container logs box", "said", short="logs"),
    Row("container top box", "sleep", short="top"),
    Row("container stats --no-stream box", "box", short="stats"),
    Row("container port box", "80/tcp -> ", short="port"),
    Row("container inspect box", '"Name": "/box"'),
    Row("container ls --filter name=box", "box", short="ps"),
    Row("container diff box", "A /made", short="diff"),
    Row("container cp box:/made {folder}/copied", short="cp"),
    Row("container export -o {folder}/exported.tar box", short="export"),
    Row("container commit box committed:1", "sha256:", after=("rmi committed:1",), short="commit"),
    Row("container pause c4", "c4", a_container("c4"), gone("c4"), short="pause"),
    Row("container unpause c5", "c5", (*a_container("c5"), "pause c5"), gone("c5"),
        short="unpause"),
    Row("container rename c6 c6b", before=a_container("c6", "true"), after=gone("c6b"),
        short="rename"),
    Row("container update --memory 64m --memory-swap -1 c7", "c7", a_container("c7"), gone("c7"),
        short="update"),
    Row("container restart -t 0 c8", "c8", a_container("c8"), gone("c8"), short="restart"),
    Row("container stop -t 0 c9", "c9", a_container("c9"), gone("c9"), short="stop"),
    Row("container kill c10", "c10", a_container("c10"), gone("c10"), short="kill"),
    Row("container wait c11", "3", a_container("c11", "sh -c 'exit 3'"), gone("c11"),
        short="wait"),
    Row("container rm -f c12", "c12", a_container("c12"), short="rm"),
    Row("container prune -f --filter label=mine=1", "Total reclaimed space",
        ("create --label mine=1 {image} true",)),
]  # fmt: skip
IMAGES = [
    Row("image build -t built:1 {folder}/build", "Successfully tagged built:1",
        after=("rmi built:1",), short="build"),
    Row("image history tagged:1", "COMMENT", short="history"),
    Row("image import {folder}/root.tar imported:1", "sha256:", after=("rmi imported:1",),
        short="import"),
    Row("image inspect tagged:1", '"RepoTags"'),
    Row("image load -i {folder}/saved.tar", "Loaded image: tagged:1", short="load"),
    Row("image ls", "tagged", short="images"),
    Row("image prune -f", "Total reclaimed space"),
    Row("image pull {image}", "Status: Image is up to date", short="pull"),
    Row("image push {registry}/pushed:1", "digest: sha256:", ("tag {image} {registry}/pushed:1",),
        ("rmi {registry}/pushed:1",), short="push"),
    Row("image rm t1:1", "Untagged: t1:1", ("tag {image} t1:1",), short="rmi"),
    Row("image save -o {folder}/again.tar tagged:1", short="save"),
    Row("image tag tagged:1 t2:1", after=("rmi t2:1",), short="tag"),
    Row("builder build -t built:2 {folder}/build", "Successfully", after=("rmi built:2",)),
    Row("builder prune -f", "Total reclaimed space"),
    Row("search nothing", "on the web page of your registry", status=1),
]  # fmt: skip
OF_THE_HOST = [
    Row("network connect n1 box", before=("network create n1",),
        after=("network disconnect n1 box", "network rm n1")),
    Row("network create --driver overlay --attachable n2", after=("network rm n2",)),
    Row("network disconnect n3 box", before=("network create n3", "network connect n3 box"),
        after=("network rm n3",)),
    Row("network inspect over", '"Scope": "swarm"'),
    Row("network ls", "over"),
    Row("network prune -f --filter label=mine=2", "n4",
        ("network create --label mine=2 n4",)),
    Row("network rm n5", "n5", ("network create n5",)),
    Row("volume create v1", "v1", after=("volume rm v1",)),
    Row("volume inspect v2", '"Name": "v2"', ("volume create v2",), ("volume rm v2",)),
    Row("volume ls", "v3", ("volume create v3",), ("volume rm v3",)),
    Row("volume prune -f --filter label=mine=3", "Total reclaimed space"),
    Row("volume rm v4", "v4", ("volume create v4",)),
    Row("inspect box", '"Name": "/box"'),
    Row("version", "Server:"),
    Row("login -u somebody -p secret {registry}", "Login Succeeded"),
    Row("logout {registry}", "{registry}"),
    Row("plugin ls", "ENABLED"),
    Row("system df", "Local Volumes"),
    Row("system events --since 1h --until 0s --filter container=box", "container start",
        short="events"),
    Row("system info", "Is Manager: true", short="info"),
    Row("system prune -f --filter label=mine=4", "Total reclaimed space"),
    Row("context create c1 --docker host=tcp://192.0.2.1:2376", "c1", after=("context rm c1",)),
    Row("context export c2 -", before=("context create c2 --docker host=tcp://192.0.2.1:2376",),
        after=("context rm c2",)),
    Row("context import c4 {folder}/context.tar", "c4",
        ("context create c3 --docker host=tcp://192.0.2.1:2376",
         "context export c3 {folder}/context.tar"),
        ("context rm c3 c4",)),
    Row("context inspect default", "unix://"),
    Row("context ls", "default"),
    Row("context rm c5", "c5", ("context create c5 --docker host=tcp://192.0.2.1:2376",)),
    Row("context update c6 --description words", "c6",
        ("context create c6 --docker host=tcp://192.0.2.1:2376",), ("context rm c6",)),
    Row("context use default", "default"),
]  # fmt: skip
ZERO = "--detach --quiet --replicas 0"
OF_THE_SWARM = [
    Row("swarm ca", "BEGIN CERTIFICATE"),
    Row("swarm init", "already part of a swarm", status=1),
    Row("swarm join --token SWMTKN-1-x {manager}", "already part of a swarm", status=1),
    Row("swarm join-token -q worker", "SWMTKN-1-"),
    Row("swarm leave", "participating as a manager", status=1),
    Row("swarm unlock", "swarm is not locked", status=1, stdin="SWMKEY-1-x\n"),
    Row("swarm unlock-key -q", "SWMKEY-1-", ("swarm update --autolock=true",),
        ("swarm update --autolock=false",)),
    Row("swarm update --task-history-limit 6", "Swarm updated",
        after=("swarm update --task-history-limit 5",)),
    Row("node demote manager1", "last manager", status=1),
    Row("node inspect worker1", '"Hostname": "worker1"'),
    Row("node ls", "worker2"),
    Row("node promote manager1", "already a manager"),
    Row("node ps worker1"),
    Row("node rm worker1", "is not down", status=1),
    Row("node update --label-add a=b worker1", "worker1",
        after=("node update --label-rm a worker1",)),
    Row(f"service create {ZERO} --name s1 {{image}} true", after=("service rm s1",)),
    Row("service inspect svc", '"Name": "svc"'),
    Row("service logs svc", "serves"),
    Row("service ls", "svc"),
    Row("service ps svc", "svc.1"),
    Row("service rm s2", "s2", (f"service create {ZERO} --name s2 {{image}} true",)),
    Row("service rollback -d s3", "s3", (f"service create {ZERO} --name s3 {{image}} true",
        "service update -d -q --label-add a=b s3"), ("service rm s3",)),
    Row("service scale -d s4=0", "s4 scaled to 0",
        (f"service create {ZERO} --name s4 {{image}} true",), ("service rm s4",)),
    Row("service update -d -q --env-add A=1 s5", "s5",
        (f"service create {ZERO} --name s5 {{image}} true",), ("service rm s5",)),
    Row("stack deploy -c {folder}/compose.yml k1", "Creating service k1_one",
        after=("stack rm k1",)),
    Row("stack ls", "k2", ("stack deploy -c {folder}/compose.yml k2",), ("stack rm k2",)),
    Row("stack ps svcs", "svcs_one.1"),
    Row("stack rm k3", "Removing service k3_one", ("stack deploy -c {folder}/compose.yml k3",)),
    Row("stack services k4", "k4_one", ("stack deploy -c {folder}/compose.yml k4",),
        ("stack rm k4",)),
    Row("secret create s1 -", after=("secret rm s1",), stdin="hidden"),
    Row("secret inspect s2", '"Name": "s2"', ("secret create s2 {folder}/file",),
        ("secret rm s2",)),
    Row("secret ls", "s3", ("secret create s3 {folder}/file",), ("secret rm s3",)),
    Row("secret rm s4", before=("secret create s4 {folder}/file",)),
    Row("config create c1 -", after=("config rm c1",), stdin="shown"),
    Row("config inspect c2", '"Name": "c2"', ("config create c2 {folder}/file",),
        ("config rm c2",)),
    Row("config ls", "c3", ("config create c3 {folder}/file",), ("config rm c3",)),
    Row("config rm c4", before=("config create c4 {folder}/file",)),
]  # fmt: skip
ROWS = [*CONTAINERS, *IMAGES, *OF_THE_HOST, *OF_THE_SWARM]


GROUPS = {row.command.split()[0] for row in ROWS} - {
    "inspect",
    "version",
    "login",
    "logout",
    "search",
}


def name_of(row: Row) -> str:
    words = row.command.split()
    return " ".join(words[: 2 if words[0] in GROUPS else 1])


def by_their_shorter_names() -> Iterator[Row]:
    for row in ROWS:
        if row.short:
            rest = row.command.split(" ", 2)[2:]
            yield replace(row, command=" ".join([row.short, *rest]))


@dataclass(frozen=True)
class Scene:
    """A container, services, files and a network that rows speak of, and their words."""

    docker: Docker
    words: dict[str, str]

    def run(self, command: str, stdin: str | None = None) -> subprocess.CompletedProcess[str]:
        arguments = shlex.split(command.format(**self.words))
        return self.docker.run(
            *arguments, input=stdin, DOCKER_BUILDKIT="0", REGISTRY=self.words["registry"]
        )

    def must(self, command: str) -> str:
        done = self.run(command)
        assert done.returncode == 0, f"docker {command}: {done.stdout}{done.stderr}"
        return done.stdout


@pytest.fixture(scope="module")
def scene(
    shared_cluster: Cluster | DockerCluster, busybox: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Scene]:
    folder = tmp_path_factory.mktemp("commands")
    words = {
        "image": busybox,
        "registry": busybox.partition("/")[0],
        "folder": str(folder),
        "manager": f"{shared_cluster.manager.addr}:2377",
    }
    write_files(folder, words)
    with docker_home() as home:
        made = Scene(Docker(list(COMMANDS.values())[-1], shared_cluster.manager, home), words)
        try:
            furnish(made, shared_cluster)
            yield made
        finally:
            made.run("rm -fv box")
            made.run("rmi tagged:1")
            with shared_cluster.control() as control:
                remove_everything(shared_cluster, control)


def write_files(folder: Path, words: dict[str, str]) -> None:
    (folder / "build").mkdir()
    (folder / "build/Dockerfile").write_text(f"FROM {words['image']}\nLABEL a=b\n")
    (folder / "file").write_text("content")
    (folder / "compose.yml").write_text(COMPOSE.format(**words))
    with tarfile.open(folder / "root.tar", "w") as archive:
        archive.addfile(tarfile.TarInfo("empty"), io.BytesIO())


def furnish(scene: Scene, cluster: Cluster | DockerCluster) -> None:
    scene.must("pull -q {image}")
    scene.must("tag {image} tagged:1")
    scene.must("save -o {folder}/saved.tar tagged:1")
    scene.must("network create -d overlay --attachable over")
    scene.must(
        "run -d --name box -p 80 {image} sh -c 'touch /made; echo said; while :; do sleep 1; done'"
    )
    serves = "sh -c 'echo serves; exec sleep 1000'"
    scene.must("service create -d -q --name svc --network over {image} " + serves)
    scene.must("stack deploy -c {folder}/compose.yml svcs")
    scene.must("service scale -d svcs_one=1")
    cluster.wait(lambda: "said" in scene.must("logs box"), 60, "the container to speak")
    cluster.wait(lambda: "serves" in scene.must("service logs svc"), 60, "the service to speak")
    cluster.wait(lambda: "svcs_one.1" in scene.must("stack ps svcs"), 60, "the stack's task")


@pytest.mark.parametrize("row", [*ROWS, *by_their_shorter_names()], ids=name_of)
def test_every_command_does_what_it_does_on_docker(scene: Scene, row: Row) -> None:
    """Its exit status, and the words of its output that tell that it did."""
    try:
        for command in row.before:
            scene.must(command)
        done = scene.run(row.command, row.stdin)
        said = done.stdout + done.stderr
        assert done.returncode == row.status, said
        assert row.says.format(**scene.words) in said
    finally:
        left = [done.stderr for each in row.after if (done := scene.run(each)).returncode]
    assert left == []


@pytest.mark.parametrize(
    "example", sorted(each.parent.name for each in EXAMPLES.glob("*/compose.yml"))
)
def test_docker_s_command_deploys_every_example(
    scene: Scene, shared_cluster: Cluster, example: str
) -> None:
    """As far as it reads the file: the services are there, whether or not their images are."""
    file = EXAMPLES / example / "compose.yml"
    if example == "tls-proxy":
        scene.must("secret create site.pem {folder}/file")
    newest = next(iter(COMMANDS.values()))
    there = replace(scene, docker=Docker(newest, shared_cluster.manager, scene.docker._home))
    done = there.run(f"stack deploy --resolve-image never -c {file} {example}")
    try:
        if done.returncode and example in NOT_OF_DOCKERS:
            assert re.search(NOT_OF_DOCKERS[example], done.stderr)
            return
        assert done.returncode == 0, done.stderr
        names = scene.must(f"stack services -q {example}").split()
        assert len(names) == len(yaml.safe_load(file.read_text())["services"])
    finally:
        scene.must(f"stack rm {example}")
        scene.run("secret rm site.pem")


def test_there_are_as_many_commands_as_docker_s_clients_have() -> None:
    """98 without plugins, each once."""
    names = [name_of(row) for row in (*ROWS, *by_their_shorter_names())]
    assert len(names) == len(set(names)) >= 98


def test_a_worker_leaves_makes_a_swarm_of_its_own_and_comes_back(
    scene: Scene, shared_cluster: Cluster
) -> None:
    """By Docker's command: leave, init, leave by force, join; and its old entry is removed."""
    cluster, worker = shared_cluster, shared_cluster.workers[-1]
    there = Scene(Docker(scene.docker._command, worker, scene.docker._home), scene.words)
    old = scene.must(f"node ls -q --filter name={worker.name}").strip()
    token = scene.must("swarm join-token -q worker").strip()
    assert "Node left the swarm" in there.must("swarm leave")
    assert "is now a manager" in there.must(f"swarm init --advertise-addr {worker.addr}")
    assert there.must("node ls -q").strip() not in ("", old)
    there.must("swarm leave -f")
    said = there.must(f"swarm join --token {token} --advertise-addr {worker.addr} {{manager}}")
    assert "joined a swarm as a worker" in said
    scene.must(f"node rm -f {old}")
    cluster.wait(lambda: scene.must("node ls").count("Ready") == 3, 60, "the worker to be Ready")
