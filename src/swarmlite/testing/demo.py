"""`make demo`: the main job, shown: three hosts, the voting example, a worker killed."""

from __future__ import annotations

import os
import shlex
import sys
import time
import urllib.parse
import urllib.request
from collections.abc import Callable
from pathlib import Path

from swarmlite.errors import SwarmliteError
from swarmlite.testing import images

from .cluster import Cluster
from .host import CommandFailed, Host
from .registry import Registry

EXAMPLES = Path(__file__).parents[3] / "compose-examples"
VOTE_PORT, RESULT_PORT = 5000, 5001
STARTED = time.monotonic()


def say(text: str) -> None:
    """One line of what is going on, with the seconds since the start."""
    print(f"\n\x1b[1m[{time.monotonic() - STARTED:5.1f} s] {text}\x1b[0m", flush=True)


def show(host: Host, *args: str, **options: float) -> None:
    """Run a swarmlite command on a host and print both it and what it prints."""
    print(f"{host.name}$ swarmlite {shlex.join(args)}", flush=True)
    print(host.cli(*args, **options), end="", flush=True)  # type: ignore[arg-type]


def until(action: Callable[[], str], timeout_s: float, what: str) -> str:
    """The first answer of `action` that is no error. Raises CommandFailed."""
    deadline = time.monotonic() + timeout_s
    while True:
        try:
            return action()
        except (OSError, CommandFailed) as error:
            if time.monotonic() > deadline:
                raise CommandFailed(f"{what}: {error}") from error
            time.sleep(0.3)


def vote(host: Host, choice: str) -> None:
    """Cast one vote through a host. Raises OSError."""
    request = urllib.request.Request(
        f"http://{host.addr}:{VOTE_PORT}/", data=urllib.parse.urlencode({"vote": choice}).encode()
    )
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(request, timeout=5) as answer:
        answer.read()


def run(cluster: Cluster, registry: Registry) -> None:
    """Deploy, ask, break, and ask again. Raises CommandFailed."""
    manager = cluster.manager
    say("Building images of Debian packages and pushing them to the registry")
    images.push_examples(registry.address, EXAMPLES / "voting")

    say("The nodes of the cluster")
    show(manager, "node", "ls")

    say("Deploying compose-examples/voting")
    os.environ["REGISTRY"] = registry.address
    compose = str(EXAMPLES / "voting" / "compose.yml")
    show(manager, "stack", "deploy", "-c", compose, "voting", timeout_s=60)
    cluster.wait(lambda: whole(cluster), 60, "every service to have its replicas")
    show(manager, "service", "ls")
    show(manager, "service", "ps", "voting_vote")

    say("Asking the published ports on each host, whichever of them run the tasks")
    for host in cluster.hosts:
        for port in (VOTE_PORT, RESULT_PORT):
            body = until(lambda h=host, p=port: h.get(p), 60, f"{host.name}:{port}")  # type: ignore[misc]
            first = " ".join(body.split())[:60]
            print(f"  http://{host.addr}:{port}/  ({host.name})  {len(body)} bytes  {first}...")
    for host in cluster.hosts:
        vote(host, "a")
    counted = until(lambda: counted_votes(manager), 30, "votes in the result")
    print(f"  votes counted: {counted}")

    worker = cluster.workers[-1]
    say(f"Cutting the power of {worker.name}")
    worker.kill()
    gone = time.monotonic()
    cluster.wait(lambda: whole(cluster, worker), 40, "every service whole again on the hosts left")
    print(f"  whole again after {time.monotonic() - gone:.1f} s")
    show(manager, "node", "ls")
    show(manager, "service", "ls")
    for host in cluster.hosts:
        if host is not worker:
            until(lambda h=host: h.get(VOTE_PORT), 20, f"{host.name}:{VOTE_PORT}")  # type: ignore[misc]
            print(f"  http://{host.addr}:{VOTE_PORT}/ answers")


def counted_votes(host: Host) -> str:
    """What the result page counts. Raises CommandFailed while there is none."""
    text = host.get(RESULT_PORT, "/?format=text")
    if not any(character.isdigit() and character != "0" for character in text):
        raise CommandFailed(f"no votes yet: {text[:100]}")
    return " ".join(text.split())


def whole(cluster: Cluster, gone: Host | None = None) -> bool:
    """Whether every service has all its tasks running, none of them on `gone`."""
    shown = cluster.manager.cli("service", "ls", "--format", "{{.Name}} {{.Replicas}}")
    rows = [line.split()[:2] for line in shown.splitlines() if line]
    if not rows or any(count.split("/")[0] != count.split("/")[1] for _, count in rows):
        return False
    return gone is None or all(gone.name not in cluster.running(name) for name, _ in rows)


def main() -> int:
    """Run the demonstration; 0, or 1 with one line of what failed."""
    cluster = Cluster(1, 2, name="demo", swarm=False)
    try:
        say("Bringing up three hosts of namespaces")
        with cluster:
            assert cluster.lan is not None
            with Registry(cluster.lan.gateway) as registry:
                cluster.form_swarm()
                run(cluster, registry)
    except (SwarmliteError, CommandFailed, OSError, RuntimeError) as error:
        print(f"demo failed: {error}", file=sys.stderr)
        print(f"what the hosts said is in {cluster.diagnostics_dir}", file=sys.stderr)
        return 1
    say("Done; nothing was left behind")
    print("To go on by hand: `sudo .venv/bin/swarmlite dev up --nodes 3`")
    return 0


if __name__ == "__main__":
    sys.exit(main())
