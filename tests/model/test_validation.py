"""Bad specs are refused in one line that says where; good ones pass, with and without defaults."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from google.protobuf.descriptor import Descriptor

from swarmlite.errors import InvalidSpec
from swarmlite.model import defaults, validate
from swarmlite.model.validate import checks, mounts, unsupported, validate_config, validate_secret
from swarmlite.proto.specs_pb2 import (
    Autoscale,
    ClusterSpec,
    ConfigSpec,
    NetworkSpec,
    SecretSpec,
    ServiceSpec,
)
from swarmlite.proto.types_pb2 import EndpointSpec, Mount, PortConfig, UpdateConfig

Change = Callable[[ServiceSpec], object]


def spec() -> ServiceSpec:
    made = ServiceSpec()
    made.annotations.name = "web"
    made.task.container.image = "registry:5000/a/b:1@sha256:" + "0" * 64
    made.replicated.replicas = 3
    return made


def name(text: str) -> Change:
    return lambda s: setattr(s.annotations, "name", text)


def container(field: str, value: object) -> Change:
    def change(s: ServiceSpec) -> None:
        if isinstance(value, list):
            getattr(s.task.container, field).extend(value)
        elif isinstance(value, dict):
            getattr(s.task.container, field).update(value)
        else:
            setattr(s.task.container, field, value)

    return change


def mount(**fields: object) -> Change:
    return lambda s: s.task.container.mounts.add(**fields)  # type: ignore[arg-type]


def port(**fields: int) -> Change:
    return lambda s: s.endpoint.ports.add(**fields)  # type: ignore[arg-type]


def port_at(host_ip: str, **fields: int) -> Change:
    return lambda s: s.endpoint.ports.add(host_ip=host_ip, **fields)  # type: ignore[arg-type]


def both(*changes: Change) -> Change:
    return lambda s: [change(s) for change in changes]


def fixed(addresses: list[str]) -> Change:
    def change(made: ServiceSpec) -> None:
        made.replicated.replicas = 2
        made.task.networks.add(target="n", addresses=addresses)

    return change


DIGITS = "0001" + "0" * 5000
"""More than Python's int() takes."""


def log_option(driver: str, name: str, before: str = "") -> Change:
    def change(made: ServiceSpec) -> None:
        made.task.log_driver.name = driver
        made.task.log_driver.options[name] = before + DIGITS

    return change


BAD: list[tuple[Change, str]] = [
    (name(""), "service name"),
    (name("-web"), "DNS label"),
    (port_at("::1", target_port=80, published_port=8001), "8001:80/tcp: host_ip=::1 cannot be"),
    (
        port_at("::1", target_port=80, publish_mode=PortConfig.HOST),
        "host_ip=::1 cannot be published on, use",
    ),
    (name("a" * 64), "63 at most"),
    (name("we b"), "DNS label"),
    (name("a..b"), "DNS label"),
    (name("a\nb"), "DNS label"),
    (name("a\0"), "DNS label"),
    (lambda s: s.annotations.labels.update({"a\nb": ""}), "printable name"),
    (lambda s: s.annotations.labels.update({"a=b": ""}), "printable name"),
    (lambda s: s.annotations.labels.update({"": "x"}), "label"),
    (lambda s: s.ClearField("task"), "container"),
    (container("image", ""), "image"),
    (container("image", "../../etc"), "image"),
    (container("image", "a b"), "image"),
    (container("image", "Nginx:FOO"), "must be lower case"),
    (container("image", "nginx:"), "its tag must be"),
    (container("image", "nginx@sha256:12"), "its digest must be"),
    (container("image", "host:99999/nginx"), "not a registry"),
    (container("env", ["=x"]), "--env"),
    (container("env", ["A=\0"]), "NUL"),
    (container("env", ["A={{.No}}"]), "no such variable"),
    (container("args", ["a\0b"]), "NUL"),
    (container("hostname", "a b"), "--hostname"),
    (container("dir", "relative"), "--workdir"),
    (container("dir", "/a/../b"), "--workdir"),
    (container("user", "a b"), "--user"),
    (container("stop_signal", "SIGNO"), "--stop-signal"),
    (container("stop_signal", "99"), "--stop-signal"),
    (container("capability_add", ["FLY"]), "--cap-add"),
    (container("sysctls", {"kernel.panic": "1"}), "--sysctl"),
    (container("sysctls", {"net.../x": "1"}), "--sysctl"),
    (container("oom_score_adj", 1001), "--oom-score-adj"),
    (container("hosts", ["1.2.3.4"]), "--host"),
    (container("hosts", ["x y"]), "--host"),
    (lambda s: s.task.container.dns_config.nameservers.append("8.8.8"), "--dns"),
    (lambda s: s.task.container.ulimits.add(name="nofile", soft=2, hard=1), "--ulimit"),
    (lambda s: s.task.container.ulimits.add(name="beer"), "--ulimit"),
    (lambda s: s.task.container.healthcheck.test.append("echo"), "--health-cmd"),
    (lambda s: s.task.container.healthcheck.interval.FromNanoseconds(10), "--health-interval"),
    (lambda s: s.task.container.healthcheck.timeout.FromSeconds(-1), "negative"),
    (lambda s: s.task.container.stop_grace_period.FromSeconds(-1), "negative"),
    (lambda s: s.task.container.secrets.add(), "--secret"),
    (mount(target="data"), "absolute"),
    (mount(target="/", type=Mount.TMPFS), "cannot be replaced"),
    (mount(target="/a/../b", type=Mount.TMPFS), "must not contain"),
    (mount(target="/a", type=Mount.BIND), "needs a source"),
    (mount(target="/a", source="rel", type=Mount.BIND), "absolute"),
    (mount(target="/a", source="a/b", type=Mount.VOLUME), "volume"),
    (mount(target="/a", source="..", type=Mount.VOLUME), "volume"),
    (mount(target="/a", source="/b", type=Mount.TMPFS), "no source"),
    (mount(target="/a", type=Mount.IMAGE), "type=image needs a source"),
    (mount(target="/a", type=Mount.IMAGE, source="A:B:C"), "A:B:C"),
    (mount(target="/a", type=Mount.VOLUME, tmpfs_options={"size_bytes": 5}), "cannot be used with"),
    (mount(target="/a", type=Mount.TMPFS, tmpfs_options={"size_bytes": -5}), "tmpfs-size"),
    (both(mount(target="/a", type=2), mount(target="//a/", type=2)), "specified twice"),
    (lambda s: setattr(s.task.resources.limits, "nano_cpus", 1000), "0.001 CPU"),
    (lambda s: setattr(s.task.resources.limits, "nano_cpus", -1), "--limit-cpu"),
    (lambda s: setattr(s.task.resources.limits, "memory_bytes", 1024), "4MiB"),
    (lambda s: setattr(s.task.resources.reservations, "memory_bytes", 2**62), "out of range"),
    (lambda s: setattr(s.task.resources.limits, "pids", -1), "--limit-pids"),
    (lambda s: setattr(s.replicated, "replicas", 2**40), "--replicas"),
    (lambda s: s.task.restart.delay.FromSeconds(-1), "--restart-delay"),
    (lambda s: setattr(s.update, "max_failure_ratio", 1.5), "--update-max-failure-ratio"),
    (lambda s: setattr(s.update, "max_failure_ratio", float("nan")), "--update-max"),
    (lambda s: s.update.delay.FromSeconds(-1), "--update-delay"),
    (lambda s: setattr(s.rollback, "failure_action", UpdateConfig.ROLLBACK), "--rollback-failure"),
    (lambda s: s.task.placement.constraints.append("node.id=1"), "constraint"),
    (lambda s: s.task.placement.preferences.add(), "--placement-pref"),
    (lambda s: s.task.container.secrets.add(secret_name="a", file={"uid": DIGITS}), "uid"),
    (lambda s: s.task.container.configs.add(config_name="a", file={"gid": DIGITS}), "gid"),
    (log_option("json-file", "max-file"), "--log-opt max-file: '00010000"),
    (log_option("syslog", "syslog-facility"), "--log-opt syslog-facility: '0001"),
    (log_option("syslog", "syslog-address", "udp://a:"), "the port from 1 to 65535"),
    (lambda s: s.autoscale.CopyFrom(Autoscale(min=1, cpu_percent=9)), "need --replicas-max"),
    (both(lambda s: getattr(s, "global").SetInParent(),
          lambda s: setattr(s.task.placement, "max_replicas", 1)), "--replicas-max-per-node"),
    (lambda s: s.task.networks.add(target=""), "--network"),
    (both(lambda s: s.task.networks.add(target="host"),
          lambda s: s.task.networks.add(target="n")), "combined with other networks"),
    (both(lambda s: s.task.networks.add(target="n"),
          lambda s: s.task.networks.add(target="n")), "specified twice"),
    (both(lambda s: s.task.networks.add(target="host"), port(target_port=80)), "need mode=host"),
    (port(), "target port"),
    (port(target_port=70000), "target port"),
    (port(target_port=80, published_port=65536), "published port"),
    (port(target_port=80, published_port=4789, protocol=PortConfig.UDP), "belongs to"),
    (both(port(target_port=1, published_port=9), port(target_port=2, published_port=9)), "twice"),
    (both(port_at("192.0.2.1", target_port=1, published_port=9),
          port_at("0.0.0.0", target_port=2, published_port=9)), "twice"),
    (fixed(["10.0.0.x"]), "is not an IP address"),
    (fixed(["10.0.0.1"]), "1 IPv4 address for 2 replicas"),
    (fixed(["10.0.0.1", "10.0.0.1"]), "specified twice"),
    (fixed(["10.0.0.1", "10.0.0.2", "fd00::1"]), "1 IPv6 address for 2 replicas"),
    (both(fixed(["10.0.0.1", "10.0.0.2"]),
          lambda s: setattr(s.update, "order", UpdateConfig.START_FIRST)), "stop-first"),
    (both(fixed(["10.0.0.1", "10.0.0.2"]), lambda s: getattr(s, "global").SetInParent()),
     "for replicated services"),
    (lambda s: s.endpoint.ports.add(target_port=1, publish_mode=PortConfig.HOST,
                                    source=PortConfig.MASQUERADE), "is for mode=ingress"),
    (both(port(target_port=1), lambda s: setattr(s.endpoint, "mode", EndpointSpec.DNSRR)), "dnsrr"),
    (lambda s: setattr(s.task.log_driver, "name", "fluentd"), "unknown log driver"),
    (lambda s: s.task.log_driver.options.update({"max-file": "0"}), "max-file"),
    (lambda s: s.task.log_driver.options.update({"max-size": "big"}), "not a size"),
    (container("devices", ["fuse"]), "invalid device 'fuse': expected /SOURCE"),
    (container("devices", ["/dev/fuse:/dev/fuse:rx"]), "invalid device mode: rx"),
    (container("devices", ["/dev/fuse", "/dev/null:/dev/fuse"]), "--device"),
    (container("pid_mode", "container:web"), "--pid 'container:web': expected host"),
    (container("ipc_mode", "hosts"), "--ipc 'hosts': expected private, shareable, host, none"),
    (container("userns_mode", "keep-id"), "--userns 'keep-id': expected host, auto"),
    (container("security_options", ["paths=open"]), "--security-opt 'paths=open': unknown"),
    (container("isolation", "hyperv"), "--isolation: not supported yet"),
    (lambda s: s.task.resources.reservations.generic.add(kind="gpu"), "--generic-resource gpu"),
    (lambda s: s.task.resources.reservations.generic.add(kind="", discrete=1), "names no kind"),
    (lambda s: setattr(s.task.resources, "memory_swap_bytes", 0), "--memory-swap"),
    (lambda s: setattr(s.task.resources, "memory_swappiness", 101), "--memory-swappiness"),
    (both(lambda s: setattr(s.replicated_job, "max_concurrent", 1),
          lambda s: s.update.SetInParent()), "a job has no update config"),
    (mount(target="/a", type=Mount.VOLUME, volume_options={"subpath": "../x"}), "subpath"),
    (port(target_port=80, host_ip="1.2.3"), "host_ip"),
    (port_at("fe80::1%eth0", target_port=80), "has a zone"),
    (lambda s: setattr(s.task.container.privileges.credential_spec, "file", "x"),
     "--credential-spec"),
    (lambda s: setattr(s.task.container.privileges.seccomp, "mode", 2), "seccomp"),
]  # fmt: skip


@pytest.mark.parametrize("number", range(len(BAD)))
def test_a_bad_service_is_refused_in_one_line_that_says_where(number: int) -> None:
    change, words = BAD[number]
    made = spec()
    change(made)
    with pytest.raises(InvalidSpec, match=words) as caught:
        validate.validate_service(made)
    assert "\n" not in str(caught.value) and "\0" not in str(caught.value)


def full() -> ServiceSpec:
    made = spec()
    box = made.task.container
    box.env.extend(["A=b", "MULTI=a\nb", "N={{.Task.Slot}}", "BARE"])
    box.args.extend(["sh", "-c", "a\nb"])
    box.mounts.add(type=Mount.BIND, source="/srv", target="/data")
    box.mounts.add(type=Mount.VOLUME, source="v-{{.Task.Slot}}", target="/v")
    box.mounts.add(type=Mount.TMPFS, target="/t", tmpfs_options={"size_bytes": 2**20})
    box.secrets.add(secret_name="key")
    box.configs.add(config_name="conf")
    box.healthcheck.test.extend(["CMD-SHELL", "true"])
    box.capability_add.append("CAP_NET_ADMIN")
    box.sysctls["net.core.somaxconn"] = "1024"
    box.ulimits.add(name="nofile", soft=10, hard=-1)
    box.hosts.append("10.0.0.1 db db.local")
    box.stop_signal = "SIGRTMIN+3"
    box.hostname = "{{.Service.Name}}-{{.Task.Slot}}"
    made.task.resources.limits.memory_bytes = 64 * 2**20
    made.task.placement.constraints.append("node.labels.ssd == true")
    made.task.placement.preferences.add().spread.spread_descriptor = "node.labels.zone"
    made.task.networks.add(target="net", aliases=["db"])
    made.task.log_driver.name = "json-file"
    made.task.log_driver.options.update({"max-size": "10m", "max-file": "3"})
    made.endpoint.ports.add(target_port=80, published_port=8080)
    made.endpoint.ports.add(target_port=53, protocol=PortConfig.UDP)
    made.update.parallelism = 0
    return made


def test_a_full_service_passes_before_and_after_its_defaults() -> None:
    validate.validate_service(full())
    filled = defaults.fill_service(full())
    validate.validate_service(filled)
    assert filled.update.parallelism == 0
    assert filled.rollback.parallelism == 1
    assert filled.task.container.configs[0].file.name == "/conf"
    assert defaults.fill_service(filled) == filled


def test_the_version_of_a_mode_is_one_replica_where_none_is_said() -> None:
    made = spec()
    made.ClearField("replicated")
    assert defaults.fill_service(made).replicated.replicas == 1
    made.replicated.replicas = 0
    assert defaults.fill_service(made).replicated.replicas == 0


def leaves(descriptor: Descriptor, known: set[str], prefix: str = "") -> Iterator[str]:
    for field in descriptor.fields:
        path = prefix + field.name
        message = field.message_type
        opaque = (
            message is None
            or message.GetOptions().map_entry
            or message.file.package == ("google.protobuf")
        )
        if path in known or opaque:
            yield path
        else:
            yield from leaves(message, known, path + ".")


@pytest.mark.parametrize(
    ("message", "honoured", "refused"),
    [
        (ServiceSpec, unsupported.HONOURED_SERVICE, unsupported.REFUSED_SERVICE),
        (NetworkSpec, unsupported.HONOURED_NETWORK, unsupported.REFUSED_NETWORK),
        (SecretSpec, unsupported.HONOURED_SECRET, unsupported.REFUSED_SECRET),
        (ConfigSpec, unsupported.HONOURED_CONFIG, unsupported.REFUSED_CONFIG),
        (ClusterSpec, unsupported.HONOURED_CLUSTER, unsupported.REFUSED_CLUSTER),
    ],
)
def test_every_field_is_either_honoured_or_refused_by_name(
    message: type, honoured: frozenset[str], refused: dict[str, str]
) -> None:
    known = set(honoured) | set(refused)
    assert not honoured & refused.keys()
    assert set(leaves(message.DESCRIPTOR, known)) == known


def network(**fields: object) -> NetworkSpec:
    made = NetworkSpec(**fields)  # type: ignore[arg-type]
    made.annotations.name = made.annotations.name or "net"
    return made


def ipam(**fields: object) -> NetworkSpec:
    return network(ipam={"configs": [fields]})


@pytest.mark.parametrize(
    ("bad", "words"),
    [
        (network(annotations={"name": "host"}), "predefined"),
        (network(annotations={"name": "../x"}), "network name"),
        (network(driver={"name": "weave"}), "--driver weave: not supported yet"),
        (network(driver={"options": {"encrypted": "yes"}}), "-o encrypted: 'yes' is not true or"),
        (network(driver={"name": "bridge", "options": {"encrypted": ""}}), "-o encrypted: not"),
        (network(ingress=True, driver={"options": {"encrypted": ""}}), "cannot be encrypted"),
        (network(ipv6_enabled=True, ingress=True), "IPv6 addresses of its own"),
        (network(ipv6_enabled=True, driver={"options": {"com.docker.network.driver.mtu": "1279"}}),
         "from 1280 to 65535"),
        (network(config_only=True), "--config-only: a configuration is of one host"),
        (network(config_from="base"), "--config-from: an overlay is configured by the managers"),
        (network(driver={"name": "macvlan", "options": {"parnet": "eth0"}}),
         "-o parnet: not an option of macvlan; known: .*parent, macvlan_mode"),
        (network(driver={"options": {"mtu": "1400"}}),
         "-o mtu: not an option of overlay; known: com.docker.network.driver.mtu, encrypted"),
        (network(driver={"options": {"com.docker.network.driver.mtu": DIGITS}}),
         "is not a number from"),
        (network(driver={"name": "bridge"}, ingress=True), "--ingress: published ports need"),
        (network(driver={"name": "macvlan", "options": {"parent": "eth0"}}, config_from="base"),
         "leave them out"),
        (network(ingress=True, attachable=True), "attachable"),
        (ipam(gateway="10.0.0.1"), "need a --subnet"),
        (ipam(subnet="10.0.0.1"), "not a CIDR"),
        (ipam(subnet="10.0.0.1/24"), "has host bits set, use 10.0.0.0/24"),
        (ipam(subnet="fd00::1/64"), "has host bits set, use fd00::/64"),
        (ipam(subnet="0.1.0.0/24"), "not a range"),
        (ipam(subnet="::ffff:10.0.0.0/112"), "not a range"),
        (ipam(subnet="fd53:4c02::/64"), "fd53:4c02::/96, which nodes use for published ports"),
        (ipam(subnet="10.0.0.0/33"), "not a CIDR"),
        (ipam(subnet="10.0.0.0/30"), "prefix length"),
        (ipam(subnet="224.0.0.0/24"), "not a range"),
        (ipam(subnet="fd00::/20"), "prefix length from 32 to 124"),
        (ipam(subnet="fd00::/64", range="fd01::/80"), "is not within"),
        (ipam(subnet="fd00::/64", gateway="10.0.0.1"), "is not within"),
        (ipam(subnet="ff02::/64"), "not a range"),
        (ipam(subnet="10.0.0.0/24", gateway="10.0.1.1"), "not within"),
        (ipam(subnet="10.0.0.0/24", gateway="10.0.0.0"), "not a host address"),
        (ipam(subnet="10.0.0.0/24", range="10.1.0.0/25"), "--ip-range"),
        (ipam(subnet="10.0.0.0/24", range="10.0.0.9/25"), "host bits set, use 10.0.0.0/25"),
        (network(ipam={"configs": [{"subnet": "10.0.0.0/8"}, {"subnet": "10.1.0.0/16"}]}),
         "overlaps"),
    ],
)  # fmt: skip
def test_a_bad_network_is_refused(bad: NetworkSpec, words: str) -> None:
    with pytest.raises(InvalidSpec, match=words):
        validate.validate_network(bad)


def test_a_good_network_passes() -> None:
    good = ipam(subnet="10.0.0.0/24", gateway="10.0.0.1", range="10.0.0.128/25")
    validate.validate_network(good)
    assert defaults.fill_network(good).driver.name == "overlay"


@pytest.mark.parametrize("size", [0, 500 * 1024])
def test_secrets_have_a_size_and_errors_do_not_show_them(size: int) -> None:
    bad = SecretSpec(data=b"x" * size)
    bad.annotations.name = "key"
    with pytest.raises(InvalidSpec, match="less than 512000 bytes") as caught:
        validate.validate_secret(bad)
    assert "xxx" not in str(caught.value)


def test_clusters_are_checked() -> None:
    good = defaults.fill_cluster(ClusterSpec())
    validate.validate_cluster(good)
    assert good.dispatcher.heartbeat_period.seconds == 5
    good.ca.node_cert_expiry.FromSeconds(60)
    with pytest.raises(InvalidSpec, match="--cert-expiry"):
        validate.validate_cluster(good)


@pytest.mark.parametrize("check", [validate_secret, validate_config])
def test_names_of_secrets_and_configs_are_dockers(check: Any) -> None:
    spec: Any = {validate_secret: SecretSpec, validate_config: ConfigSpec}[check]()
    spec.data = b"x"
    for good in ("a", "a..b", "a...b", "a-_.b", "1", "x" * 64):
        spec.annotations.name = good
        check(spec)
    for bad in ("", "a_", "a-", "a.", ".a", "_a", "a b", "é", "a/b", "x" * 65, "a\n"):
        spec.annotations.name = bad
        with pytest.raises(InvalidSpec, match="name: "):
            check(spec)


def test_names_of_volumes_and_networks_have_dots_as_they_come() -> None:
    for name_ in ("a..b", "a.", "1-_"):
        checks.object_name("name", name_)
    for name_ in ("..", ".a", "-a", "a/b", "a b", ""):
        with pytest.raises(InvalidSpec, match=r"^name: "):
            checks.object_name("name", name_)


def test_what_docker_takes_for_unset_is_taken() -> None:
    """A published port 0, and the empty words that ${X:-} leaves behind."""
    made = spec()
    made.task.container.hostname = made.task.container.dir = ""
    made.endpoint.ports.add(target_port=80, published_port=0)
    made.endpoint.ports.add(target_port=81, published_port=0)
    validate.validate_service(made)


def test_one_port_may_be_published_on_several_addresses() -> None:
    made = spec()
    for address in ("192.0.2.1", "192.0.2.2"):
        made.endpoint.ports.add(target_port=80, published_port=8080, host_ip=address)
    made.endpoint.ports.add(target_port=99, published_port=9900, protocol=PortConfig.SCTP)
    validate.validate_service(made)


def test_one_rule_for_targets_users_and_groups_whoever_asks() -> None:
    for target in ("/data", "//data/", "/dev/shm", "/proc/x"):
        mounts.check_target("volume", target)
    for target in ("/", "//", "/./proc", "/sys/", "/dev", "data", "/a/../b", "/a\nb"):
        with pytest.raises(InvalidSpec, match=r"^volume: "):
            mounts.check_target("volume", target)
    mounts.check_target("--mount", "/dev", bind=True)
    for user in ("root", "1000", "1000:1000", "www-data:www-data", "a$"):
        checks.user("USER", user)
    for user in ("", "a b", "a:b:c", "a\n", "x" * 257, "root:"):
        with pytest.raises(InvalidSpec, match=r"^USER "):
            checks.user("USER", user)
    with pytest.raises(InvalidSpec, match=r"^--group "):
        checks.group("--group", "a:b")
