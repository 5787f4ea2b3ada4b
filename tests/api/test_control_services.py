"""The Control API for services and what they name, over the real server on a unix socket."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from api_world import Manager, ingress, node, service_spec, task

from swarmlite import rpc
from swarmlite.errors import (
    AlreadyExists,
    Conflict,
    FailedPrecondition,
    InvalidSpec,
    NotFound,
    SwarmliteError,
)
from swarmlite.manager.controlapi.api import copy_of
from swarmlite.manager.store.api import Delete
from swarmlite.model import task_states
from swarmlite.proto import control_pb2 as pb
from swarmlite.proto.control_pb2_grpc import ControlStub
from swarmlite.proto.objects_pb2 import Network, Service
from swarmlite.proto.specs_pb2 import ConfigSpec, NetworkSpec, SecretSpec, ServiceSpec
from swarmlite.proto.types_pb2 import NodeStatus, PortConfig, UpdateStatus


async def ask(call: Any) -> Any:
    with rpc.translated():
        return await call


async def refused(call: Any, error: type[SwarmliteError], words: str) -> None:
    with pytest.raises(error, match=words):
        await ask(call)


async def create(control: ControlStub, spec: ServiceSpec) -> Service:
    made: Service = await ask(control.CreateService(pb.CreateServiceRequest(spec=spec)))
    return made


async def test_a_created_service_says_its_defaults_and_is_found_by_name_id_and_prefix(
    control: ControlStub,
) -> None:
    made = await create(control, service_spec())
    assert made.meta.version.index > 0 and made.spec_version.index == 1
    assert made.spec.task.restart.delay.seconds == 5
    assert made.spec.update.parallelism == 1 and made.spec.update.monitor.seconds == 5
    assert made.spec.task.container.stop_grace_period.seconds == 10
    for ref in (made.id, "web", made.id[:10]):
        assert await ask(control.GetService(pb.GetRequest(ref=ref))) == made
    await refused(control.GetService(pb.GetRequest(ref="no")), NotFound, "service no not found")


@pytest.mark.parametrize("kind", ["Service", "Network", "Secret", "Config"])
async def test_names_that_differ_by_case_only_are_refused(control: ControlStub, kind: str) -> None:
    """DNS does not tell them apart: one would take the other's name from it."""
    method = getattr(control, f"Create{kind}")
    spec = {"Service": ServiceSpec, "Network": NetworkSpec, "Secret": SecretSpec,
            "Config": ConfigSpec}[kind]()  # fmt: skip
    if isinstance(spec, ServiceSpec):
        spec.CopyFrom(service_spec())
    elif not isinstance(spec, NetworkSpec):
        spec.data = b"x"
    request = getattr(pb, f"Create{kind}Request")
    spec.annotations.name = "web"
    await ask(method(request(spec=spec)))
    for name in ("Web", "WEB"):
        spec.annotations.name = name
        line = f"{kind.lower()} {name}: there is a {kind.lower()} web"
        await refused(method(request(spec=spec)), AlreadyExists, line)
    spec.annotations.name = "web2"
    await ask(method(request(spec=spec)))


async def test_names_are_unique(control: ControlStub) -> None:
    await create(control, service_spec())
    request = pb.CreateServiceRequest(spec=service_spec())
    await refused(control.CreateService(request), AlreadyExists, "service web already exists")


async def test_what_is_malformed_or_not_supported_is_refused_by_name(control: ControlStub) -> None:
    spec = service_spec()
    spec.task.container.isolation = "hyperv"
    request = pb.CreateServiceRequest(spec=spec)
    await refused(control.CreateService(request), InvalidSpec, "--isolation: not supported yet")
    request = pb.CreateServiceRequest(spec=service_spec("a_b-"))
    await refused(control.CreateService(request), InvalidSpec, "DNS label")


async def test_an_update_keeps_the_previous_spec_and_names_the_version_that_it_read(
    control: ControlStub,
) -> None:
    made = await create(control, service_spec())
    wanted = service_spec(image="busybox:2")
    request = pb.UpdateServiceRequest(service_id=made.id, version=made.meta.version, spec=wanted)
    updated = await ask(control.UpdateService(request))
    assert updated.spec.task.container.image == "busybox:2"
    assert updated.previous_spec == made.spec
    assert (updated.spec_version.index, updated.previous_spec_version.index) == (2, 1)
    await refused(control.UpdateService(request), Conflict, "update out of sequence")


async def test_what_loops_write_of_a_service_is_no_conflict_with_who_read_its_spec(
    manager: Manager, control: ControlStub
) -> None:
    """Its endpoint and how an update goes are written right after it was made or changed."""
    made = await create(control, service_spec())

    async def touched() -> Service:
        service: Service = await ask(control.GetService(pb.GetRequest(ref=made.id)))
        service.update_status.message += "."
        manager.put(service)
        return service

    await touched()
    request = pb.UpdateServiceRequest(
        service_id=made.id, version=made.meta.version, spec=service_spec(image="b:2")
    )
    updated = await ask(control.UpdateService(request))
    await touched()
    await refused(control.UpdateService(request), Conflict, "update out of sequence")
    request.version.CopyFrom(updated.meta.version)
    assert (await ask(control.UpdateService(request))).spec_version.index == 3
    request.version.index += 1000
    await refused(control.UpdateService(request), Conflict, "update out of sequence")


async def test_a_loop_s_write_in_the_same_moment_stops_neither_update_nor_removal(
    manager: Manager, control: ControlStub, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = await create(control, service_spec())
    commit, touches = manager.store.commit, [1, 1]

    async def raced(changes: Any, *more: Any, **options: Any) -> Any:
        if touches and touches.pop():
            service: Service = copy_of(manager.store.view.services.get(made.id))
            service.update_status.message += "."
            manager.put(service)
        return await commit(changes, *more, **options)

    monkeypatch.setattr(manager.store, "commit", raced)
    request = pb.UpdateServiceRequest(
        service_id=made.id, version=made.meta.version, spec=service_spec(image="b:2")
    )
    updated = await ask(control.UpdateService(request))
    assert updated.spec.task.container.image == "b:2"
    touches.append(1)
    await ask(control.RemoveService(pb.RemoveRequest(ref=made.id)))
    assert made.id not in manager.store.view.services


async def test_nor_the_removal_of_what_services_use(
    manager: Manager, control: ControlStub, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The allocator writes a new network, and secrets are sealed again when their key is new."""
    network = pb.CreateNetworkRequest()
    network.spec.annotations.name = "front"
    secret = pb.CreateSecretRequest(spec={"annotations": {"name": "key"}, "data": b"x"})
    config = pb.CreateConfigRequest(spec={"annotations": {"name": "site"}, "data": b"x"})
    made = [
        await ask(control.CreateNetwork(network)),
        await ask(control.CreateSecret(secret)),
        await ask(control.CreateConfig(config)),
    ]
    commit, touched = manager.store.commit, set[str]()

    async def raced(changes: Any, *more: Any, **options: Any) -> Any:
        (change,) = changes
        if change.obj.id not in touched:
            touched.add(change.obj.id)
            manager.put(copy_of(change.obj))
        return await commit(changes, *more, **options)

    monkeypatch.setattr(manager.store, "commit", raced)
    removals = (control.RemoveNetwork, control.RemoveSecret, control.RemoveConfig)
    for remove, obj in zip(removals, made, strict=True):
        await ask(remove(pb.RemoveRequest(ref=obj.id)))
    assert touched == {obj.id for obj in made}
    view = manager.store.view
    assert not (set(touched) & {o.id for o in (*view.networks, *view.secrets, *view.configs)})


async def test_a_rollback_brings_back_the_spec_before_under_a_new_version(
    control: ControlStub,
) -> None:
    made = await create(control, service_spec())
    request = pb.UpdateServiceRequest(
        service_id=made.id, version=made.meta.version, rollback=pb.UpdateServiceRequest.PREVIOUS
    )
    await refused(control.UpdateService(request), FailedPrecondition, "no.* previous spec")
    change = pb.UpdateServiceRequest(
        service_id=made.id, version=made.meta.version, spec=service_spec(image="b:2")
    )
    updated = await ask(control.UpdateService(change))
    request.version.CopyFrom(updated.meta.version)
    back = await ask(control.UpdateService(request))
    assert back.spec == made.spec and back.previous_spec == updated.spec
    assert back.spec_version.index == 3
    assert back.update_status.state == UpdateStatus.ROLLBACK_STARTED


async def test_a_rollback_goes_to_any_revision_that_is_kept(control: ControlStub) -> None:
    latest = await create(control, service_spec())
    for number in range(2, 14):
        spec = service_spec(image=f"b:{number}")
        spec.task.container.pull_options.registry_auth = f"secret{number}"
        request = pb.UpdateServiceRequest(
            service_id=latest.id, version=latest.meta.version, spec=spec
        )
        latest = await ask(control.UpdateService(request))
    kept = [revision.spec_version.index for revision in latest.history]
    assert kept == list(range(3, 13))
    assert "secret" not in str(latest.history)
    request = pb.UpdateServiceRequest(
        service_id=latest.id,
        version=latest.meta.version,
        rollback=pb.UpdateServiceRequest.PREVIOUS,
        rollback_to=2,
    )
    await refused(control.UpdateService(request), NotFound, "no revision 2; there are: 3, 4, ")
    request.rollback_to = 5
    back = await ask(control.UpdateService(request))
    assert back.spec.task.container.image == "b:5"
    assert back.spec.task.container.pull_options.registry_auth == "secret13"
    assert back.spec_version.index == 14
    assert back.update_status.message == "manually requested rollback to revision 5"


async def test_only_a_replicated_service_is_rebalanced_and_only_a_job_is_not_stopped(
    control: ControlStub,
) -> None:
    made = await create(control, service_spec())
    request = pb.UpdateServiceRequest(service_id=made.id, version=made.meta.version, rebalance=True)
    begun = await ask(control.UpdateService(request))
    assert begun.HasField("rebalance") and begun.spec_version == made.spec_version
    job = service_spec("job")
    job.replicated_job.total_completions = 1
    job.stopped = True
    await refused(
        control.CreateService(pb.CreateServiceRequest(spec=job)), InvalidSpec, "job is not stopped"
    )
    job.stopped = False
    made = await create(control, job)
    request = pb.UpdateServiceRequest(service_id=made.id, version=made.meta.version, rebalance=True)
    await refused(control.UpdateService(request), InvalidSpec, "not replicated")


async def test_name_and_mode_never_change(control: ControlStub) -> None:
    made = await create(control, service_spec())
    renamed = service_spec("other")
    glob = service_spec()
    getattr(glob, "global").SetInParent()
    for spec, words in ((renamed, "renaming"), (glob, "--mode")):
        request = pb.UpdateServiceRequest(service_id=made.id, version=made.meta.version, spec=spec)
        await refused(control.UpdateService(request), InvalidSpec, words)


async def test_a_published_port_is_one_services(manager: Manager, control: ControlStub) -> None:
    manager.put(ingress())
    first, second, third = service_spec("a"), service_spec("b"), service_spec("c")
    for spec in (first, second, third):
        spec.endpoint.ports.add(target_port=80, published_port=8080)
    third.endpoint.ports[0].protocol = PortConfig.UDP
    await create(control, first)
    request = pb.CreateServiceRequest(spec=second)
    await refused(control.CreateService(request), InvalidSpec, "8080 is already in use.* a")
    second.endpoint.ports[0].publish_mode = PortConfig.HOST
    await refused(control.CreateService(request), InvalidSpec, "8080 is already in use")
    await create(control, third)


async def test_ports_that_every_node_uses_itself_are_refused(control: ControlStub) -> None:
    spec = service_spec()
    spec.endpoint.ports.add(target_port=80, published_port=2377)
    request = pb.CreateServiceRequest(spec=spec)
    await refused(control.CreateService(request), InvalidSpec, "belongs to the managers' API")


async def test_without_an_ingress_network_nothing_is_published_there(
    manager: Manager, control: ControlStub
) -> None:
    spec = service_spec()
    spec.endpoint.ports.add(target_port=80, published_port=8080)
    request = pb.CreateServiceRequest(spec=spec)
    line = "--publish 8080:80/tcp: there is no ingress network; make one with"
    await refused(control.CreateService(request), FailedPrecondition, line)
    made = await create(control, service_spec())
    update = pb.UpdateServiceRequest(service_id=made.id, version=made.meta.version, spec=spec)
    await refused(control.UpdateService(update), FailedPrecondition, line)
    host = service_spec("host")
    host.endpoint.ports.add(target_port=80, published_port=8080, publish_mode=PortConfig.HOST)
    await create(control, host)
    manager.put(ingress())
    spec.endpoint.ports[0].published_port = 8081
    await ask(control.UpdateService(pb.UpdateServiceRequest(
        service_id=made.id, version=made.meta.version, spec=spec
    )))  # fmt: skip


async def test_subnets_that_overlap_are_refused_with_both_names(
    manager: Manager, control: ControlStub
) -> None:
    request = pb.CreateNetworkRequest()
    request.spec.annotations.name = "front"
    request.spec.ipam.configs.add(subnet="10.1.0.0/16")
    await ask(control.CreateNetwork(request))
    for subnet in ("10.1.2.0/24", "10.0.0.0/8", "10.1.0.0/16"):
        request.spec.annotations.name = "back"
        request.spec.ipam.configs[0].subnet = subnet
        line = f"network back: subnet {subnet} overlaps 10.1.0.0/16 of network front"
        await refused(control.CreateNetwork(request), AlreadyExists, line)
    given = Network(id="given-id")
    given.spec.annotations.name = "given"
    given.ipam.configs.add(subnet="10.2.0.0/24")
    manager.put(given)
    request.spec.ipam.configs[0].subnet = "10.2.0.128/25"
    await refused(control.CreateNetwork(request), AlreadyExists, "10.2.0.0/24 of network given")


async def test_networks_secrets_and_configs_must_exist_and_are_stored_by_id(
    control: ControlStub,
) -> None:
    spec = service_spec()
    spec.task.networks.add(target="front")
    request = pb.CreateServiceRequest(spec=spec)
    await refused(control.CreateService(request), NotFound, "network front not found")
    wanted = pb.CreateNetworkRequest()
    wanted.spec.annotations.name = "front"
    network = await ask(control.CreateNetwork(wanted))
    assert network.spec.driver.name == "overlay"
    spec.task.container.secrets.add(secret_name="key")
    request = pb.CreateServiceRequest(spec=spec)
    await refused(control.CreateService(request), NotFound, "secret not found: key")
    payload = pb.CreateSecretRequest()
    payload.spec.annotations.name = "key"
    payload.spec.data = b"hush"
    secret = await ask(control.CreateSecret(payload))
    assert not secret.spec.data
    made = await create(control, spec)
    assert made.spec.task.networks[0].target == network.id
    assert made.spec.task.container.secrets[0].secret_id == secret.id
    assert made.spec.task.container.secrets[0].file.name == "key"
    assert made.spec.task.container.secrets[0].file.mode == 0o444
    await refused(
        control.RemoveNetwork(pb.RemoveRequest(ref="front")),
        FailedPrecondition,
        "network front is in use by service web",
    )
    await refused(
        control.RemoveSecret(pb.RemoveRequest(ref="key")), FailedPrecondition, "in use by.* web"
    )
    await ask(control.RemoveService(pb.RemoveRequest(ref="web")))
    await ask(control.RemoveNetwork(pb.RemoveRequest(ref="front")))
    await ask(control.RemoveSecret(pb.RemoveRequest(ref="key")))


async def test_the_networks_of_each_node_keep_their_names(control: ControlStub) -> None:
    spec = service_spec()
    spec.task.networks.add(target="host")
    made = await create(control, spec)
    assert made.spec.task.networks[0].target == "host"
    wanted = pb.CreateNetworkRequest()
    wanted.spec.annotations.name = "bridge"
    await refused(control.CreateNetwork(wanted), InvalidSpec, "predefined")


async def test_secrets_are_never_answered_not_even_by_watches(
    control: ControlStub, manager: Manager
) -> None:
    watch = control.Watch(pb.WatchRequest(kinds=["secret", "cluster"]))
    assert not (await watch.read()).events
    payload = pb.CreateSecretRequest()
    payload.spec.annotations.name = "key"
    payload.spec.data = b"hush"
    await ask(control.CreateSecret(payload))
    event = (await watch.read()).events[0]
    assert event.secret.spec.annotations.name == "key" and not event.secret.spec.data
    listed = await ask(control.ListSecrets(pb.ListRequest()))
    assert [s.spec.data for s in listed.secrets] == [b""]
    cluster = await ask(control.GetCluster(pb.GetRequest(ref="default")))
    assert cluster.root_ca.ca_cert and not cluster.root_ca.ca_key
    watch.cancel()


async def test_a_secret_changes_in_its_labels_alone(control: ControlStub) -> None:
    payload = pb.CreateSecretRequest()
    payload.spec.annotations.name = "key"
    payload.spec.data = b"hush"
    secret = await ask(control.CreateSecret(payload))
    update = pb.UpdateSecretRequest(
        secret_id=secret.id, version=secret.meta.version, spec=secret.spec
    )
    update.spec.annotations.labels["a"] = "b"
    changed = await ask(control.UpdateSecret(update))
    assert changed.spec.annotations.labels["a"] == "b"
    update.version.CopyFrom(changed.meta.version)
    update.spec.data = b"other"
    await refused(control.UpdateSecret(update), InvalidSpec, "only its labels")


async def test_lists_count_tasks_and_filter(control: ControlStub, manager: Manager) -> None:
    made = await create(control, service_spec())
    other = service_spec("db")
    other.annotations.labels["tier"] = "back"
    await create(control, other)
    running = task("n1", made.id)
    running.status.state = task_states.RUNNING
    manager.put(node("n1", ready=True), running, task("n1", made.id, 2))
    listed = await ask(control.ListServices(pb.ListRequest()))
    assert (listed.status[made.id].running_tasks, listed.status[made.id].desired_tasks) == (1, 2)
    for key, value, names in (
        ("name", "we", ["web"]),
        ("label", "tier=back", ["db"]),
        ("label", "none", []),
        ("mode", "global", []),
    ):
        request = pb.ListRequest(filters=[pb.Filter(key=key, values=[value])])
        found = await ask(control.ListServices(request))
        assert [s.spec.annotations.name for s in found.services] == names
    request = pb.ListRequest(filters=[pb.Filter(key="colour", values=["red"])])
    await refused(control.ListServices(request), InvalidSpec, "no such filter")


async def test_tasks_are_filtered_by_service_node_and_state(
    control: ControlStub, manager: Manager
) -> None:
    made = await create(control, service_spec())
    one, two = task("n1", made.id), task("n2", made.id, 2)
    two.desired_state = task_states.SHUTDOWN
    manager.put(node("n1"), node("n2"), one, two)
    for key, value, ids in (
        ("service", "web", {one.id, two.id}),
        ("service", made.id, {one.id, two.id}),
        ("node", "host-n1", {one.id}),
        ("desired-state", "shutdown", {two.id}),
        ("name", "web.2", {two.id}),
    ):
        request = pb.ListTasksRequest(filters=[pb.Filter(key=key, values=[value])])
        assert {t.id for t in (await ask(control.ListTasks(request))).tasks} == ids
    request = pb.ListTasksRequest(filters=[pb.Filter(key="desired-state", values=["odd"])])
    await refused(control.ListTasks(request), InvalidSpec, "desired-state")


async def test_who_has_seen_a_list_of_tasks_is_sent_it_again_once_it_changes(
    control: ControlStub, manager: Manager
) -> None:
    """The tag that it came with says so, of the same tasks under whatever filters."""
    made = await create(control, service_spec())
    one, two = task("n1", made.id), task("n1", made.id, 2)
    manager.put(node("n1"), one, two)

    async def listed(seen: str, *filters: pb.Filter) -> tuple[str, set[str]]:
        request = pb.ListTasksRequest(seen=seen, filters=filters)
        found = await ask(control.ListTasks(request))
        return found.tag, {found_task.id for found_task in found.tasks}

    tag, ids = await listed("")
    assert ids == {one.id, two.id}
    assert await listed(tag) == (tag, set())
    assert await listed(tag, pb.Filter(key="node", values=["n1"])) == (tag, set())
    second = pb.Filter(key="name", values=["web.2"])
    assert (await listed(tag, second))[1] == {two.id}
    tag, ids = await listed(tag)
    assert ids == {one.id, two.id}  # the last list was another
    two.status.message = "changed"
    manager.put(two)
    changed, ids = await listed(tag)
    assert changed != tag and ids == {one.id, two.id}


async def test_a_watch_of_one_service_shows_no_others(
    control: ControlStub, manager: Manager
) -> None:
    watch = control.Watch(
        pb.WatchRequest(kinds=["task"], filters=[pb.Filter(key="service", values=["svc"])])
    )
    assert not (await watch.read()).events
    mine, other = task("n1", "svc"), task("n1", "another")
    manager.put(other, mine)
    event = (await watch.read()).events[0]
    assert (event.action, event.task.id) == (pb.CREATE, mine.id)
    watch.cancel()
    named = [pb.Filter(key="service", values=["second"])]
    watch = control.Watch(pb.WatchRequest(kinds=["service"], filters=named))
    assert not (await watch.read()).events
    for name in ("first", "second"):
        spec = service_spec()
        spec.annotations.name = name
        await create(control, spec)
    event = (await watch.read()).events[0]
    assert event.service.spec.annotations.name == "second"
    watch.cancel()
    await refused(
        control.Watch(pb.WatchRequest(kinds=["pods"])).read(), InvalidSpec, "unknown kind"
    )


async def test_there_is_one_ingress_network_and_one_network_of_a_name(
    control: ControlStub, manager: Manager
) -> None:
    """Names by whatever case, as DNS does not tell them apart; nothing is made."""
    manager.put(ingress())
    for name, inward, words in (
        ("other", True, "network ingress is the ingress network; there is one"),
        ("ingress", True, "network ingress already exists"),
        ("Ingress", False, "network Ingress: there is a network ingress"),
    ):
        wanted = pb.CreateNetworkRequest()
        wanted.spec.annotations.name, wanted.spec.ingress = name, inward
        await refused(control.CreateNetwork(wanted), AlreadyExists, words)
    assert len(manager.store.view.networks) == 1


async def test_a_subnet_over_a_nodes_own_route_is_refused_with_its_name(
    control: ControlStub, manager: Manager
) -> None:
    """Of any node that is known; a network of the hosts' own may have what it likes."""
    routed = node("n1")
    routed.description.routes.add(destination="10.20.0.0/16", interface="tun0")
    routed.description.routes.add(destination="fd99::/64")
    manager.put(routed)
    for subnet, words in (
        ("10.20.7.0/24", "subnet 10.20.7.0/24 overlaps the route to 10.20.0.0/16 by tun0 of node"),
        ("10.0.0.0/8", "overlaps the route to 10.20.0.0/16"),
        ("fd99::/80", "subnet fd99::/80 overlaps the route to fd99::/64 of node host-n1"),
    ):
        wanted = pb.CreateNetworkRequest()
        wanted.spec.annotations.name = "front"
        wanted.spec.ipam.configs.add(subnet=subnet)
        await refused(control.CreateNetwork(wanted), FailedPrecondition, words)
    assert not len(manager.store.view.networks)
    wanted.spec.ipam.configs[0].subnet = "10.21.0.0/24"
    await ask(control.CreateNetwork(wanted))
    own = pb.CreateNetworkRequest()
    own.spec.annotations.name, own.spec.driver.name = "own", "bridge"
    own.spec.ipam.configs.add(subnet="10.20.0.0/24")
    await ask(control.CreateNetwork(own))


async def test_removing_a_network_waits_for_tasks_whose_service_is_gone(
    control: ControlStub, manager: Manager
) -> None:
    wanted = pb.CreateNetworkRequest()
    wanted.spec.annotations.name = "front"
    network = await ask(control.CreateNetwork(wanted))
    leaving = task("n1")
    leaving.status.state = task_states.RUNNING
    leaving.networks.add(network_id=network.id)
    manager.put(leaving)
    removal = asyncio.ensure_future(ask(control.RemoveNetwork(pb.RemoveRequest(ref="front"))))
    await asyncio.sleep(0.1)
    assert not removal.done()
    leaving.status.state = task_states.SHUTDOWN
    manager.put(leaving)
    await removal
    assert not len(manager.store.view.networks)


async def test_a_network_of_a_task_on_a_dead_node_is_removed(
    control: ControlStub, manager: Manager
) -> None:
    wanted = pb.CreateNetworkRequest()
    wanted.spec.annotations.name = "front"
    network = await ask(control.CreateNetwork(wanted))
    dead, lost = node("n1"), task("n1")
    dead.status.state = NodeStatus.DOWN
    lost.status.state = task_states.RUNNING
    lost.desired_state = task_states.REMOVE
    lost.networks.add(network_id=network.id)
    manager.put(dead, lost)
    await ask(control.RemoveNetwork(pb.RemoveRequest(ref="front")))


async def test_tasks_on_a_node_that_is_down_do_not_count_as_running(
    control: ControlStub, manager: Manager
) -> None:
    made = await create(control, service_spec())
    tasks = [task(f"n{slot}", made.id, slot) for slot in (1, 2)]
    for one in tasks:
        one.status.state = task_states.RUNNING
    dead = node("n2", ready=True)
    dead.status.state = NodeStatus.DOWN
    manager.put(node("n1", ready=True), dead, *tasks)

    async def running() -> int:
        answer = await ask(control.ListServices(pb.ListRequest()))
        return int(answer.status[made.id].running_tasks)

    assert await running() == 1
    manager.store.commit_now([Delete(manager.store.view.tasks.get(tasks[1].id))])
    assert await running() == 1
    manager.store.commit_now([Delete(manager.store.view.tasks.get(tasks[0].id))])
    assert await running() == 0


async def test_jobs_count_what_runs_and_what_completed(
    control: ControlStub, manager: Manager
) -> None:
    spec = service_spec("job")
    spec.replicated_job.total_completions = 5
    spec.replicated_job.max_concurrent = 2
    made = await create(control, spec)
    assert made.spec.task.restart.condition == made.spec.task.restart.ON_FAILURE
    for slot, state in enumerate((task_states.COMPLETE, task_states.RUNNING), 1):
        one = task("n1", made.id, slot)
        one.desired_state = task_states.COMPLETE
        one.status.state = state
        one.job_iteration.index = made.job_status.job_iteration
        manager.put(one)
    status = (await ask(control.ListServices(pb.ListRequest()))).status[made.id]
    assert (status.running_tasks, status.desired_tasks, status.completed_tasks) == (1, 2, 1)


async def test_more_than_anybody_types_is_refused(control: ControlStub) -> None:
    """Each value is compared with each object."""
    request = pb.ListTasksRequest(filters=[pb.Filter(key="name", values=["x"] * 50_000)])
    await refused(control.ListTasks(request), InvalidSpec, "50001 keys and values, 10000 at most")
    logs = pb.LogsRequest(selector=pb.LogSelector(task_ids=["x"] * 50_000))
    call = control.ServiceLogs(logs)
    await refused(call.read(), InvalidSpec, "50000 services, tasks and nodes, 10000 at most")
    long = control.GetService(pb.GetRequest(ref="x" * 1_000_000))
    await refused(long, NotFound, "service xxx")
