"""Fields that Docker's types have and its JSON leaves out where they are empty, as ours does.

A template may ask for them in any case; any other field that an object has not is a mistake.
"""

from __future__ import annotations

_CONTAINERS = """
Annotations ArgsEscaped BindOptions ClusterOptions ConsoleSize Driver DriverOpts Error
ExposedPorts GwPriority Health Healthcheck ImageManifestDescriptor ImageOptions Init LastTagTime
MacAddress Mounts Name NetworkDisabled OnBuild Propagation Runtime Shell SizeRootFs SizeRw
StopSignal StopTimeout StorageOpt Subpath Sysctls Tmpfs TmpfsOptions VolumeOptions
"""
_HOST_OBJECTS = """
Author AuxiliaryAddresses ClusterVolume Comment Container ContainerConfig CreatedAt Descriptor
DockerVersion EnableIPv4 Gateway IPRange Identity Manifests OsVersion Parent Peers Services Status
UsageData Variant VirtualSize
"""
_NODES = """
Addr Architecture Availability Description Engine EngineVersion GenericResources Hostname Leader
ManagerStatus MemoryBytes Message NanoCPUs OS Platform Plugins Reachability Resources Role State
TLSInfo
"""
_SERVICES = """
Addresses Aliases AppArmor Args AttachmentSpec CapabilityAdd CapabilityDrop Command CompletedAt
Condition Config ConfigName Configs Constraints ContainerID ContainerSpec ContainerStatus
CredentialSpec DNSConfig Delay DesiredState Dir Endpoint EndpointSpec Env Err ExitCode
FailureAction File ForceUpdate Global GlobalJob Groups Hosts Image Isolation JobIteration
JobStatus Labels LastExecution Limits LogDriver MaxAttempts MaxConcurrent MaxFailureRatio
MaxReplicas MemorySwappiness Mode Monitor Nameservers NetworkAttachmentSpec Networks
NetworksAttachments NoNewPrivileges NodeID OomScoreAdj OpenStdin Options Order PID Parallelism
Pids Placement Platforms PluginSpec PortStatus Ports Preferences PreviousSpec Privileges Protocol
PublishMode PublishedPort ReadOnly Replicas Replicated ReplicatedJob Reservations RestartPolicy
RollbackConfig Runtime SELinuxContext Search Seccomp Secrets ServiceID ServiceStatus Slot Spread
StartedAt StopGracePeriod SwapBytes TTY Target TargetPort TaskTemplate Timestamp TotalCompletions
Ulimits UpdateConfig UpdateStatus User VirtualIPs Window
"""
_SECRETS = """
Data Templating
"""
_HOST = """
CDISpecDirs Cluster Commit Containerd DefaultAddressPools DiscoveredDevices FirewallBackend
HttpProxy HttpsProxy KernelMemory KernelMemoryTCP Managers NoProxy Nodes ProductLicense
RemoteManagers ServerErrors Warnings
"""
OMITTED = frozenset(
    f"{_CONTAINERS} {_HOST_OBJECTS} {_NODES} {_SERVICES} {_SECRETS} {_HOST}".split()
)
