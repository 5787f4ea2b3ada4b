"""A container that is to be created, and an exec in one."""

from __future__ import annotations

from typing import Any

from swarmlite.docker.fields import Fields
from swarmlite.docker.reading import binds, endpoints, hostconfig
from swarmlite.docker.reading.containerspec import health
from swarmlite.errors import InvalidSpec
from swarmlite.model import detach_keys
from swarmlite.model.units import FOREVER_S, duration
from swarmlite.proto.containers_pb2 import ContainerConfig, EndpointConfig, ExecConfig
from swarmlite.proto.types_pb2 import Platform

SECOND = 1_000_000_000
_BRIDGE = ("", "default", "bridge")


def create(body: Fields, name: str, platform: str = "") -> ContainerConfig:
    """The configuration that a body of /containers/create asks for. Raises InvalidSpec."""
    if not body:
        raise InvalidSpec("config cannot be empty in order to create a container")
    made = ContainerConfig(name=name.removeprefix("/"))
    _config(body, made)
    hostconfig.read(body.object("HostConfig"), made)
    spec = made.spec
    volumes = [target for target, _, _ in body.entries("Volumes")]
    spec.mounts.extend(binds.anonymous(volumes, list(spec.mounts)))
    if platform:
        made.platform.CopyFrom(platform_of(platform))
    _networks(body, made)
    return made


def _config(body: Fields, made: ContainerConfig) -> None:
    spec = made.spec
    spec.image = body.text("Image")
    spec.hostname = body.text("Hostname")
    spec.domainname = body.text("Domainname")
    spec.user = body.text("User")
    spec.dir = body.text("WorkingDir")
    spec.tty = body.flag("Tty")
    spec.open_stdin = body.flag("OpenStdin")
    made.stdin_once = body.flag("StdinOnce")
    made.attach_stdin = body.flag("AttachStdin")
    made.attach_stdout = body.flag("AttachStdout")
    made.attach_stderr = body.flag("AttachStderr")
    made.exposed_ports.extend(endpoints.exposed(body))
    spec.env.extend(body.texts("Env"))  # a bare NAME takes the image's away
    spec.args.extend(body.words("Cmd"))
    # An empty list takes the image's entrypoint away, as one empty word does.
    entrypoint = body.words("Entrypoint")
    spec.command.extend(entrypoint or ([""] if body.raw("Entrypoint") == [] else []))
    spec.labels.update(body.mapping("Labels"))
    spec.stop_signal = body.text("StopSignal")
    if body.has("StopTimeout"):
        seconds = body.number("StopTimeout")
        spec.stop_grace_period.CopyFrom(duration((FOREVER_S if seconds < 0 else seconds) * SECOND))
    if body.has("Healthcheck"):
        health(body.object("Healthcheck"), spec.healthcheck)


def committed(sent: Any) -> dict[str, Any]:
    """A body of /commit, what a new image's configuration has over its container's.

    Raises InvalidSpec.
    """
    body = Fields.of(sent)
    _config(body, ContainerConfig())  # which knows the types of everything
    words = {key: body.words(key) for key in ("Cmd", "Entrypoint") if body.has(key)}
    return {**(sent or {}), **words}


def platform_of(text: str) -> Platform:
    """os[/arch[/variant]]. Raises InvalidSpec."""
    parts = text.lower().split("/")
    if len(parts) > 3 or not all(parts):
        raise InvalidSpec(f'"{text[:60]}" is an invalid OS component: expected os[/arch[/variant]]')
    if parts[0] != "linux" and len(parts) > 1:
        raise InvalidSpec(f"operating system is not supported: {parts[0][:40]!r}, only linux is")
    return Platform(os=parts[0], architecture=parts[1] if len(parts) > 1 else "")


def _networks(body: Fields, made: ContainerConfig) -> None:
    """The networks of NetworkingConfig, over HostConfig.NetworkMode and Links."""
    asked = endpoints.endpoints(body.object("NetworkingConfig"))
    if body.flag("NetworkDisabled") and not asked:
        made.network_mode = "none"
        return
    of_bridge = [e for e in asked if e.network in _BRIDGE]
    if asked and made.network_mode in ("", "default") and not of_bridge:
        # Docker then leaves the bridge out: the container is on these networks only.
        made.network_mode = asked[0].network
    made.networks.extend(asked)
    links, mac = body.object("HostConfig").texts("Links"), body.text("MacAddress")
    if links or mac:
        first = _first(made)
        first.links.extend(links)
        if mac and first.mac_address not in ("", mac):
            raise InvalidSpec(
                "the container-wide MAC address must match the endpoint-specific MAC address for"
                " the main network, or be left empty"
            )
        first.mac_address = mac or first.mac_address


def _first(made: ContainerConfig) -> EndpointConfig:
    """The settings of the network that the mode names."""
    mode = made.network_mode
    for endpoint in made.networks:
        if endpoint.network == mode or (endpoint.network in _BRIDGE and mode in _BRIDGE):
            return endpoint
    return made.networks.add(network=mode or "default")


def exec_config(container: str, body: Fields) -> ExecConfig:
    """A body of /containers/{id}/exec. Raises InvalidSpec."""
    made = ExecConfig(
        container=container,
        command=body.words("Cmd"),
        env=body.texts("Env"),
        user=body.text("User"),
        dir=body.text("WorkingDir"),
        tty=body.flag("Tty"),
        privileged=body.flag("Privileged"),
        attach_stdin=body.flag("AttachStdin"),
        attach_stdout=body.flag("AttachStdout"),
        attach_stderr=body.flag("AttachStderr"),
        detach_keys=body.text("DetachKeys"),
    )
    detach_keys.parse(made.detach_keys or detach_keys.DEFAULT)
    if not made.command:
        raise InvalidSpec("No exec command specified")
    if size := console_size(body):
        made.console_height, made.console_width = size
    return made


def console_size(body: Fields) -> tuple[int, int] | None:
    """ConsoleSize of an exec, [height, width]; None for anything else."""
    size = body.items("ConsoleSize")
    if len(size) == 2 and all(isinstance(n, int) and 0 <= n < 2**16 for n in size):
        return size[0], size[1]
    return None
