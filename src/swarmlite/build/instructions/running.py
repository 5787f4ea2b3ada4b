"""RUN: a command in a container of the engine's, over the stage's files."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from swarmlite.build import emulation
from swarmlite.build.cache import key_of
from swarmlite.build.dockerfile.instructions import Command, Run
from swarmlite.build.failures import StepFailed
from swarmlite.build.layers import layer
from swarmlite.build.progress import Step
from swarmlite.build.run_mounts import Mounts, RunMounts
from swarmlite.build.state import State
from swarmlite.build.stubs import Stubs
from swarmlite.build.trees import writable
from swarmlite.engine.exits import Exit
from swarmlite.engine.io.descriptors import Owned, read_chunks
from swarmlite.errors import FailedPrecondition, PermissionDenied, SwarmliteError
from swarmlite.proto.containers_pb2 import ContainerConfig
from swarmlite.proto.control_pb2 import LogStream
from swarmlite.proto.specs_pb2 import ContainerSpec
from swarmlite.proto.types_pb2 import Mount
from swarmlite.storage.images.flight import in_thread

if TYPE_CHECKING:
    from swarmlite.build.building import Build
    from swarmlite.build.stage import StageBuild

HOSTNAME = "build"
SCRIPTS = "/dev/pipes"
"""Where a here-document lies that is a script by its first line."""


@dataclass(frozen=True)
class Process:
    """What is run; `script` is a file of it, by the name that it gets in SCRIPTS."""

    arguments: tuple[str, ...]
    script: tuple[str, str] | None = None


async def run(stage: StageBuild, state: State, step: Run, told: Step) -> bool:
    """Carry it out; whether the cache had it. Raises StepFailed, Wrong, SwarmliteError."""
    build = stage.build
    process = process_of(step.command, state)
    network = _network(build, step)
    _check_security(build, step)
    arguments = state.arguments.of_run(state.environment)
    mounts = await RunMounts(stage, state, step, told).plan()
    directory = str(state.config.get("WorkingDir") or "/")
    user = str(state.config.get("User") or "")
    environment = {**arguments, **state.environment}
    key = key_of(
        "RUN", state.top, process.arguments, process.script, environment, user, directory,
        mounts.key, network, step.security, sorted(build.options.extra_hosts), str(state.platform),
        build.epoch,
    )  # fmt: skip

    async def work(name: str) -> None:
        await in_thread(emulation.check, state.platform, build.host)
        proxies = state.arguments.proxies()
        if build.epoch is not None:
            proxies["SOURCE_DATE_EPOCH"] = str(build.epoch)
        config = _configuration(build, process, {**proxies, **environment})
        config.spec.dir, config.spec.user = directory, user
        config.network_mode = network
        config.spec.privileged = step.security == "insecure"
        await _carry_out(build, name, config, process, mounts, told)

    text = "RUN " + history_of(process.arguments, state)
    return await layer(build, state, key, text, work, no_cache=stage.no_cache)


def process_of(command: Command, state: State) -> Process:
    """The words of the process; a here-document is its script, or its shell's."""
    if not command.documents:
        if command.words:
            return Process(command.words)
        return Process((*state.shell, command.shell))
    documents = command.documents
    text = command.shell
    if len(documents) == 1 and text.strip().lstrip("<-").strip("'\"") == documents[0].name:
        content = documents[0].text
        if content.startswith("#!"):
            path = f"{SCRIPTS}/{documents[0].name}"
            return Process((path,), (documents[0].name, content))
        return Process((*state.shell, content))
    for document in documents:
        end = "" if document.text.endswith("\n") or not document.text else "\n"
        text += f"\n{document.text}{end}{document.name}"
    return Process((*state.shell, text + "\n"))


def history_of(arguments: Sequence[str], state: State) -> str:
    """A command as the history has it: the build arguments that it saw come first."""
    environment = state.environment
    seen = [
        f"{name}={environment.get(name, value or '')}"
        for name, value in state.arguments.declared.items()
    ]
    words = [f"|{len(seen)}", *seen] if seen else []
    return " ".join([*words, *arguments])


def _network(build: Build, step: Run) -> str:
    asked = step.network if step.network != "default" else build.options.network or "default"
    if step.network == "host" and build.options.network != "host":
        _entitled(build, "network.host", "RUN --network=host")
    return "bridge" if asked == "default" else asked


def _check_security(build: Build, step: Run) -> None:
    if step.security == "insecure":
        _entitled(build, "security.insecure", "RUN --security=insecure")


def _entitled(build: Build, name: str, what: str) -> None:
    if name not in build.options.entitlements:
        raise PermissionDenied(f"{what} is not allowed: build with --allow {name}")


def _configuration(
    build: Build, process: Process, environment: Mapping[str, str]
) -> ContainerConfig:
    options = build.options
    spec = ContainerSpec(hostname=HOSTNAME, shm_size_bytes=options.shm_size_bytes)
    spec.command.extend(process.arguments)
    spec.env.extend(f"{name}={value}" for name, value in environment.items())
    spec.ulimits.extend(options.ulimits)
    spec.hosts.extend(_host(entry) for entry in options.extra_hosts)
    config = ContainerConfig(spec=spec, resources=options.resources)
    if process.script is not None:  # a place in /dev that may be taken
        config.spec.mounts.append(Mount(type=Mount.TMPFS, target=f"{SCRIPTS}/{process.script[0]}"))
    return config


def _host(entry: str) -> str:
    """NAME:IP, or NAME=IP, as hosts(5) has it."""
    separator = "=" if "=" in entry else ":"
    name, _, address = entry.partition(separator)
    return f"{address.strip('[]')} {name}"


async def _carry_out(
    build: Build,
    name: str,
    config: ContainerConfig,
    process: Process,
    mounts: Mounts,
    told: Step,
) -> None:
    async with mounts.provided(build) as provided:
        config.spec.env.extend(f"{key}={value}" for key, value in provided.environment.items())
        oci = list(provided.mounts)
        if process.script is not None:
            oci.append(_script(build, *process.script))
        targets = [mount["destination"] for mount in oci]
        stubs = await in_thread(_noted, build, name, targets)
        end = await _run(build, name, config, oci, told)
        await in_thread(_cleared, build, name, stubs)
    if end.lost:
        raise StepFailed(f"{' '.join(process.arguments)}: {end.lost}", end.code)
    if end.code:
        why = " (killed, out of memory)" if end.oom_killed else ""
        raise StepFailed(
            f'process "{" ".join(process.arguments)}" did not complete successfully: '
            f"exit code: {end.code}{why}",
            end.code,
        )


def _script(build: Build, name: str, content: str) -> dict[str, object]:
    path = build.new()
    path.write_text(content)
    path.chmod(0o755)
    return {
        "destination": f"{SCRIPTS}/{name}",
        "type": "bind",
        "source": str(path),
        "options": ["bind", "rprivate", "ro"],
    }


def _noted(build: Build, name: str, targets: Sequence[str]) -> Stubs:
    if not targets:
        return Stubs()
    with writable(build.engine, name) as root:
        return Stubs.noted(root, targets)


def _cleared(build: Build, name: str, stubs: Stubs) -> None:
    if stubs:
        with writable(build.engine, name) as root:
            stubs.clear(root)


async def _run(
    build: Build,
    name: str,
    config: ContainerConfig,
    mounts: Sequence[dict[str, object]],
    told: Step,
) -> Exit:
    """Run it; what it writes is said meanwhile."""
    with Owned() as owned:
        nothing = os.open("/dev/null", os.O_RDONLY | os.O_CLOEXEC)
        owned.add(nothing)
        out, out_end = owned.pipe()
        err, err_end = owned.pipe()
        os.set_blocking(out, False)
        os.set_blocking(err, False)
        readers = [
            asyncio.create_task(_read(told, out, LogStream.LOG_STDOUT)),
            asyncio.create_task(_read(told, err, LogStream.LOG_STDERR)),
        ]
        try:
            end = await build.engine.transients.run(
                name, config, mounts=mounts, stdio=(nothing, out_end, err_end)
            )
            owned.close(out_end, err_end)
            await asyncio.gather(*readers)
            return end
        except FailedPrecondition as error:
            raise FailedPrecondition(f"RUN could not be started: {error}") from error
        finally:
            for reader in readers:
                reader.cancel()
            with contextlib.suppress(asyncio.CancelledError, SwarmliteError):
                await asyncio.wait(readers)


async def _read(told: Step, descriptor: int, stream: LogStream.ValueType) -> None:
    async for data in read_chunks(descriptor):
        await told.log(data, stream)
