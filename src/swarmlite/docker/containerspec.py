"""ContainerSpec in Docker's JSON."""

from __future__ import annotations

import base64

from swarmlite.docker.mounts import mount
from swarmlite.docker.values import Json, compact, kept, nanoseconds, word
from swarmlite.proto.specs_pb2 import ContainerSpec
from swarmlite.proto.types_pb2 import FileTarget, HealthConfig, Privileges


def container_spec(spec: ContainerSpec) -> Json:
    """A service's container."""
    result = compact(
        {
            "Image": spec.image,
            "Labels": dict(sorted(spec.labels.items())),
            "Command": list(spec.command),
            "Args": list(spec.args),
            "Hostname": spec.hostname,
            "Env": list(spec.env),
            "Dir": spec.dir,
            "User": spec.user,
            "Groups": list(spec.groups),
            "Privileges": privileges(spec.privileges) if spec.HasField("privileges") else None,
            "StopSignal": spec.stop_signal,
            "TTY": spec.tty,
            "OpenStdin": spec.open_stdin,
            "ReadOnly": spec.read_only,
            "Mounts": [mount(m) for m in spec.mounts],
            "Healthcheck": kept(**health(spec.healthcheck))
            if spec.HasField("healthcheck")
            else None,
            "Hosts": list(spec.hosts),
            "DNSConfig": dns(spec),
            "Secrets": [
                {"File": file(s.file), "SecretID": s.secret_id, "SecretName": s.secret_name}
                for s in spec.secrets
            ],
            "Configs": [
                compact(
                    {
                        "File": file(c.file) if c.WhichOneof("target") == "file" else None,
                        "Runtime": kept() if c.runtime else None,
                        "ConfigID": c.config_id,
                        "ConfigName": c.config_name,
                    }
                )
                for c in spec.configs
            ],
            "Isolation": spec.isolation or "default",
            "Sysctls": dict(sorted(spec.sysctls.items())),
            "CapabilityAdd": list(spec.capability_add),
            "CapabilityDrop": list(spec.capability_drop),
            "Ulimits": [{"Name": u.name, "Hard": u.hard, "Soft": u.soft} for u in spec.ulimits],
            "OomScoreAdj": spec.oom_score_adj,
            "Privileged": spec.privileged,
            "Devices": list(spec.devices),
            "ShmSize": spec.shm_size_bytes,
        }
    )
    if spec.HasField("stop_grace_period"):  # 0 is another thing than not said
        result["StopGracePeriod"] = nanoseconds(spec.stop_grace_period)
    if spec.HasField("init"):
        result["Init"] = spec.init
    return result


def file(target: FileTarget) -> Json:
    """Where a secret or config appears."""
    return {"Name": target.name, "UID": target.uid, "GID": target.gid, "Mode": target.mode}


def dns(spec: ContainerSpec) -> Json:
    """Resolver settings; empty without any."""
    config = spec.dns_config
    return compact(
        {
            "Nameservers": list(config.nameservers),
            "Search": list(config.search),
            "Options": list(config.options),
        }
    )


def health(config: HealthConfig) -> Json:
    """A health check; durations in nanoseconds."""
    return compact(
        {
            "Test": list(config.test),
            "Interval": nanoseconds(config.interval),
            "Timeout": nanoseconds(config.timeout),
            "StartPeriod": nanoseconds(config.start_period),
            "StartInterval": nanoseconds(config.start_interval),
            "Retries": config.retries,
        }
    )


def privileges(value: Privileges) -> Json:
    """Credential spec, SELinux, seccomp, AppArmor, NoNewPrivileges."""
    credential, selinux = value.credential_spec, value.selinux_context
    return {
        "CredentialSpec": compact(
            {
                "Config": credential.config,
                "File": credential.file,
                "Registry": credential.registry,
            }
        )
        or None,
        "SELinuxContext": {
            "Disable": selinux.disable,
            "User": selinux.user,
            "Role": selinux.role,
            "Type": selinux.type,
            "Level": selinux.level,
        }
        if value.HasField("selinux_context")
        else None,
        "Seccomp": _seccomp(value.seccomp) if value.HasField("seccomp") else None,
        "AppArmor": {"Mode": word(Privileges.AppArmorOpts.Mode.Name(value.apparmor.mode))}
        if value.HasField("apparmor")
        else None,
        "NoNewPrivileges": value.no_new_privileges,
    }


def _seccomp(value: Privileges.SeccompOpts) -> Json:
    return compact(
        {
            "Mode": word(Privileges.SeccompOpts.Mode.Name(value.mode)),
            "Profile": base64.b64encode(value.profile).decode(),
        }
    )
