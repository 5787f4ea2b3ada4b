"""A container as Docker's inspect shows it."""

from __future__ import annotations

from swarmlite.docker import hostconfig, ports
from swarmlite.docker.values import Json, compact, nanoseconds, time, word
from swarmlite.engine.process_spec import NANOSECONDS, HealthCheck
from swarmlite.model.units import FOREVER_S
from swarmlite.proto.containers_pb2 import (
    Container,
    ContainerState,
    EndpointState,
    Health,
    MountPoint,
)
from swarmlite.proto.types_pb2 import HealthConfig, Mount


def inspect(value: Container, *, size: bool = False) -> Json:
    """Everything of a container; sizes where they were asked for."""
    args = list(value.args)
    result: Json = {
        "Id": value.id,
        "Created": time(value.created),
        "Path": args[0] if args else "",
        "Args": args[1:],
        "State": state(value.state),
        "Image": value.image_id,
        "ResolvConfPath": value.resolv_conf_path,
        "HostnamePath": value.hostname_path,
        "HostsPath": value.hosts_path,
        "LogPath": value.log_path,
        "Name": f"/{value.config.name}",
        "RestartCount": value.state.restart_count,
        "Driver": "overlay2",
        "Platform": "linux",
        "MountLabel": "",
        "ProcessLabel": "",
        "AppArmorProfile": "",
        "ExecIDs": list(value.exec_ids) or None,
        "HostConfig": hostconfig.of(value.config),
        "GraphDriver": {"Name": "overlay2", "Data": {}},
    }
    if size:
        result["SizeRw"] = value.size_rw_bytes
        result["SizeRootFs"] = value.size_root_fs_bytes
    result["Mounts"] = [mount_point(mount) for mount in value.mounts]
    result["Config"] = config(value)
    result["NetworkSettings"] = network_settings(value)
    return result


def asked_mac(value: Container) -> str:
    """The MAC address that was asked for on the network of its mode."""
    mode = value.config.network_mode
    bridge = ("", "default", "bridge")
    names = bridge if mode in bridge else (mode,)
    asked = (place.mac_address for place in value.config.networks if place.network in names)
    return next(asked, "")


def state(value: ContainerState) -> Json:
    """State, with Health where there is a check."""
    status = value.status
    alive = (ContainerState.RUNNING, ContainerState.PAUSED, ContainerState.RESTARTING)
    result: Json = {
        "Status": state_word(value),
        "Running": status in alive,
        "Paused": status == ContainerState.PAUSED,
        "Restarting": status == ContainerState.RESTARTING,
        "OOMKilled": value.oom_killed,
        "Dead": status == ContainerState.DEAD,
        "Pid": value.pid,
        "ExitCode": value.exit_code,
        "Error": value.error,
        "StartedAt": time(value.started),
        "FinishedAt": time(value.finished),
    }
    if value.HasField("health") and value.health.status != Health.NONE:
        result["Health"] = health(value.health)
    return result


def state_word(value: ContainerState) -> str:
    """created, running, paused, restarting, removing, exited or dead."""
    if value.status == ContainerState.CREATING:
        return "created"
    return ContainerState.Status.Name(value.status).lower()


def health(value: Health) -> Json:
    """The outcome of the last checks."""
    return {
        "Status": Health.Status.Name(value.status).lower(),
        "FailingStreak": value.failing_streak,
        "Log": [
            {
                "Start": time(result.start),
                "End": time(result.end),
                "ExitCode": result.exit_code,
                "Output": result.output,
            }
            for result in value.log
        ],
    }


def config(value: Container) -> Json:
    """What of a container does not depend on its host."""
    asked, spec = value.config, value.config.spec
    exposed = ports.each([*value.exposed_ports, *asked.exposed_ports])
    exposed += [ports.target(port) for port in asked.ports]
    result: Json = {
        "Hostname": spec.hostname or value.id[:12],
        "Domainname": spec.domainname,
        "User": value.user or spec.user,
        "AttachStdin": asked.attach_stdin,
        "AttachStdout": asked.attach_stdout,
        "AttachStderr": asked.attach_stderr,
        **({"ExposedPorts": {name: {} for name in sorted(set(exposed))}} if exposed else {}),
        "Tty": spec.tty,
        "OpenStdin": spec.open_stdin,
        "StdinOnce": asked.stdin_once,
        "Env": [*value.env, *(name for name in spec.env if "=" not in name or not value.env)],
        "Cmd": list(spec.args) or None,
        "Image": spec.image,
        "Volumes": {m.target: {} for m in spec.mounts if _anonymous(m)} or None,
        "WorkingDir": value.working_dir or spec.dir,
        "Entrypoint": list(spec.command) or None,
        "OnBuild": None,
        "Labels": dict(sorted((value.labels or spec.labels).items())),
    }
    if spec.HasField("healthcheck") or value.HasField("healthcheck"):
        check = value.healthcheck if value.HasField("healthcheck") else spec.healthcheck
        result["Healthcheck"] = healthcheck(check, spec.healthcheck)
    if value.stop_signal or spec.stop_signal:
        result["StopSignal"] = value.stop_signal or spec.stop_signal
    if spec.HasField("stop_grace_period"):
        seconds = spec.stop_grace_period.seconds
        # Earlier releases stored 100 years.
        result["StopTimeout"] = -1 if seconds >= FOREVER_S else seconds
    return result


def healthcheck(value: HealthConfig, asked: HealthConfig) -> Json:
    """A health check as it was asked for, here or by the image; durations in nanoseconds.

    What holds where nobody asks is no part of it: clients compare it with what they sent.
    """
    plain = HealthCheck([])
    result: Json = {"Test": list(value.test)}
    for key, field, own, default_s in (
        ("Interval", value.interval, asked.interval, plain.interval_s),
        ("Timeout", value.timeout, asked.timeout, plain.timeout_s),
        ("StartPeriod", value.start_period, asked.start_period, plain.start_period_s),
        ("StartInterval", value.start_interval, asked.start_interval, plain.start_interval_s),
    ):
        if nanoseconds(own) or nanoseconds(field) not in (0, default_s * NANOSECONDS):
            result[key] = nanoseconds(field)
    if asked.retries or value.retries not in (0, plain.retries):
        result["Retries"] = value.retries
    return result


def _anonymous(mount: Mount) -> bool:
    return mount.type == Mount.VOLUME and not mount.source


def mount_point(value: MountPoint) -> Json:
    """One mount as it is."""
    result: Json = {"Type": word(Mount.Type.Name(value.type))}
    if value.name:
        result["Name"] = value.name
    result["Source"] = value.source
    result["Destination"] = value.destination
    if value.driver:
        result["Driver"] = value.driver
    result["Mode"] = value.mode
    result["RW"] = value.rw
    result["Propagation"] = value.propagation
    return result


def network_settings(value: Container) -> Json:
    """The sandbox, the ports, and the place on each network."""
    networks = {endpoint.network_name: endpoint for endpoint in value.networks}
    exposed = [*value.exposed_ports, *value.config.exposed_ports]
    bridge = networks.get("bridge")
    return {
        "Bridge": "",
        "SandboxID": value.id if value.sandbox_path else "",
        "SandboxKey": value.sandbox_path,
        "Ports": ports.bound(value.ports, exposed),
        "HairpinMode": False,
        "LinkLocalIPv6Address": "",
        "LinkLocalIPv6PrefixLen": 0,
        "SecondaryIPAddresses": None,
        "SecondaryIPv6Addresses": None,
        **_of_bridge(bridge),
        "Networks": {name: endpoint(networks[name]) for name in sorted(networks)},
    }


def _of_bridge(value: EndpointState | None) -> Json:
    """What versions before 1.52 say of the default bridge at the top."""
    found = endpoint(value or EndpointState())
    keys = (
        "EndpointID",
        "Gateway",
        "GlobalIPv6Address",
        "GlobalIPv6PrefixLen",
        "IPAddress",
        "IPPrefixLen",
        "IPv6Gateway",
        "MacAddress",
    )
    return {key: found[key] for key in keys}


def endpoint(value: EndpointState) -> Json:
    """A container's place on one network."""
    asked = value.config
    address, prefix = _cidr(value.ipv4_address)
    address6, prefix6 = _cidr(value.ipv6_address)
    ipam = compact(
        {
            "IPv4Address": asked.ipv4_address,
            "IPv6Address": asked.ipv6_address,
            "LinkLocalIPs": list(asked.link_local_ips),
        }
    )
    return {
        "IPAMConfig": ipam or None,
        "Links": list(asked.links) or None,
        "Aliases": list(value.aliases) or None,
        "MacAddress": value.mac_address or asked.mac_address,
        "DriverOpts": dict(asked.driver_options) or None,
        "GwPriority": 0,
        "NetworkID": value.network_id,
        "EndpointID": value.endpoint_id,
        "Gateway": value.ipv4_gateway,
        "IPAddress": address,
        "IPPrefixLen": prefix,
        "IPv6Gateway": value.ipv6_gateway,
        "GlobalIPv6Address": address6,
        "GlobalIPv6PrefixLen": prefix6,
        "DNSNames": list(value.dns_names) or None,
    }


def _cidr(text: str) -> tuple[str, int]:
    address, _, prefix = text.partition("/")
    return address, int(prefix) if prefix.isdecimal() else 0
