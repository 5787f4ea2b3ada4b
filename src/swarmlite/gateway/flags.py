"""Which field of a request is meant by the flag of the command line that our errors name.

One check serves both; whoever sent JSON knows the field only. Paths are those of Docker's
description of `POST /containers/create`, `/services/create`, `/networks/create`, `/swarm/init`.
"""

from __future__ import annotations

import re

_CONTAINER = {
    "cap-add": "HostConfig.CapAdd",
    "cap-drop": "HostConfig.CapDrop",
    "cpu-shares": "HostConfig.CpuShares",
    "cpuset-cpus": "HostConfig.CpusetCpus",
    "cpuset-mems": "HostConfig.CpusetMems",
    "device": "HostConfig.Devices",
    "dns": "HostConfig.Dns",
    "dns-option": "HostConfig.DnsOptions",
    "dns-search": "HostConfig.DnsSearch",
    "env": "Env",
    "group": "HostConfig.GroupAdd",
    "health-cmd": "Healthcheck.Test",
    "health-interval": "Healthcheck.Interval",
    "health-retries": "Healthcheck.Retries",
    "health-start-interval": "Healthcheck.StartInterval",
    "health-start-period": "Healthcheck.StartPeriod",
    "health-timeout": "Healthcheck.Timeout",
    "host": "HostConfig.ExtraHosts",
    "add-host": "HostConfig.ExtraHosts",
    "hostname": "Hostname",
    "container-label": "Labels",
    "ip": "NetworkingConfig.EndpointsConfig",
    "ipc": "HostConfig.IpcMode",
    "isolation": "HostConfig.Isolation",
    "log-driver": "HostConfig.LogConfig.Type",
    "log-opt": "HostConfig.LogConfig.Config",
    "memory-swap": "HostConfig.MemorySwap",
    "memory-swappiness": "HostConfig.MemorySwappiness",
    "mount": "HostConfig.Mounts",
    "network": "HostConfig.NetworkMode",
    "network-alias": "NetworkingConfig.EndpointsConfig",
    "oom-score-adj": "HostConfig.OomScoreAdj",
    "pid": "HostConfig.PidMode",
    "pids-limit": "HostConfig.PidsLimit",
    "publish": "HostConfig.PortBindings",
    "security-opt": "HostConfig.SecurityOpt",
    "stop-grace-period": "StopTimeout",
    "stop-signal": "StopSignal",
    "sysctl": "HostConfig.Sysctls",
    "ulimit": "HostConfig.Ulimits",
    "user": "User",
    "uts": "HostConfig.UTSMode",
    "userns": "HostConfig.UsernsMode",
    "workdir": "WorkingDir",
}

_SPEC = "TaskTemplate.ContainerSpec"
_SERVICE = {
    "cap-add": f"{_SPEC}.CapabilityAdd",
    "cap-drop": f"{_SPEC}.CapabilityDrop",
    "config": f"{_SPEC}.Configs",
    "container-label": f"{_SPEC}.Labels",
    "credential-spec": f"{_SPEC}.Privileges.CredentialSpec",
    "dns": f"{_SPEC}.DNSConfig.Nameservers",
    "dns-option": f"{_SPEC}.DNSConfig.Options",
    "dns-search": f"{_SPEC}.DNSConfig.Search",
    "endpoint-mode": "EndpointSpec.Mode",
    "env": f"{_SPEC}.Env",
    "generic-resource": "TaskTemplate.Resources.Reservations.GenericResources",
    "group": f"{_SPEC}.Groups",
    "health-cmd": f"{_SPEC}.Healthcheck.Test",
    "health-interval": f"{_SPEC}.Healthcheck.Interval",
    "health-retries": f"{_SPEC}.Healthcheck.Retries",
    "health-start-interval": f"{_SPEC}.Healthcheck.StartInterval",
    "health-start-period": f"{_SPEC}.Healthcheck.StartPeriod",
    "health-timeout": f"{_SPEC}.Healthcheck.Timeout",
    "host": f"{_SPEC}.Hosts",
    "hostname": f"{_SPEC}.Hostname",
    "isolation": f"{_SPEC}.Isolation",
    "limit-pids": "TaskTemplate.Resources.Limits.Pids",
    "log-driver": "TaskTemplate.LogDriver.Name",
    "log-opt": "TaskTemplate.LogDriver.Options",
    "max-concurrent": "Mode.ReplicatedJob.MaxConcurrent",
    "mount": f"{_SPEC}.Mounts",
    "network": "TaskTemplate.Networks",
    "network-alias": "TaskTemplate.Networks",
    "oom-score-adj": f"{_SPEC}.OomScoreAdj",
    "placement-pref": "TaskTemplate.Placement.Preferences",
    "publish": "EndpointSpec.Ports",
    "replicas": "Mode.Replicated.Replicas",
    "replicas-max-per-node": "TaskTemplate.Placement.MaxReplicas",
    "reserve-cpu": "TaskTemplate.Resources.Reservations.NanoCPUs",
    "reserve-memory": "TaskTemplate.Resources.Reservations.MemoryBytes",
    "restart-condition": "TaskTemplate.RestartPolicy.Condition",
    "restart-delay": "TaskTemplate.RestartPolicy.Delay",
    "restart-window": "TaskTemplate.RestartPolicy.Window",
    "rollback-failure-action": "RollbackConfig.FailureAction",
    "secret": f"{_SPEC}.Secrets",
    "stop-grace-period": f"{_SPEC}.StopGracePeriod",
    "stop-signal": f"{_SPEC}.StopSignal",
    "sysctl": f"{_SPEC}.Sysctls",
    "ulimit": f"{_SPEC}.Ulimits",
    "user": f"{_SPEC}.User",
    "workdir": f"{_SPEC}.Dir",
}

_NETWORK = {
    "aux-address": "IPAM.Config.AuxiliaryAddresses",
    "config-from": "ConfigFrom",
    "config-only": "ConfigOnly",
    "driver": "Driver",
    "gateway": "IPAM.Config.Gateway",
    "ingress": "Ingress",
    "ip": "EndpointConfig.IPAMConfig",
    "ip-range": "IPAM.Config.IPRange",
    "ipam-driver": "IPAM.Driver",
    "ipam-opt": "IPAM.Options",
    "network-alias": "EndpointConfig.Aliases",
    "scope": "Scope",
    "subnet": "IPAM.Config.Subnet",
}

_SWARM = {
    "ca-cert": "Spec.CAConfig.SigningCACert",
    "ca-key": "Spec.CAConfig.SigningCAKey",
    "cert-expiry": "Spec.CAConfig.NodeCertExpiry",
    "dispatcher-heartbeat": "Spec.Dispatcher.HeartbeatPeriod",
    "external-ca": "Spec.CAConfig.ExternalCAs",
    "task-history-limit": "Spec.Orchestration.TaskHistoryRetentionLimit",
}

_PAYLOAD = {"driver": "Driver", "template-driver": "Templating"}

FLAGS = {
    "containers": _CONTAINER,
    "services": _SERVICE,
    "networks": _NETWORK,
    "swarm": _SWARM,
    "secrets": _PAYLOAD,
    "configs": _PAYLOAD,
    "nodes": {"availability": "Availability", "role": "Role"},
}
"""By the first segment of a path."""

_FILTER = re.compile(r"--filter ([\w!.-]+=[^:]*):")
_FLAG = re.compile(r"--([a-z][a-z-]*)(?=[ :=])")


def by_field(segment: str, message: str) -> str:
    """An error's text with the field in place of the flag that it begins with."""
    if filtered := _FILTER.match(message):
        return f"invalid filter '{filtered[1]}':{message[filtered.end() :]}"
    found = _FLAG.match(message)
    field = FLAGS.get(segment, {}).get(found[1]) if found else None
    return field + message[found.end() :] if found and field else message
