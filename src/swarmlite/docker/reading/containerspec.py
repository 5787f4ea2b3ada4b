"""ContainerSpec: the container that a task runs."""

from __future__ import annotations

from swarmlite.docker.fields import Fields
from swarmlite.proto.specs_pb2 import ContainerSpec
from swarmlite.proto.types_pb2 import FileTarget, HealthConfig, Privileges

from .mounts import mount
from .values import MAX_INT32, MAX_UINT32, bounded, count, data, duration, word


def container_spec(sent: Fields, spec: ContainerSpec) -> None:
    """Write what was sent into `spec`."""
    spec.image = sent.text("Image")
    spec.labels.update(sent.mapping("Labels"))
    spec.command.extend(sent.texts("Command"))
    spec.args.extend(sent.texts("Args"))
    spec.hostname = sent.text("Hostname")
    spec.env.extend(sent.texts("Env"))
    spec.dir = sent.text("Dir")
    spec.user = sent.text("User")
    spec.groups.extend(sent.texts("Groups"))
    if sent.has("Privileges"):
        privileges(sent.object("Privileges"), spec.privileges)
    spec.tty = sent.flag("TTY")
    spec.open_stdin = sent.flag("OpenStdin")
    spec.read_only = sent.flag("ReadOnly")
    spec.stop_signal = sent.text("StopSignal")
    duration(sent, "StopGracePeriod", spec.stop_grace_period)
    for entry in sent.objects("Mounts"):
        mount(entry, spec.mounts.add())
    if sent.has("Healthcheck"):
        spec.healthcheck.SetInParent()
        health(sent.object("Healthcheck"), spec.healthcheck)
    spec.hosts.extend(sent.texts("Hosts"))
    _dns(sent.object("DNSConfig"), spec)
    _files(sent, spec)
    isolation = sent.text("Isolation")
    spec.isolation = "" if isolation == "default" else isolation
    if sent.has("Init"):
        spec.init = sent.flag("Init")
    _kernel(sent, spec)


def _kernel(sent: Fields, spec: ContainerSpec) -> None:
    spec.sysctls.update(sent.mapping("Sysctls"))
    spec.capability_add.extend(sent.texts("CapabilityAdd"))
    spec.capability_drop.extend(sent.texts("CapabilityDrop"))
    for entry in sent.objects("Ulimits"):
        spec.ulimits.add(
            name=entry.text("Name"), soft=entry.number("Soft"), hard=entry.number("Hard")
        )
    spec.oom_score_adj = bounded(sent, "OomScoreAdj", -MAX_INT32, MAX_INT32)
    # Ours, beyond Docker's.
    spec.privileged = sent.flag("Privileged")
    spec.devices.extend(sent.texts("Devices"))
    spec.shm_size_bytes = count(sent, "ShmSize")


def _dns(sent: Fields, spec: ContainerSpec) -> None:
    spec.dns_config.nameservers.extend(sent.texts("Nameservers"))
    spec.dns_config.search.extend(sent.texts("Search"))
    spec.dns_config.options.extend(sent.texts("Options"))
    if not spec.dns_config.ListFields():
        spec.ClearField("dns_config")


def _files(sent: Fields, spec: ContainerSpec) -> None:
    for entry in sent.objects("Secrets"):
        secret = spec.secrets.add(
            secret_id=entry.text("SecretID"), secret_name=entry.text("SecretName")
        )
        file(entry.object("File"), secret.file)
    for entry in sent.objects("Configs"):
        config = spec.configs.add(
            config_id=entry.text("ConfigID"), config_name=entry.text("ConfigName")
        )
        if entry.has("Runtime") and entry.has("File"):
            raise entry.wrong("File", "cannot specify both File and Runtime")
        if entry.has("Runtime"):
            config.runtime = True
        elif entry.has("File"):
            file(entry.object("File"), config.file)
        else:
            raise entry.wrong("File", "either File or Runtime should be set")


def file(sent: Fields, into: FileTarget) -> None:
    """Where a secret or config appears."""
    into.name = sent.text("Name")
    into.uid = sent.text("UID")
    into.gid = sent.text("GID")
    into.mode = count(sent, "Mode", MAX_UINT32)


def health(sent: Fields, into: HealthConfig) -> None:
    """A health check; durations are nanoseconds."""
    into.test.extend(sent.texts("Test"))
    duration(sent, "Interval", into.interval)
    duration(sent, "Timeout", into.timeout)
    into.retries = bounded(sent, "Retries", -MAX_INT32, MAX_INT32)
    duration(sent, "StartPeriod", into.start_period)
    duration(sent, "StartInterval", into.start_interval)


def privileges(sent: Fields, into: Privileges) -> None:
    """Credential spec, SELinux, seccomp, AppArmor; only what was said is set."""
    credential = sent.object("CredentialSpec")
    for key, name in (("Config", "config"), ("File", "file"), ("Registry", "registry")):
        if credential.text(key):
            setattr(into.credential_spec, name, credential.text(key))
    selinux = sent.object("SELinuxContext")
    if selinux.flag("Disable"):
        into.selinux_context.disable = True
    for name in ("User", "Role", "Type", "Level"):
        if selinux.text(name):
            setattr(into.selinux_context, name.lower(), selinux.text(name))
    if sent.has("Seccomp"):
        seccomp = sent.object("Seccomp")
        into.seccomp.mode = word(seccomp, "Mode", Privileges.SeccompOpts.Mode)
        into.seccomp.profile = data(seccomp, "Profile")
    if sent.has("AppArmor"):
        mode = word(sent.object("AppArmor"), "Mode", Privileges.AppArmorOpts.Mode)
        into.apparmor.mode = mode
    into.no_new_privileges = sent.flag("NoNewPrivileges")
