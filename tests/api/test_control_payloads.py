"""Secrets, configs and networks that services name, over the Control API."""

from __future__ import annotations

from typing import Any

import pytest
from api_world import Manager, ask, create, refused, service_spec

from swarmlite.errors import (
    FailedPrecondition,
    InvalidSpec,
    NotFound,
)
from swarmlite.manager.controlapi.api import copy_of
from swarmlite.proto import control_pb2 as pb
from swarmlite.proto.control_pb2_grpc import ControlStub


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


async def test_an_address_outside_of_its_network_is_refused(control: ControlStub) -> None:
    """Not a task that waits for it for ever; where no subnet is known yet it may be right."""
    wanted = pb.CreateNetworkRequest()
    wanted.spec.annotations.name = "front"
    wanted.spec.ipam.configs.add(subnet="10.1.0.0/24")
    wanted.spec.ipam.configs.add(subnet="fd00:1::/64")
    await ask(control.CreateNetwork(wanted))
    for address in ("10.2.0.9", "fd00:2::9"):
        spec = service_spec()
        spec.replicated.replicas = 1
        spec.task.networks.add(target="front", addresses=["10.1.0.9", address])
        request = pb.CreateServiceRequest(spec=spec)
        words = f"ip {address} is outside of the subnet of network front: 10.1.0.0/24, fd00:1::/64"
        await refused(control.CreateService(request), InvalidSpec, words)
    spec.task.networks[0].addresses[1] = "fd00:1::9"
    await create(control, spec)


async def test_an_address_of_a_family_whose_subnet_is_yet_to_be_chosen_is_taken(
    control: ControlStub,
) -> None:
    """It was held against the subnets of the other family."""
    wanted = pb.CreateNetworkRequest()
    wanted.spec.annotations.name = "front"
    wanted.spec.ipam.configs.add(subnet="fd00:1::/64")
    await ask(control.CreateNetwork(wanted))
    spec = service_spec()
    spec.replicated.replicas = 1
    spec.task.networks.add(target="front", addresses=["10.1.0.9", "fd00:2::9"])
    request = pb.CreateServiceRequest(spec=spec)
    words = "ip fd00:2::9 is outside of the subnet of network front: fd00:1::/64"
    await refused(control.CreateService(request), InvalidSpec, words)
    spec.task.networks[0].addresses[1] = "fd00:1::9"
    await create(control, spec)


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
